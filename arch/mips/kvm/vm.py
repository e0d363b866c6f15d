# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors arch/mips/kvm/mips.c: what a VM has of its own on MIPS.

The CPU is not Loongson's, whose VMs have a device for interrupts between processors as well.
"""

from __future__ import annotations

from arch.mips.kernel.pgalloc import pgd_free
from arch.mips.kvm.mmu import kvm_mips_flush_gpa_pt, kvm_pgd_alloc
from kvm_ref.errno import EINVAL, ENOMEM, KernelError
from kvm_ref.kernel import Kernel
from kvm_ref.linux.gfp import pages
from kvm_ref.linux.printk import WARN_ON
from kvm_ref.virt.kvm_host import kvm
from kvm_ref.virt.vm_notifiers import kvm_flush_remote_tlbs
from kvm_ref.vocabulary import kernel_function

# include/uapi/linux/kvm.h; of type 2 were the VMs of a KVM that did without VZ.
KVM_VM_MIPS_AUTO = 0
KVM_VM_MIPS_VZ = 1


class kvm_arch:
    """What MIPS keeps for each VM (asm/kvm_host.h)."""

    __slots__ = ("pgd",)

    def __init__(self) -> None:
        # gpa_mm.pgd in C.
        self.pgd: pages | None = None


@kernel_function(fails=(EINVAL, ENOMEM), args=("type",))
def kvm_arch_init_vm(k: Kernel, kvm: kvm, type: int) -> None:
    """Give a VM a page table.

    Raises:
        KernelError: EINVAL, there is no such type; ENOMEM, there is no memory.
    """
    if type not in (KVM_VM_MIPS_AUTO, KVM_VM_MIPS_VZ):
        raise KernelError(EINVAL)

    kvm.arch = kvm_arch()
    kvm.arch.pgd = kvm_pgd_alloc(k)
    if not kvm.arch.pgd:
        raise KernelError(ENOMEM)


@kernel_function()
def kvm_mips_free_gpa_pt(k: Kernel, kvm: kvm) -> None:
    """Free the page table."""
    WARN_ON(k, not kvm_mips_flush_gpa_pt(k, kvm), "!kvm_mips_flush_gpa_pt(kvm, 0, ~0)")
    pgd_free(k, kvm.arch.pgd)


@kernel_function()
def kvm_arch_destroy_vm(k: Kernel, kvm: kvm) -> None:
    """Undo kvm_arch_init_vm()."""
    kvm_mips_free_gpa_pt(k, kvm)


@kernel_function()
def kvm_arch_flush_shadow_all(k: Kernel, kvm: kvm) -> None:
    """Drop all translations of a VM, and let its vCPUs know."""
    kvm_mips_flush_gpa_pt(k, kvm)
    kvm_flush_remote_tlbs(k, kvm)
