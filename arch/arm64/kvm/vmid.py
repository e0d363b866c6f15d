# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors arch/arm64/kvm/vmid.c: the numbers that tell VMs apart in the TLB."""

from __future__ import annotations

from arch.arm64.kernel.cpufeature import get_vmid_bits
from kvm_ref.errno import ENOMEM, KernelError
from kvm_ref.kernel import Kernel, Statics
from kvm_ref.linux.bitmap import bitmap, bitmap_free, bitmap_zalloc
from kvm_ref.linux.printk import WARN_ON
from kvm_ref.vocabulary import kernel_function


class Vmid(Statics):
    """The static variables of arch/arm64/kvm/vmid.c."""

    __slots__ = ("kvm_arm_vmid_bits", "vmid_map")
    module = "kvm"

    def __init__(self) -> None:
        self.kvm_arm_vmid_bits = 0
        self.vmid_map: bitmap | None = None


@kernel_function(fails=ENOMEM)
def kvm_arm_vmid_alloc_init(k: Kernel) -> None:
    """Note how many bits a number has, and allocate the map of those in use."""
    g = k[Vmid]
    g.kvm_arm_vmid_bits = get_vmid_bits(k)

    num_user_vmids = 1 << g.kvm_arm_vmid_bits
    WARN_ON(k, num_user_vmids - 1 <= len(k.possible), "NUM_USER_VMIDS - 1 <= num_possible_cpus()")
    g.vmid_map = bitmap_zalloc(k, "vmid_map")
    if not g.vmid_map:
        raise KernelError(ENOMEM)


@kernel_function()
def kvm_arm_vmid_alloc_free(k: Kernel) -> None:
    """Free the map."""
    bitmap_free(k, k[Vmid].vmid_map)
