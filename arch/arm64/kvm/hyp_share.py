# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors arch/arm64/kvm/mmu.c: what EL2 may see of a VM's own structure.

Without protected KVM that is a mapping as any other, which stays when the VM is gone. Protected EL2
is lent the pages, one by one; who borrows the same page twice gives it back twice.
"""

from __future__ import annotations

from collections.abc import Iterator

from arch.arm64.kernel.virt import is_kernel_in_hyp_mode
from arch.arm64.kvm.hyp.nvhe.mem_protect import __pkvm_host_share_hyp, __pkvm_host_unshare_hyp
from arch.arm64.kvm.mmu import PAGE_HYP, create_hyp_mappings, kvm_host_owns_hyp_mappings
from kvm_ref.errno import EINVAL, ENOENT, ENOMEM, EPERM, KernelError
from kvm_ref.kernel import Kernel, Statics
from kvm_ref.linux.mutex import Mutex, guard
from kvm_ref.linux.printk import WARN_ON
from kvm_ref.linux.slab import kfree, kmemory, kzalloc
from kvm_ref.virt.kvm_host import kvm
from kvm_ref.vocabulary import kernel_function

# The pages in which a struct kvm lies: it is larger than one.
KVM_NR_PAGES = 2


class hyp_shared_pfn(kmemory):
    """A page that EL2 was lent, and how often."""

    __slots__ = ("count",)

    def __init__(self, id: str) -> None:
        super().__init__(id)
        self.count = 1


class HypShare(Statics):
    """The static variables of arch/arm64/kvm/mmu.c that have to do with shared pages."""

    __slots__ = ("hyp_shared_pfns", "hyp_shared_pfns_lock")
    module = "kvm"

    def __init__(self) -> None:
        self.hyp_shared_pfns_lock = Mutex("hyp_shared_pfns_lock")
        self.hyp_shared_pfns: dict[str, hyp_shared_pfn] = {}


def pfns(kvm: kvm) -> Iterator[str]:
    """The pages in which a VM's structure lies."""
    for page in range(KVM_NR_PAGES):
        yield f"{kvm.memory}+{page}"


@kernel_function(fails=(ENOMEM, EPERM), args=("pfn",))
def share_pfn_hyp(k: Kernel, pfn: str) -> None:
    """Lend a page; it counts as lent from then on, even if EL2 refuses.

    Raises:
        KernelError: ENOMEM, there is no memory; or what EL2 answers.
    """
    g = k[HypShare]
    with guard(k, g.hyp_shared_pfns_lock):
        this = g.hyp_shared_pfns.get(pfn)
        if this:
            this.count += 1
            return

        memory = kzalloc(k, "hyp_shared_pfn")
        if not memory:
            raise KernelError(ENOMEM)

        g.hyp_shared_pfns[pfn] = hyp_shared_pfn(memory.id)
        __pkvm_host_share_hyp(k, pfn)


@kernel_function(fails=(ENOENT, EPERM), args=("pfn",))
def unshare_pfn_hyp(k: Kernel, pfn: str) -> None:
    """Take a page back, if nobody else has lent it.

    Raises:
        KernelError: ENOENT, it was not lent; or what EL2 answers.
    """
    g = k[HypShare]
    with guard(k, g.hyp_shared_pfns_lock):
        this = g.hyp_shared_pfns.get(pfn)
        if WARN_ON(k, not this, "!this"):
            raise KernelError(ENOENT)
        assert this is not None

        this.count -= 1
        if this.count:
            return

        del g.hyp_shared_pfns[pfn]
        kfree(k, this)
        __pkvm_host_unshare_hyp(k, pfn)


@kernel_function(fails=(ENOMEM, EINVAL, EPERM))
def kvm_share_hyp(k: Kernel, kvm: kvm) -> None:
    """Let EL2 see a VM's structure; pages that were lent when one fails stay lent.

    Raises:
        KernelError: ENOMEM, or what EL2 answers.
    """
    if is_kernel_in_hyp_mode(k):
        return

    if kvm_host_owns_hyp_mappings(k):
        create_hyp_mappings(k, str(kvm.memory), PAGE_HYP)
        return

    for pfn in pfns(kvm):
        share_pfn_hyp(k, pfn)


@kernel_function()
def kvm_unshare_hyp(k: Kernel, kvm: kvm) -> None:
    """Take a VM's structure back from protected EL2."""
    if is_kernel_in_hyp_mode(k) or kvm_host_owns_hyp_mappings(k):
        return

    for pfn in pfns(kvm):
        try:
            unshare_pfn_hyp(k, pfn)
        except KernelError:
            WARN_ON(k, True, "unshare_pfn_hyp(pfn)")
