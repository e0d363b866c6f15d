# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors arch/x86/kvm/svm/sev.c: what encrypted VMs need when KVM is loaded.

Without SEV in the CPU, or when setting it up fails, KVM does without it and loads all the same.
"""

from __future__ import annotations

from arch.x86.kvm.svm_data import Svm, bitmap, svm_cpu_data
from kvm_ref.errno import EBUSY, EINVAL, ENODEV, ENOMEM, KernelError
from kvm_ref.kernel import Kernel
from kvm_ref.linux.gfp import alloc_pages_node, pages
from kvm_ref.linux.printk import WARN_ON_ONCE
from kvm_ref.linux.slab import kcalloc
from kvm_ref.unwind import unchecked
from kvm_ref.vocabulary import NULL, kernel_function

# How many encrypted guests the model's CPU can hold apart.
NR_SEV_ASIDS = 509


@kernel_function(fails=NULL, acquires="bitmap", args=("what",), symbol="__kmalloc_noprof")
def bitmap_zalloc(k: Kernel, what: str) -> bitmap | None:
    """Allocate a zeroed bitmap (lib/bitmap.c)."""
    return bitmap(k.new(what))


@kernel_function(releases="bitmap")
def bitmap_free(k: Kernel, map: bitmap | None) -> None:
    """Free a bitmap; NULL is legal (lib/bitmap.c)."""


@kernel_function(fails=EINVAL, args=("type", "capacity"))
def misc_cg_set_capacity(k: Kernel, type: str, capacity: int) -> None:
    """Say how many of a scarce thing cgroups may share out (kernel/cgroup/misc.c)."""


@kernel_function(fails=EBUSY)
def sev_flush_asids(k: Kernel) -> None:
    """Make ASIDs that guests have left fit for use; -EBUSY if there are none."""
    raise KernelError(EBUSY)


@kernel_function(fails=ENODEV)
def sev_platform_init(k: Kernel) -> None:
    """Start the firmware on the secure processor (drivers/crypto/ccp/sev-dev.c)."""


@kernel_function()
def sev_platform_shutdown(k: Kernel) -> None:
    """Stop the firmware; it may never have been started (drivers/crypto/ccp/sev-dev.c)."""


@kernel_function(fails=NULL)
def snp_safe_alloc_page_node(k: Kernel, what: str) -> pages | None:
    """Allocate a page that a CPU with SEV-SNP may use for its own state."""
    return alloc_pages_node(k, what)


@kernel_function()
def sev_hardware_setup(k: Kernel) -> None:
    """Set SEV up if the CPU has it; no failure leaves this function."""
    g = k[Svm]
    sev_supported = False
    if g.sev_enabled and k.features["sev"]:
        sev_supported = _sev_asids(k)

    if g.sev_enabled:
        try:
            sev_platform_init(k)
        except KernelError:
            sev_supported = False

    g.sev_enabled = sev_supported


def _sev_asids(k: Kernel) -> bool:
    # The part of sev_hardware_setup() that allocates, up to its label "out".
    g = k[Svm]
    g.sev_asid_bitmap = bitmap_zalloc(k, "sev_asid_bitmap")
    if not g.sev_asid_bitmap:
        return False

    g.sev_reclaim_asid_bitmap = bitmap_zalloc(k, "sev_reclaim_asid_bitmap")
    if not g.sev_reclaim_asid_bitmap:
        bitmap_free(k, g.sev_asid_bitmap)
        g.sev_asid_bitmap = None
        return False

    try:
        misc_cg_set_capacity(k, "MISC_CG_RES_SEV", NR_SEV_ASIDS)
    except KernelError:
        WARN_ON_ONCE(k, True, "misc_cg_set_capacity(MISC_CG_RES_SEV, sev_asid_count)")
    return True


@kernel_function()
def sev_hardware_unsetup(k: Kernel) -> None:
    """Undo sev_hardware_setup(), if SEV came up."""
    g = k[Svm]
    if not g.sev_enabled:
        return

    with unchecked:
        sev_flush_asids(k)

    bitmap_free(k, g.sev_asid_bitmap)
    bitmap_free(k, g.sev_reclaim_asid_bitmap)

    with unchecked:
        misc_cg_set_capacity(k, "MISC_CG_RES_SEV", 0)
    with unchecked:
        misc_cg_set_capacity(k, "MISC_CG_RES_SEV_ES", 0)

    sev_platform_shutdown(k)


@kernel_function(fails=ENOMEM)
def sev_cpu_init(k: Kernel, sd: svm_cpu_data) -> None:
    """Allocate one CPU's table of the VMCBs that last used each ASID."""
    if not k[Svm].sev_enabled:
        return

    sd.sev_vmcbs = kcalloc(k, "sev_vmcbs")
    if not sd.sev_vmcbs:
        raise KernelError(ENOMEM)
