# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors include/linux/gfp.h: pages by address, for which the caller says how many."""

from __future__ import annotations

from kvm_ref.kernel import Kernel
from kvm_ref.linux.gfp import pages
from kvm_ref.vocabulary import NULL, kernel_function


@kernel_function(fails=NULL, acquires="pages", args=("what",), symbol="get_free_pages_noprof")
def __get_free_pages(k: Kernel, what: str) -> pages | None:
    """Allocate 2**order pages and return their address (mm/page_alloc.c); `what` says what for."""
    return pages(k.new(what))
