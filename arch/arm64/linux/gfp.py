# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors include/linux/gfp.h: memory by the page, of sizes that are no power of two."""

from __future__ import annotations

from kvm_ref.kernel import Kernel
from kvm_ref.linux.gfp import pages
from kvm_ref.vocabulary import NULL, kernel_function


@kernel_function(fails=NULL, acquires="pages", args=("what",), symbol="alloc_pages_exact_noprof")
def alloc_pages_exact(k: Kernel, what: str) -> pages | None:
    """Allocate as many pages as a size takes, and no more (mm/page_alloc.c); `what` says what for."""
    return pages(k.new(what))


@kernel_function(releases="pages")
def free_pages_exact(k: Kernel, virt: pages) -> None:
    """Free what alloc_pages_exact() gave (mm/page_alloc.c)."""
