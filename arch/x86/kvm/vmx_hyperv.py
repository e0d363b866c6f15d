# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors arch/x86/kvm/vmx/vmx.c: the enlightened VMCS, where KVM itself runs on Hyper-V."""

from __future__ import annotations

from arch.x86.hyperv.hv_init import hv_get_vp_assist_page
from arch.x86.kvm.vmx_data import Vmx
from kvm_ref.kernel import Kernel
from kvm_ref.linux.cpumask import for_each_online_cpu
from kvm_ref.linux.jump_label import static_branch_enable, static_branch_unlikely
from kvm_ref.linux.printk import WARN_ON_ONCE, pr_info
from kvm_ref.vocabulary import kernel_function


def kvm_is_using_evmcs(k: Kernel) -> bool:
    """Say whether VMCSs have Hyper-V's format (arch/x86/kvm/vmx/vmx_onhyperv.h)."""
    return static_branch_unlikely(k[Vmx].kvm_is_using_evmcs)


@kernel_function(config="HYPERV")
def hv_init_evmcs(k: Kernel) -> None:
    """Use the enlightened VMCS if Hyper-V advises it and every online CPU has its page."""
    g = k[Vmx]
    if not g.enlightened_vmcs:
        return

    if k.features["hyperv"]:
        for cpu in for_each_online_cpu(k):
            if not hv_get_vp_assist_page(k, cpu):
                g.enlightened_vmcs = False
                break

        if g.enlightened_vmcs:
            pr_info(k, "kvm_intel: Using Hyper-V Enlightened VMCS")
            static_branch_enable(k, g.kvm_is_using_evmcs)
    else:
        g.enlightened_vmcs = False


def hv_reset_evmcs(k: Kernel) -> None:
    """Forget the enlightened VMCS on this CPU, so that KVM may do without it later."""
    if not kvm_is_using_evmcs(k):
        return

    vp_ap = hv_get_vp_assist_page(k, k.cpu)
    if not vp_ap:
        WARN_ON_ONCE(k, True, "!vp_ap")
        return

    vp_ap.directhypercall = 0
    vp_ap.current_nested_vmcs = 0
    vp_ap.enlighten_vmentry = 0
