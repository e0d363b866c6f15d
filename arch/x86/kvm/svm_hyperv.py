# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors arch/x86/kvm/svm/svm_onhyperv.h: what AMD's part does where KVM itself runs on Hyper-V."""

from __future__ import annotations

from arch.x86.hyperv.hv_init import hv_get_vp_assist_page
from arch.x86.kvm.svm_data import Svm
from kvm_ref.kernel import Kernel
from kvm_ref.linux.cpumask import for_each_online_cpu
from kvm_ref.linux.printk import pr_info
from kvm_ref.vocabulary import kernel_function


@kernel_function(config="HYPERV")
def svm_hv_hardware_setup(k: Kernel) -> None:
    """Let guests flush TLBs by Hyper-V; a CPU without a page goes without, and that is no error.

    The module's name is in these lines twice, and no exit function takes the pages' flag back.
    """
    if k[Svm].npt_enabled and k.features["hyperv"]:
        pr_info(k, "kvm_amd: kvm_amd: Hyper-V enlightened NPT TLB flush enabled")

    if k.features["hyperv"]:
        pr_info(k, "kvm_amd: kvm_amd: Hyper-V Direct TLB Flush enabled")
        for cpu in for_each_online_cpu(k):
            vp_ap = hv_get_vp_assist_page(k, cpu)
            if not vp_ap:
                continue

            vp_ap.directhypercall = 1
