# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors arch/arm64/kvm/vgic/vgic-init.c: what a VM has of a controller before it is given one."""

from __future__ import annotations

from kvm_ref.kernel import Kernel
from kvm_ref.linux.mutex import guard
from kvm_ref.linux.slab import kfree
from kvm_ref.linux.xarray import xa_destroy, xarray
from kvm_ref.virt.kvm_host import kvm
from kvm_ref.vocabulary import kernel_function


@kernel_function()
def kvm_vgic_early_init(k: Kernel, kvm: kvm) -> None:
    """Make an empty array for the interrupts that have no number of their own."""
    kvm.arch.vgic.lpi_xa = xarray("lpi_xa")


@kernel_function()
def kvm_vgic_dist_destroy(k: Kernel, kvm: kvm) -> None:
    """Free what a distributor has; one that nobody asked for has nothing."""
    dist = kvm.arch.vgic

    kfree(k, dist.spis)
    dist.spis = None

    xa_destroy(k, dist.lpi_xa)


@kernel_function()
def kvm_vgic_destroy(k: Kernel, kvm: kvm) -> None:
    """Take the controller of a VM apart."""
    with guard(k, kvm.slots_lock), guard(k, kvm.arch.config_lock):
        kvm_vgic_dist_destroy(k, kvm)
