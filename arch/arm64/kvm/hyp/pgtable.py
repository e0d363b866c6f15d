# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors arch/arm64/kvm/hyp/pgtable.c: page tables for EL2.

Mappings that lie close together share their tables. Here each brings a table of its own, so that
every mapping can run out of memory; one that is there already takes no other.
"""

from __future__ import annotations

from collections.abc import Callable

import attrs

from kvm_ref.errno import EINVAL, ENOMEM, KernelError
from kvm_ref.kernel import Kernel, Operations
from kvm_ref.linux.gfp import pages
from kvm_ref.linux.slab import kmemory
from kvm_ref.vocabulary import kernel_function


@attrs.frozen
class kvm_pgtable_mm_ops(Operations):
    """Where page tables get their pages from."""

    zalloc_page: Callable[[Kernel], pages | None]
    put_page: Callable[[Kernel, pages], None]


class kvm_pgtable(kmemory):
    """A page table: its first page, and those that hang below it."""

    __slots__ = ("mapped", "mm_ops", "pgd", "tables")

    def __init__(self, id: str) -> None:
        super().__init__(id)
        self.mm_ops: kvm_pgtable_mm_ops | None = None
        self.pgd: pages | None = None
        self.tables: list[pages] = []
        self.mapped: set[str] = set()


@kernel_function(fails=(ENOMEM, EINVAL))
def hyp_map_walker(k: Kernel, pgt: kvm_pgtable) -> None:
    """Enter a mapping, with the table that it takes."""
    assert pgt.mm_ops is not None
    childp = pgt.mm_ops.zalloc_page(k)
    if not childp:
        raise KernelError(ENOMEM)
    pgt.tables.append(childp)


@kernel_function(fails=(ENOMEM, EINVAL), args=("addr", "prot"))
def kvm_pgtable_hyp_map(k: Kernel, pgt: kvm_pgtable, addr: str, prot: str) -> None:
    """Map pages into EL2; a mapping that fails half-way keeps the tables it took."""
    if addr not in pgt.mapped:
        hyp_map_walker(k, pgt)
        pgt.mapped.add(addr)


@kernel_function(fails=(ENOMEM, EINVAL))
def kvm_pgtable_hyp_init(k: Kernel, pgt: kvm_pgtable, mm_ops: kvm_pgtable_mm_ops) -> None:
    """Make an empty page table."""
    pgt.pgd = mm_ops.zalloc_page(k)
    if not pgt.pgd:
        raise KernelError(ENOMEM)

    pgt.mm_ops = mm_ops


@kernel_function()
def hyp_free_walker(k: Kernel, pgt: kvm_pgtable, table: pages) -> int:
    """Free one table, on the way over all of them."""
    assert pgt.mm_ops is not None
    pgt.mm_ops.put_page(k, table)
    return 0


@kernel_function()
def kvm_pgtable_hyp_destroy(k: Kernel, pgt: kvm_pgtable) -> None:
    """Free the pages of a page table."""
    assert pgt.mm_ops is not None
    assert pgt.pgd is not None
    for table in pgt.tables:
        hyp_free_walker(k, pgt, table)
    pgt.mm_ops.put_page(k, pgt.pgd)
    pgt.pgd = None
