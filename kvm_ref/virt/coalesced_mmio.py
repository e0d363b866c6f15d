# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors virt/kvm/coalesced_mmio.c: the page in which a VM's writes to devices are gathered."""

from __future__ import annotations

from kvm_ref.errno import ENOMEM, KernelError
from kvm_ref.kernel import Kernel
from kvm_ref.linux.gfp import alloc_page, free_page
from kvm_ref.virt.kvm_host import kvm
from kvm_ref.vocabulary import kernel_function


@kernel_function(fails=ENOMEM, config="KVM_MMIO")
def kvm_coalesced_mmio_init(k: Kernel, kvm: kvm) -> None:
    """Allocate the page.

    Raises:
        KernelError: ENOMEM, there is no memory.
    """
    page = alloc_page(k, "coalesced_mmio_ring")
    if not page:
        raise KernelError(ENOMEM)

    kvm.coalesced_mmio_ring = page


@kernel_function(config="KVM_MMIO")
def kvm_coalesced_mmio_free(k: Kernel, kvm: kvm) -> None:
    """Free the page."""
    if kvm.coalesced_mmio_ring:
        free_page(k, kvm.coalesced_mmio_ring)
