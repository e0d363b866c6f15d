# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors arch/s390/include/asm/kvm_host.h: what s390 keeps for each VM."""

from __future__ import annotations

from arch.s390.kernel.debug import debug_info_t
from arch.s390.mm.gmap_vm import gmap
from kvm_ref.linux.gfp import pages
from kvm_ref.linux.mutex import Mutex


class kvm_arch:
    """What s390 keeps for each VM; all zero, as the memory of the VM is, before it is filled in.

    Attributes:
        lock: kvm->lock, which of the common code's locks only s390 takes for a VM without vCPUs.
        gisa: whether the GISA, in `sie_page2`, is in use (gisa_int.origin).
        iam: which interrupts for a sleeping guest wake the host (gisa_int.alert.mask).
        kzdev_list: the PCI devices; None is a list head that was not initialized.
    """

    __slots__ = (
        "dbf", "gisa", "gmap", "iam", "kzdev_list", "lock", "sca", "sca_offset", "sie_page2",
        "use_zpci_interp", "vsie_mutex",
    )  # fmt: skip

    def __init__(self) -> None:
        self.lock = Mutex("kvm->lock")
        self.sca: pages | None = None
        self.sca_offset = 0
        self.dbf: debug_info_t | None = None
        self.sie_page2: pages | None = None
        self.kzdev_list: list[object] | None = None
        self.use_zpci_interp = False
        self.gmap: gmap | None = None
        self.vsie_mutex = Mutex("kvm->arch.vsie.mutex")
        self.gisa = False
        self.iam = 0
