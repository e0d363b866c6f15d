# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors arch/mips/kvm/mmu.c: the page table that translates guest addresses.

The top of the table is one page here, as where PGD_TABLE_ORDER is 0. Where it is 1 it is two, and
pgd_free() frees the first only: such kernels lose a page with each VM.
"""

from __future__ import annotations

from arch.mips.linux.gfp import __get_free_pages
from kvm_ref.kernel import Kernel
from kvm_ref.linux.gfp import pages
from kvm_ref.virt.kvm_host import kvm
from kvm_ref.vocabulary import NULL, kernel_function


@kernel_function(fails=NULL)
def kvm_pgd_alloc(k: Kernel) -> pages | None:
    """Allocate the top of a page table that maps nothing."""
    return __get_free_pages(k, "pgd")


@kernel_function()
def kvm_mips_flush_gpa_pt(k: Kernel, kvm: kvm) -> bool:
    """Drop every mapping, and say whether nothing is left below the top: always so for all of them."""
    return True
