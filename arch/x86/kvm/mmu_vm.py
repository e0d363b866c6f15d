# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors arch/x86/kvm/mmu/mmu.c: what the shadow MMU keeps for one VM.

A VM without vCPUs has no page tables, so that the TDP MMU has nothing to take apart.
"""

from __future__ import annotations

from kvm_ref.errno import ENOMEM, KernelError
from kvm_ref.kernel import Kernel
from kvm_ref.linux.slab import kvcalloc, kvfree
from kvm_ref.virt.kvm_host import kvm
from kvm_ref.vocabulary import kernel_function


@kernel_function(fails=ENOMEM)
def kvm_mmu_alloc_page_hash(k: Kernel, kvm: kvm) -> None:
    """Allocate the table by which a VM's shadow pages are found.

    Raises:
        KernelError: ENOMEM, there is no memory.
    """
    h = kvcalloc(k, "mmu_page_hash")
    if not h:
        raise KernelError(ENOMEM)

    kvm.arch.mmu_page_hash = h


@kernel_function(fails=ENOMEM)
def kvm_mmu_init_vm(k: Kernel, kvm: kvm) -> None:
    """Give a VM its part of the MMU.

    Raises:
        KernelError: what kvm_mmu_alloc_page_hash() gives.
    """
    kvm_mmu_alloc_page_hash(k, kvm)


@kernel_function()
def kvm_mmu_uninit_vm(k: Kernel, kvm: kvm) -> None:
    """Undo kvm_mmu_init_vm()."""
    kvfree(k, kvm.arch.mmu_page_hash)


@kernel_function()
def kvm_mmu_pre_destroy_vm(k: Kernel, kvm: kvm) -> None:
    """Stop the thread that takes split huge pages back; only a vCPU that ran has started it."""


@kernel_function()
def kvm_mmu_zap_all(k: Kernel, kvm: kvm) -> None:
    """Drop a VM's page tables, of which there are none, under mmu_lock, which does not sleep."""


@kernel_function()
def kvm_arch_flush_shadow_all(k: Kernel, kvm: kvm) -> None:
    """Drop all translations of a VM."""
    kvm_mmu_zap_all(k, kvm)
