# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors arch/loongarch/kvm/mmu.c: the page table that translates guest addresses."""

from __future__ import annotations

from arch.loongarch.linux.gfp import __get_free_pages
from kvm_ref.kernel import Kernel
from kvm_ref.linux.gfp import pages
from kvm_ref.virt.kvm_host import kvm
from kvm_ref.vocabulary import NULL, kernel_function


@kernel_function(fails=NULL)
def kvm_pgd_alloc(k: Kernel) -> pages | None:
    """Allocate the top of a page table that maps nothing."""
    return __get_free_pages(k, "pgd")


@kernel_function()
def kvm_arch_flush_shadow_all(k: Kernel, kvm: kvm) -> None:
    """Drop all translations of a VM, of which there are none; the top of the table stays."""
