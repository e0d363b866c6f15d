# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors arch/x86/kvm/vmx/vmx.c: flushing the L1 data cache before a guest runs (L1TF).

A CPU without an instruction for it is flushed by reading pages, which are allocated once.
"""

from __future__ import annotations

from arch.x86.kernel.bugs import Bugs, l1tf_mitigations, vmx_l1d_flush_state
from arch.x86.kvm.vmx_data import Vmx
from kvm_ref.errno import ENOMEM, KernelError
from kvm_ref.kernel import Kernel
from kvm_ref.linux.gfp import alloc_pages, free_pages
from kvm_ref.linux.jump_label import static_branch_disable, static_branch_enable
from kvm_ref.vocabulary import kernel_function

# What "auto" means for each choice on the kernel's command line; the other choices mean ALWAYS.
_AUTO = {
    l1tf_mitigations.L1TF_MITIGATION_OFF: vmx_l1d_flush_state.VMENTER_L1D_FLUSH_NEVER,
    l1tf_mitigations.L1TF_MITIGATION_FLUSH_NOWARN: vmx_l1d_flush_state.VMENTER_L1D_FLUSH_COND,
    l1tf_mitigations.L1TF_MITIGATION_FLUSH: vmx_l1d_flush_state.VMENTER_L1D_FLUSH_COND,
    l1tf_mitigations.L1TF_MITIGATION_FLUSH_NOSMT: vmx_l1d_flush_state.VMENTER_L1D_FLUSH_COND,
}


@kernel_function(fails=ENOMEM)
def vmx_setup_l1d_flush(k: Kernel, l1tf: vmx_l1d_flush_state) -> None:
    """Settle when to flush, and allocate what to flush with."""
    g = k[Vmx]
    host = k[Bugs]
    if not k.features["l1tf_bug"]:
        host.l1tf_vmx_mitigation = vmx_l1d_flush_state.VMENTER_L1D_FLUSH_NOT_REQUIRED
        return

    if not g.enable_ept:
        host.l1tf_vmx_mitigation = vmx_l1d_flush_state.VMENTER_L1D_FLUSH_EPT_DISABLED
        return

    if k.features["skip_vmentry_l1dflush"]:
        host.l1tf_vmx_mitigation = vmx_l1d_flush_state.VMENTER_L1D_FLUSH_NOT_REQUIRED
        return

    if l1tf == vmx_l1d_flush_state.VMENTER_L1D_FLUSH_AUTO:
        l1tf = _AUTO.get(host.l1tf_mitigation, vmx_l1d_flush_state.VMENTER_L1D_FLUSH_ALWAYS)
    elif host.l1tf_mitigation == l1tf_mitigations.L1TF_MITIGATION_FULL_FORCE:
        l1tf = vmx_l1d_flush_state.VMENTER_L1D_FLUSH_ALWAYS

    if (
        l1tf != vmx_l1d_flush_state.VMENTER_L1D_FLUSH_NEVER
        and not g.vmx_l1d_flush_pages
        and not k.features["flush_l1d"]
    ):
        page = alloc_pages(k, "vmx_l1d_flush_pages")
        if not page:
            raise KernelError(ENOMEM)
        g.vmx_l1d_flush_pages = page

    host.l1tf_vmx_mitigation = l1tf

    if l1tf != vmx_l1d_flush_state.VMENTER_L1D_FLUSH_NEVER:
        static_branch_enable(k, g.vmx_l1d_should_flush)
    else:
        static_branch_disable(k, g.vmx_l1d_should_flush)

    if l1tf == vmx_l1d_flush_state.VMENTER_L1D_FLUSH_COND:
        static_branch_enable(k, g.vmx_l1d_flush_cond)
    else:
        static_branch_disable(k, g.vmx_l1d_flush_cond)


@kernel_function()
def vmx_cleanup_l1d_flush(k: Kernel) -> None:
    """Free the pages, and let sysfs say that KVM is not there."""
    g = k[Vmx]
    if g.vmx_l1d_flush_pages:
        free_pages(k, g.vmx_l1d_flush_pages)
        g.vmx_l1d_flush_pages = None
    k[Bugs].l1tf_vmx_mitigation = vmx_l1d_flush_state.VMENTER_L1D_FLUSH_AUTO
