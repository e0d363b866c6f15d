# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors arch/mips/include/asm/pgalloc.h: giving page tables back."""

from __future__ import annotations

from kvm_ref.kernel import Kernel
from kvm_ref.linux.gfp import __free_pages, pages
from kvm_ref.vocabulary import kernel_function


@kernel_function()
def pgd_free(k: Kernel, pgd: pages | None) -> None:
    """Free the top of a page table."""
    # As many pages as the first says it heads: one, if they were not allocated as compound page.
    __free_pages(k, pgd)
