# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors arch/loongarch/kvm/vm.c: what a VM has of its own on LoongArch.

There is no goto: the step that fails undoes the one before. The VM type is not looked at.
"""

from __future__ import annotations

from arch.loongarch.kvm.main import LoongArchKvm
from arch.loongarch.kvm.mmu import kvm_pgd_alloc
from arch.loongarch.linux.slab import kvzalloc
from kvm_ref.errno import ENOMEM, KernelError
from kvm_ref.kernel import Kernel
from kvm_ref.linux.gfp import free_page, pages
from kvm_ref.linux.percpu import percpu_memory
from kvm_ref.linux.slab import kmemory, kvfree
from kvm_ref.virt.kvm_host import kvm
from kvm_ref.vocabulary import kernel_function


class kvm_arch:
    """What LoongArch keeps for each VM (asm/kvm_host.h)."""

    __slots__ = ("pgd", "phyid_map", "vmcs")

    def __init__(self) -> None:
        self.pgd: pages | None = None
        self.phyid_map: kmemory | None = None
        self.vmcs: percpu_memory[object] | None = None


@kernel_function()
def kvm_init_vmcs(k: Kernel, kvm: kvm) -> None:
    """Let a VM refer to each CPU's part (arch/loongarch/kvm/main.c)."""
    kvm.arch.vmcs = k[LoongArchKvm].vmcs


@kernel_function(fails=ENOMEM, args=("type",))
def kvm_arch_init_vm(k: Kernel, kvm: kvm, type: int) -> None:
    """Give a VM a page table, and the map from physical CPU numbers to its vCPUs.

    Raises:
        KernelError: ENOMEM, there is no memory.
    """
    kvm.arch = kvm_arch()
    kvm.arch.pgd = kvm_pgd_alloc(k)
    if not kvm.arch.pgd:
        raise KernelError(ENOMEM)

    kvm.arch.phyid_map = kvzalloc(k, "kvm_phyid_map")
    if not kvm.arch.phyid_map:
        free_page(k, kvm.arch.pgd)
        kvm.arch.pgd = None
        raise KernelError(ENOMEM)

    kvm_init_vmcs(k, kvm)


@kernel_function()
def kvm_arch_destroy_vm(k: Kernel, kvm: kvm) -> None:
    """Undo kvm_arch_init_vm(); in the order in which it made things."""
    free_page(k, kvm.arch.pgd)
    kvm.arch.pgd = None
    kvfree(k, kvm.arch.phyid_map)
    kvm.arch.phyid_map = None
