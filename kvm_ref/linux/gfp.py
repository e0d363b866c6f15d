# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors include/linux/gfp.h: memory by the page.

Freeing address 0 with free_page() is legal; __free_pages() takes no NULL.
"""

from __future__ import annotations

from kvm_ref.kernel import Kernel, Resource
from kvm_ref.vocabulary import NULL, kernel_function


class pages(Resource):
    """One or more pages that lie together."""

    __slots__ = ()


@kernel_function(fails=NULL, acquires="pages", args=("what",), symbol="alloc_pages_noprof")
def alloc_pages(k: Kernel, what: str) -> pages | None:
    """Allocate 2**order pages (mm/mempolicy.c); `what` says what for."""
    return pages(k.new(what))


@kernel_function(fails=NULL, acquires="pages", args=("what",), symbol="alloc_pages_noprof")
def alloc_page(k: Kernel, what: str) -> pages | None:
    """Allocate one page (include/linux/gfp.h)."""
    return pages(k.new(what))


@kernel_function(fails=NULL, acquires="pages", args=("what",), symbol="__alloc_pages_noprof")
def alloc_pages_node(k: Kernel, what: str) -> pages | None:
    """Allocate pages on a given node (include/linux/gfp.h)."""
    return pages(k.new(what))


@kernel_function(fails=NULL, acquires="pages", args=("what",), symbol="__alloc_pages_noprof")
def __alloc_pages_node(k: Kernel, what: str) -> pages | None:
    """Allocate pages on a node that is known to be online (include/linux/gfp.h)."""
    return pages(k.new(what))


@kernel_function(fails=NULL, acquires="pages", args=("what",), symbol="get_free_pages_noprof")
def __get_free_page(k: Kernel, what: str) -> pages | None:
    """Allocate one page and return its address (include/linux/gfp.h)."""
    return pages(k.new(what))


@kernel_function(fails=NULL, acquires="pages", args=("what",), symbol="get_zeroed_page_noprof")
def get_zeroed_page(k: Kernel, what: str) -> pages | None:
    """Allocate one page of zeroes and return its address (mm/page_alloc.c)."""
    return pages(k.new(what))


@kernel_function(acquires="pages")
def split_page(k: Kernel, page: pages) -> pages:
    """Make two pages that lie together two that are freed one by one (mm/page_alloc.c).

    Returns:
        The second one, where the C returns nothing; `page` is the first.
    """
    return pages(k.new(f"{page.id}+1"))


@kernel_function(releases="pages")
def __free_pages(k: Kernel, page: pages | None) -> None:
    """Free 2**order pages (mm/page_alloc.c)."""


@kernel_function(releases="pages")
def __free_page(k: Kernel, page: pages | None) -> None:
    """Free one page (include/linux/gfp.h)."""


@kernel_function(releases="pages")
def free_pages(k: Kernel, address: pages | None) -> None:
    """Free 2**order pages by address (mm/page_alloc.c)."""


@kernel_function(releases="pages")
def free_page(k: Kernel, address: pages | None) -> None:
    """Free one page by address (include/linux/gfp.h)."""
