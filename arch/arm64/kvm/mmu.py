# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors arch/arm64/kvm/mmu.c: what EL2 sees of the kernel's memory, where the kernel is in EL1.

The C maps a range page by page; here one step stands for the pages of a range.
"""

from __future__ import annotations

from arch.arm64.kernel.virt import is_kernel_in_hyp_mode, is_protected_kvm_enabled
from arch.arm64.kvm.hyp.nvhe.hyp_main import __pkvm_create_private_mapping
from arch.arm64.kvm.hyp.pgtable import (
    kvm_pgtable,
    kvm_pgtable_hyp_destroy,
    kvm_pgtable_hyp_init,
    kvm_pgtable_hyp_map,
    kvm_pgtable_mm_ops,
)
from arch.arm64.kvm.pkvm_data import Pkvm
from kvm_ref.errno import EINVAL, ENOMEM, EPERM, KernelError
from kvm_ref.kernel import Kernel, Statics
from kvm_ref.linux.gfp import get_zeroed_page, pages
from kvm_ref.linux.io import iomem, ioremap, iounmap
from kvm_ref.linux.jump_label import static_branch_unlikely
from kvm_ref.linux.mm import put_page
from kvm_ref.linux.mutex import Mutex, guard, lockdep_assert_held
from kvm_ref.linux.printk import BUG_ON, WARN_ON, pr_err
from kvm_ref.linux.slab import kfree, kzalloc
from kvm_ref.unwind import ladder
from kvm_ref.vocabulary import NULL, kernel_function

PAGE_HYP = "PAGE_HYP"
PAGE_HYP_EXEC = "PAGE_HYP_EXEC"
PAGE_HYP_RO = "PAGE_HYP_RO"
PAGE_HYP_DEVICE = "PAGE_HYP_DEVICE"


class Mmu(Statics):
    """The static variables of arch/arm64/kvm/mmu.c."""

    __slots__ = ("hyp_pgtable", "kvm_hyp_pgd_mutex")
    module = "kvm"

    def __init__(self) -> None:
        self.hyp_pgtable: kvm_pgtable | None = None
        self.kvm_hyp_pgd_mutex = Mutex("kvm_hyp_pgd_mutex")


@kernel_function()
def free_hyp_pgds(k: Kernel) -> None:
    """Free the page table of EL2, if there is one."""
    g = k[Mmu]
    with guard(k, g.kvm_hyp_pgd_mutex):
        if g.hyp_pgtable:
            kvm_pgtable_hyp_destroy(k, g.hyp_pgtable)
            kfree(k, g.hyp_pgtable)
            g.hyp_pgtable = None


@kernel_function(fails=False)
def kvm_host_owns_hyp_mappings(k: Kernel) -> bool:
    """Say whether the kernel may still change what EL2 sees."""
    g = k[Mmu]
    if is_kernel_in_hyp_mode(k):
        return False

    if static_branch_unlikely(k[Pkvm].kvm_protected_mode_initialized):
        return False

    # Protected EL2 has its own tables by now, and the static key is yet to be turned.
    if not g.hyp_pgtable and is_protected_kvm_enabled(k):
        return False

    WARN_ON(k, not g.hyp_pgtable, "!hyp_pgtable")

    return True


@kernel_function(fails=(ENOMEM, EINVAL))
def __create_hyp_mappings(k: Kernel, start: str, prot: str) -> None:
    """Map pages into EL2."""
    g = k[Mmu]
    if WARN_ON(k, not kvm_host_owns_hyp_mappings(k), "!kvm_host_owns_hyp_mappings()"):
        raise KernelError(EINVAL)

    with guard(k, g.kvm_hyp_pgd_mutex):
        assert g.hyp_pgtable is not None
        kvm_pgtable_hyp_map(k, g.hyp_pgtable, start, prot)


@kernel_function(fails=(ENOMEM, EPERM), args=("what", "prot"))
def create_hyp_mappings(k: Kernel, what: str, prot: str) -> None:
    """Map a range of the kernel's into EL2; `what` is the symbol at its start."""
    if is_kernel_in_hyp_mode(k):
        return

    if not kvm_host_owns_hyp_mappings(k):
        raise KernelError(EPERM)

    __create_hyp_mappings(k, what, prot)


@kernel_function(fails=(ENOMEM, EINVAL))
def __hyp_alloc_private_va_range(k: Kernel) -> None:
    """Take addresses below the identity map; -ENOMEM if they have run out."""
    lockdep_assert_held(k, k[Mmu].kvm_hyp_pgd_mutex)


@kernel_function(fails=ENOMEM)
def hyp_alloc_private_va_range(k: Kernel) -> None:
    """Take addresses for a mapping where the host has none."""
    with guard(k, k[Mmu].kvm_hyp_pgd_mutex):
        __hyp_alloc_private_va_range(k)


@kernel_function(fails=ENOMEM)
def __create_hyp_private_mapping(k: Kernel, phys_addr: str, prot: str) -> None:
    """Map pages into EL2 at addresses taken for them."""
    if not kvm_host_owns_hyp_mappings(k):
        __pkvm_create_private_mapping(k)
        return

    hyp_alloc_private_va_range(k)

    __create_hyp_mappings(k, phys_addr, prot)


@kernel_function(fails=ENOMEM)
def create_hyp_stack(k: Kernel, phys_addr: str) -> None:
    """Map a stack into EL2, with a page below it that nothing backs."""
    with guard(k, k[Mmu].kvm_hyp_pgd_mutex):
        try:
            __hyp_alloc_private_va_range(k)
        except KernelError:
            pr_err(k, "kvm: cannot allocate hyp stack guard page")
            raise

    try:
        __create_hyp_mappings(k, phys_addr, PAGE_HYP)
    except KernelError:
        pr_err(k, "kvm: cannot map hyp stack")
        raise


@kernel_function(fails=(ENOMEM, EPERM), args=("phys_addr",))
def create_hyp_io_mappings(k: Kernel, phys_addr: str, kaddr: list[iomem | None]) -> None:
    """Map a device's registers into the kernel and into EL2; the kernel's mapping goes to ``kaddr[0]``."""
    if is_protected_kvm_enabled(k):
        raise KernelError(EPERM)

    kaddr[0] = ioremap(k, phys_addr)
    if not kaddr[0]:
        raise KernelError(ENOMEM)

    if is_kernel_in_hyp_mode(k):
        return

    try:
        __create_hyp_private_mapping(k, phys_addr, PAGE_HYP_DEVICE)
    except KernelError:
        iounmap(k, kaddr[0])
        kaddr[0] = None
        raise


@kernel_function(fails=ENOMEM)
def create_hyp_exec_mappings(k: Kernel, phys_addr: str) -> None:
    """Map code into EL2, next to the identity map."""
    BUG_ON(k, is_kernel_in_hyp_mode(k), "is_kernel_in_hyp_mode()")

    __create_hyp_private_mapping(k, phys_addr, PAGE_HYP_EXEC)


@kernel_function(fails=ENOMEM)
def kvm_map_idmap_text(k: Kernel) -> None:
    """Map the code that turns the MMU of EL2 on at its physical address."""
    try:
        __create_hyp_mappings(k, "__hyp_idmap_text_start", PAGE_HYP_EXEC)
    except KernelError:
        pr_err(k, "kvm: failed to idmap")
        raise


@kernel_function(fails=NULL)
def kvm_hyp_zalloc_page(k: Kernel) -> pages | None:
    """Allocate a page for a page table."""
    return get_zeroed_page(k, "hyp_pgtable_page")


kvm_hyp_mm_ops = kvm_pgtable_mm_ops(zalloc_page=kvm_hyp_zalloc_page, put_page=put_page)


@kernel_function(fails=(ENOMEM, EINVAL))
def kvm_mmu_init(k: Kernel) -> None:
    """Make the page table of EL2, with the identity map in it."""
    g = k[Mmu]
    with ladder(k) as goto:
        with goto("out"):
            if k.features["idmap_conflict"]:
                pr_err(k, "kvm: IDMAP intersecting with HYP VA, unable to continue")
                raise KernelError(EINVAL)

        memory = kzalloc(k, "kvm_pgtable")
        with goto("out"):
            if not memory:
                pr_err(k, "kvm: Hyp mode page-table not allocated")
                raise KernelError(ENOMEM)
        g.hyp_pgtable = kvm_pgtable(memory.id)

        with goto("out_free_pgtable"):
            kvm_pgtable_hyp_init(k, g.hyp_pgtable, kvm_hyp_mm_ops)

        with goto("out_destroy_pgtable"):
            kvm_map_idmap_text(k)

        return

    if goto.reached("out_destroy_pgtable"):
        assert g.hyp_pgtable is not None
        kvm_pgtable_hyp_destroy(k, g.hyp_pgtable)
    if goto.reached("out_free_pgtable"):
        kfree(k, g.hyp_pgtable)
        g.hyp_pgtable = None
    goto.reached("out")
    raise goto.error
