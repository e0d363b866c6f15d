# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors arch/riscv/kvm/vm.c: what a VM has of its own on RISC-V, with its parts of other files.

There is no goto: the step that fails undoes the one before. The VM type is not looked at.
kvm_arch_destroy_vm() leaves the page table to kvm_arch_flush_shadow_all(), which the common code
calls as the MMU notifier goes; where a VM had not got that far, nobody frees the table.
"""

from __future__ import annotations

from kvm_ref.errno import EINVAL, EIO, ENOMEM, KernelError
from kvm_ref.kernel import Kernel
from kvm_ref.linux.gfp import alloc_pages, free_pages, pages
from kvm_ref.linux.printk import pr_err
from kvm_ref.virt.kvm_host import kvm
from kvm_ref.vocabulary import kernel_function


class kvm_arch:
    """What RISC-V keeps for each VM (asm/kvm_host.h)."""

    __slots__ = ("pgd", "vmid", "vmid_version")

    def __init__(self) -> None:
        self.pgd: pages | None = None
        self.vmid = 0
        self.vmid_version = 0


@kernel_function(fails=(ENOMEM, EINVAL))
def kvm_riscv_gstage_alloc_pgd(k: Kernel, kvm: kvm) -> None:
    """Allocate the top of a VM's page table.

    Raises:
        KernelError: EINVAL, it has one; ENOMEM, there is no memory.
    """
    if kvm.arch.pgd:
        pr_err(k, "kvm: the VM has a page table already")
        raise KernelError(EINVAL)

    pgd_page = alloc_pages(k, "gstage_pgd")
    if not pgd_page:
        raise KernelError(ENOMEM)
    kvm.arch.pgd = pgd_page


@kernel_function()
def kvm_riscv_gstage_free_pgd(k: Kernel, kvm: kvm) -> None:
    """Free a VM's page table, if it has one still."""
    pgd = kvm.arch.pgd
    kvm.arch.pgd = None

    if pgd:
        free_pages(k, pgd)


# It returns 0 whatever happens, but to a caller that is ready for an error: one can be put in.
@kernel_function(fails=EIO)
def kvm_riscv_gstage_vmid_init(k: Kernel, kvm: kvm) -> None:
    """Mark a VM as one that has no VMID yet."""
    kvm.arch.vmid_version = 0
    kvm.arch.vmid = 0


@kernel_function()
def kvm_riscv_aia_init_vm(k: Kernel, kvm: kvm) -> None:
    """Note what a VM's AIA will be; memory is allocated when user space sets that device up."""


@kernel_function()
def kvm_riscv_guest_timer_init(k: Kernel, kvm: kvm) -> None:
    """Let a VM's time begin at 0, and note how fast it goes (arch/riscv/kvm/vcpu_timer.c)."""


@kernel_function()
def kvm_riscv_aia_destroy_vm(k: Kernel, kvm: kvm) -> None:
    """Take a VM's AIA down, if user space set one up; here it never does."""


@kernel_function(fails=ENOMEM, args=("type",))
def kvm_arch_init_vm(k: Kernel, kvm: kvm, type: int) -> None:
    """Give a VM a page table.

    Raises:
        KernelError: what kvm_riscv_gstage_alloc_pgd() or kvm_riscv_gstage_vmid_init() gives.
    """
    kvm.arch = kvm_arch()
    kvm_riscv_gstage_alloc_pgd(k, kvm)

    try:
        kvm_riscv_gstage_vmid_init(k, kvm)
    except KernelError:
        kvm_riscv_gstage_free_pgd(k, kvm)
        raise

    kvm_riscv_aia_init_vm(k, kvm)

    kvm_riscv_guest_timer_init(k, kvm)


@kernel_function()
def kvm_arch_flush_shadow_all(k: Kernel, kvm: kvm) -> None:
    """Drop all translations of a VM, and its page table with them (arch/riscv/kvm/mmu.c)."""
    kvm_riscv_gstage_free_pgd(k, kvm)


@kernel_function()
def kvm_arch_destroy_vm(k: Kernel, kvm: kvm) -> None:
    """Undo kvm_arch_init_vm(), but for the page table."""
    kvm_riscv_aia_destroy_vm(k, kvm)
