# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors virt/kvm/async_pf.c: the cache of asynchronous page faults."""

from __future__ import annotations

from kvm_ref.errno import ENOMEM, KernelError
from kvm_ref.kernel import Kernel, Statics
from kvm_ref.linux.slab import KMEM_CACHE, kmem_cache, kmem_cache_destroy
from kvm_ref.vocabulary import kernel_function


class AsyncPf(Statics):
    """The static variables of virt/kvm/async_pf.c."""

    __slots__ = ("async_pf_cache",)
    module = "kvm"

    def __init__(self) -> None:
        self.async_pf_cache: kmem_cache | None = None


@kernel_function(fails=ENOMEM, config="KVM_ASYNC_PF")
def kvm_async_pf_init(k: Kernel) -> None:
    """Make the cache."""
    k[AsyncPf].async_pf_cache = KMEM_CACHE(k, "kvm_async_pf")

    if not k[AsyncPf].async_pf_cache:
        raise KernelError(ENOMEM)


@kernel_function(config="KVM_ASYNC_PF")
def kvm_async_pf_deinit(k: Kernel) -> None:
    """Destroy the cache."""
    kmem_cache_destroy(k, k[AsyncPf].async_pf_cache)
    k[AsyncPf].async_pf_cache = None
