# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors arch/x86/kvm/mmu/mmu.c: what the shadow MMU keeps for all VMs together."""

from __future__ import annotations

from kvm_ref.errno import ENOMEM, KernelError
from kvm_ref.kernel import Kernel, Resource, Statics
from kvm_ref.linux.slab import KMEM_CACHE, kmem_cache, kmem_cache_create, kmem_cache_destroy
from kvm_ref.unwind import ladder
from kvm_ref.vocabulary import NULL, kernel_function


class shrinker(Resource):
    """Something that gives memory back when there is little."""

    __slots__ = ()


class Mmu(Statics):
    """The static variables of arch/x86/kvm/mmu/mmu.c."""

    __slots__ = ("kvm_total_used_mmu_pages", "mmu_page_header_cache", "mmu_shrinker", "pte_list_desc_cache")
    module = "kvm"

    def __init__(self) -> None:
        self.pte_list_desc_cache: kmem_cache | None = None
        self.mmu_page_header_cache: kmem_cache | None = None
        self.kvm_total_used_mmu_pages = "kvm_total_used_mmu_pages"
        self.mmu_shrinker: shrinker | None = None


@kernel_function(fails=ENOMEM, acquires="percpu_counter", obj="fbc")
def percpu_counter_init(k: Kernel, fbc: str) -> None:
    """Allocate the per-CPU part of a counter (include/linux/percpu_counter.h)."""


@kernel_function(releases="percpu_counter", idempotent=True)
def percpu_counter_destroy(k: Kernel, fbc: str) -> None:
    """Free the per-CPU part of a counter; one that has none is legal (lib/percpu_counter.c)."""


@kernel_function(fails=NULL, acquires="shrinker", args=("name",))
def shrinker_alloc(k: Kernel, name: str) -> shrinker | None:
    """Allocate a shrinker (mm/shrinker.c)."""
    return shrinker(k.new(f"shrinker:{name}"))


@kernel_function(uses="shrinker")
def shrinker_register(k: Kernel, shrinker: shrinker) -> None:
    """Let reclaim call a shrinker (mm/shrinker.c)."""


@kernel_function(releases="shrinker")
def shrinker_free(k: Kernel, shrinker: shrinker | None) -> None:
    """Unregister a shrinker and free it; NULL is legal (mm/shrinker.c)."""


@kernel_function()
def mmu_destroy_caches(k: Kernel) -> None:
    """Destroy both caches."""
    g = k[Mmu]
    kmem_cache_destroy(k, g.pte_list_desc_cache)
    g.pte_list_desc_cache = None
    kmem_cache_destroy(k, g.mmu_page_header_cache)
    g.mmu_page_header_cache = None


@kernel_function()
def kvm_mmu_x86_module_init(k: Kernel) -> None:
    """Settle the MMU's parameters when kvm.ko is loaded."""


@kernel_function(fails=ENOMEM, translates=True)
def kvm_mmu_vendor_module_init(k: Kernel) -> None:
    """Make caches, counter and shrinker when a vendor module is loaded."""
    g = k[Mmu]
    with ladder(k) as goto:
        g.pte_list_desc_cache = KMEM_CACHE(k, "pte_list_desc")
        with goto("out"):
            if not g.pte_list_desc_cache:
                raise KernelError(ENOMEM)

        g.mmu_page_header_cache = kmem_cache_create(k, "kvm_mmu_page_header")
        with goto("out"):
            if not g.mmu_page_header_cache:
                raise KernelError(ENOMEM)

        with goto("out"):
            try:
                percpu_counter_init(k, g.kvm_total_used_mmu_pages)
            except KernelError:
                raise KernelError(ENOMEM) from None

        g.mmu_shrinker = shrinker_alloc(k, "x86-mmu")
        with goto("out_shrinker"):
            if not g.mmu_shrinker:
                raise KernelError(ENOMEM)

        shrinker_register(k, g.mmu_shrinker)

        return

    if goto.reached("out_shrinker"):
        percpu_counter_destroy(k, g.kvm_total_used_mmu_pages)
    if goto.reached("out"):
        mmu_destroy_caches(k)
    raise goto.error


@kernel_function()
def kvm_mmu_vendor_module_exit(k: Kernel) -> None:
    """Undo kvm_mmu_vendor_module_init()."""
    g = k[Mmu]
    mmu_destroy_caches(k)
    percpu_counter_destroy(k, g.kvm_total_used_mmu_pages)
    shrinker_free(k, g.mmu_shrinker)
