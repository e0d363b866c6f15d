# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors arch/s390/pci/pci.c: what the host's PCI code keeps for KVM, longer than KVM is loaded.

Firmware learns the tables of forwarded interrupts once per boot and uses them from then on, so
they stay when kvm.ko goes, and its next life finds them here.
"""

from __future__ import annotations

from arch.s390.cio.airq import airq_iv
from kvm_ref.errno import EIO
from kvm_ref.kernel import Kernel, Statics
from kvm_ref.linux.gfp import pages
from kvm_ref.linux.slab import kmemory
from kvm_ref.vocabulary import kernel_function


class zpci_sic_iib:
    """The block that told firmware the tables; `afi` is the interruption subclass in it."""

    __slots__ = ("afi", "gait", "memory")

    def __init__(self, memory: kmemory) -> None:
        self.memory = memory
        self.afi = 0
        self.gait: pages | None = None


class Zpci(Statics):
    """The variables of arch/s390/pci/pci.c and pci_kvm_hook.c; the hook is whether it is set."""

    __slots__ = ("zpci_aif_sbv", "zpci_aipb", "zpci_kvm_hook")

    def __init__(self) -> None:
        self.zpci_aipb: zpci_sic_iib | None = None
        self.zpci_aif_sbv: airq_iv | None = None
        self.zpci_kvm_hook = False


@kernel_function(fails=EIO, args=("ctl", "isc"))
def zpci_set_irq_ctrl(k: Kernel, ctl: str, isc: int) -> None:
    """Set how PCI interrupts come; -EIO without facility 72 (arch/s390/pci/pci_insn.c)."""
