# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors include/linux/slab.h: object caches, and memory by the byte.

Destroying or freeing NULL is legal and does nothing; freeing what was freed before is a fault of
the caller, which the trace shows.
"""

from __future__ import annotations

import functools

from kvm_ref.kernel import Kernel, Resource
from kvm_ref.vocabulary import NULL, kernel_function


class kmem_cache(Resource):
    """A cache of objects of one size."""

    __slots__ = ()


class kmemory(Resource):
    """Memory from kmalloc() and its like."""

    __slots__ = ()


@kernel_function(fails=NULL, acquires="kmem_cache", args=("name",), symbol="__kmem_cache_create_args")
def kmem_cache_create_usercopy(k: Kernel, name: str) -> kmem_cache | None:
    """Make a cache whose objects may be copied to user space in part (include/linux/slab.h)."""
    return kmem_cache(k.new(name))


@kernel_function(fails=NULL, acquires="kmem_cache", args=("name",), symbol="__kmem_cache_create_args")
def kmem_cache_create(k: Kernel, name: str) -> kmem_cache | None:
    """Make a cache (include/linux/slab.h)."""
    return kmem_cache(k.new(name))


@kernel_function(fails=NULL, acquires="kmem_cache", args=("name",), symbol="__kmem_cache_create_args")
def KMEM_CACHE(k: Kernel, name: str) -> kmem_cache | None:
    """Make a cache for objects of the struct `name` (include/linux/slab.h)."""
    return kmem_cache(k.new(name))


@kernel_function(releases="kmem_cache")
def kmem_cache_destroy(k: Kernel, cache: kmem_cache | None) -> None:
    """Destroy a cache (mm/slab_common.c)."""


# What allocates by a size that the compiler knows.
_sized = functools.partial(
    kernel_function,
    fails=NULL,
    acquires="kmalloc",
    args=("type", "size"),
    symbol="__kmalloc_cache_noprof",
    alias={"arg2": "size"},
)


@_sized()
def kmalloc(k: Kernel, type: str, size: int | str = "") -> kmemory | None:
    """Allocate a `type`, whose size the compiler knows (include/linux/slab.h).

    Args:
        k: the machine.
        type: what is allocated.
        size: its bytes, given where faults of a built kernel ask for them; "" if they do not.
    """
    return kmemory(k.new(type))


@_sized()
def kzalloc(k: Kernel, type: str, size: int | str = "") -> kmemory | None:
    """Allocate a zeroed `type`, as kmalloc() does otherwise (include/linux/slab.h)."""
    return kmemory(k.new(type))


@kernel_function(fails=NULL, acquires="kmalloc", args=("type",), symbol="__kmalloc_noprof")
def kcalloc(k: Kernel, type: str) -> kmemory | None:
    """Allocate a zeroed array of `type`, whose length is known at run time (include/linux/slab.h)."""
    return kmemory(k.new(type))


@kernel_function(releases="kmalloc")
def kfree(k: Kernel, memory: kmemory | None) -> None:
    """Free memory (mm/slub.c)."""


@kernel_function(fails=NULL, acquires="kmalloc", args=("type",), symbol="__vmalloc_noprof")
def __vmalloc(k: Kernel, type: str) -> kmemory | None:
    """Allocate a `type` whose pages need not lie together (include/linux/vmalloc.h)."""
    return kmemory(k.new(type))


@kernel_function(fails=NULL, acquires="kmalloc", args=("type",), symbol="__kvmalloc_node_noprof")
def kvcalloc(k: Kernel, type: str) -> kmemory | None:
    """Allocate a zeroed array of `type`, in whichever way there is room (include/linux/slab.h)."""
    return kmemory(k.new(type))


@kernel_function(releases="kmalloc")
def kvfree(k: Kernel, memory: kmemory | None) -> None:
    """Free memory, in whichever way it was allocated (mm/util.c)."""
