# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors arch/s390/mm/gmap.c: guest address spaces, and the page tables of processes that have them."""

from __future__ import annotations

from kvm_ref.errno import EINVAL, ENOMEM, KernelError
from kvm_ref.kernel import Kernel, Statics
from kvm_ref.linux.gfp import __free_pages, alloc_pages, pages
from kvm_ref.linux.list import list_add
from kvm_ref.linux.mutex import Mutex, mutex_lock, mutex_unlock
from kvm_ref.linux.slab import kfree, kmemory, kzalloc
from kvm_ref.unwind import ladder
from kvm_ref.vocabulary import NULL, kernel_function


class mm_struct(Statics):
    """What matters here of the memory of the one process that creates VMs."""

    __slots__ = ("gmap_list", "has_pgste", "mmap_lock")

    def __init__(self) -> None:
        self.mmap_lock = Mutex("mmap_lock")
        # context.has_pgste and context.gmap_list in C.
        self.has_pgste = False
        self.gmap_list: list[gmap] = []


class gmap:
    """A guest address space, in `memory`; `crst_list` are its segment and region tables."""

    __slots__ = ("crst_list", "memory", "ref_count")

    def __init__(self, memory: kmemory) -> None:
        self.memory = memory
        self.ref_count = 1
        self.crst_list: list[pages] = []


@kernel_function(fails=False)
def mm_alloc_pgste(k: Kernel) -> bool:
    """Say whether the process got page tables of 4 KiB from the start (asm/pgtable.h)."""
    return True


@kernel_function(fails=EINVAL)
def s390_enable_sie(k: Kernel) -> None:
    """Let the page tables of the process carry what guests need; that lasts as long as it does.

    Raises:
        KernelError: EINVAL, its page tables are too small for that.
    """
    mm = k[mm_struct]
    if mm.has_pgste:
        return
    if not mm_alloc_pgste(k):
        raise KernelError(EINVAL)
    mutex_lock(k, mm.mmap_lock)
    mm.has_pgste = True
    mutex_unlock(k, mm.mmap_lock)


@kernel_function(fails=NULL)
def gmap_alloc_crst(k: Kernel) -> pages | None:
    """Allocate a segment or region table."""
    return alloc_pages(k, "crst")


# ENOMEM goes with its jumps only: C has no errno there.
@kernel_function(fails=(NULL, ENOMEM))
def gmap_alloc(k: Kernel) -> gmap | None:
    """Allocate a guest address space with its topmost table."""
    with ladder(k) as goto:
        memory = kzalloc(k, "gmap")
        with goto("out"):
            if not memory:
                raise KernelError(ENOMEM)
        new = gmap(memory)
        page = gmap_alloc_crst(k)
        with goto("out_free"):
            if not page:
                raise KernelError(ENOMEM)
        list_add(k, page, new.crst_list)
        return new

    if goto.reached("out_free"):
        kfree(k, memory)
    goto.reached("out")
    return None


@kernel_function(fails=NULL)
def gmap_create(k: Kernel) -> gmap | None:
    """Make a guest address space of the present process."""
    new = gmap_alloc(k)
    if not new:
        return None
    k[mm_struct].gmap_list.insert(0, new)
    return new


@kernel_function()
def gmap_free(k: Kernel, gmap: gmap) -> None:
    """Free a guest address space that nobody refers to."""
    for page in gmap.crst_list:
        __free_pages(k, page)

    kfree(k, gmap.memory)


@kernel_function()
def gmap_put(k: Kernel, gmap: gmap) -> None:
    """Give a reference up; the last one frees the guest address space."""
    gmap.ref_count -= 1
    if not gmap.ref_count:
        gmap_free(k, gmap)


@kernel_function()
def gmap_remove(k: Kernel, gmap: gmap) -> None:
    """Take a guest address space, which has no shadows, off its process and give the reference up."""
    k[mm_struct].gmap_list.remove(gmap)
    gmap_put(k, gmap)
