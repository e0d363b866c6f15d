# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors arch/x86/kvm/vmx/nested.c: what guests that are hypervisors themselves need at load."""

from __future__ import annotations

from arch.x86.kvm.vmx_data import (
    VMX_EPT_EXTENT_GLOBAL_BIT,
    VMX_EPT_PAGE_WALK_4_BIT,
    VMX_EPTP_WB_BIT,
    Vmx,
    vmcs_config,
)
from kvm_ref.errno import ENOMEM, KernelError
from kvm_ref.kernel import Kernel, Statics
from kvm_ref.linux.gfp import __get_free_page, free_page, pages
from kvm_ref.linux.module import Param
from kvm_ref.vocabulary import kernel_function

# Two bitmaps, one for VMREAD and one for VMWRITE.
VMX_BITMAP_NR = 2


class Nested(Statics):
    """The static variables of arch/x86/kvm/vmx/nested.c."""

    __slots__ = ("enable_shadow_vmcs", "vmx_bitmap")
    module = "kvm_intel"

    def __init__(self) -> None:
        self.enable_shadow_vmcs = True
        self.vmx_bitmap: list[pages | None] = [None] * VMX_BITMAP_NR


PARAMS = (Param("enable_shadow_vmcs", Nested),)


@kernel_function()
def nested_vmx_setup_ctls_msrs(k: Kernel, vmcs_conf: vmcs_config, ept_caps: int) -> None:
    """Settle what guests that are hypervisors see of VMX; of that, what they may do with EPT."""
    if k[Vmx].enable_ept:
        caps = ept_caps & (VMX_EPT_PAGE_WALK_4_BIT | VMX_EPTP_WB_BIT)
        vmcs_conf.nested_ept_caps = caps | VMX_EPT_EXTENT_GLOBAL_BIT


@kernel_function()
def nested_vmx_hardware_unsetup(k: Kernel) -> None:
    """Free the bitmaps; those never allocated are NULL."""
    g = k[Nested]
    if g.enable_shadow_vmcs:
        for i in range(VMX_BITMAP_NR):
            free_page(k, g.vmx_bitmap[i])


@kernel_function(fails=ENOMEM)
def nested_vmx_hardware_setup(k: Kernel) -> None:
    """Allocate the bitmaps that say which VMCS fields a guest may reach by itself."""
    g = k[Nested]
    if not k.features["shadow_vmcs"]:
        g.enable_shadow_vmcs = False
    if g.enable_shadow_vmcs:
        for i in range(VMX_BITMAP_NR):
            g.vmx_bitmap[i] = __get_free_page(k, "vmx_bitmap")
            if not g.vmx_bitmap[i]:
                nested_vmx_hardware_unsetup(k)
                raise KernelError(ENOMEM)
