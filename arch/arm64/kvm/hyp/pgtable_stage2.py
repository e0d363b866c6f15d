# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors arch/arm64/kvm/hyp/pgtable.c: page tables for guests, before anything is mapped in them."""

from __future__ import annotations

from collections.abc import Callable

import attrs

from kvm_ref.errno import ENOMEM, KernelError
from kvm_ref.kernel import Kernel, Operations
from kvm_ref.linux.gfp import pages
from kvm_ref.linux.slab import kmemory
from kvm_ref.vocabulary import kernel_function


@attrs.frozen
class stage2_mm_ops(Operations):
    """Where the first level gets its pages from (struct kvm_pgtable_mm_ops)."""

    zalloc_pages_exact: Callable[[Kernel], pages | None]
    free_pages_exact: Callable[[Kernel, pages], None]


class stage2_pgtable(kmemory):
    """A struct kvm_pgtable that is a guest's: the pages of its first level."""

    __slots__ = ("mm_ops", "pgd")

    def __init__(self, id: str) -> None:
        super().__init__(id)
        self.mm_ops: stage2_mm_ops | None = None
        self.pgd: pages | None = None


@kernel_function(fails=ENOMEM)
def __kvm_pgtable_stage2_init(k: Kernel, pgt: stage2_pgtable, mm_ops: stage2_mm_ops) -> None:
    """Make an empty page table.

    Raises:
        KernelError: ENOMEM, there is no memory.
    """
    pgt.pgd = mm_ops.zalloc_pages_exact(k)
    if not pgt.pgd:
        raise KernelError(ENOMEM)

    pgt.mm_ops = mm_ops


@kernel_function()
def kvm_pgtable_stage2_destroy(k: Kernel, pgt: stage2_pgtable) -> None:
    """Free the pages of a page table."""
    assert pgt.mm_ops is not None
    assert pgt.pgd is not None
    pgt.mm_ops.free_pages_exact(k, pgt.pgd)
    pgt.pgd = None
