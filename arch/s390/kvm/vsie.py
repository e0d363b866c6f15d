# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors arch/s390/kvm/vsie.c: what a VM keeps for guests of its guests, pages that only vCPUs bring."""

from __future__ import annotations

from kvm_ref.kernel import Kernel
from kvm_ref.linux.mutex import mutex_lock, mutex_unlock
from kvm_ref.virt.kvm_host import kvm
from kvm_ref.vocabulary import kernel_function


@kernel_function()
def kvm_s390_vsie_init(k: Kernel, kvm: kvm) -> None:
    """Begin without a page."""


@kernel_function()
def kvm_s390_vsie_destroy(k: Kernel, kvm: kvm) -> None:
    """Free the pages, of which there are none."""
    mutex_lock(k, kvm.arch.vsie_mutex)
    mutex_unlock(k, kvm.arch.vsie_mutex)
