# SPDX-License-Identifier: GPL-2.0-only
"""The backends x86-svm and x86-vmx."""

from __future__ import annotations

from typing import Any

from arch.x86.kernel.msr import EFER_SVME, MSR_EFER, MSR_IA32_CR_PAT
from arch.x86.kvm import svm, x86
from arch.x86.kvm.svm_data import Svm
from kvm_ref.backend import Backend
from kvm_ref.kernel import Kernel
from kvm_ref.linux.module import Module, Param
from kvm_ref.virt import kvm_main

KVM = Module("kvm", x86.kvm_x86_init, x86.kvm_x86_exit, params=kvm_main.PARAMS)
PAT_AT_BOOT = 0x0007040600070406


class _X86(Backend):
    packages = ("arch.x86",)
    config = frozenset(
        {
            "CPUMASK_OFFSTACK",
            "HAVE_KVM_IRQCHIP",
            "KVM_ASYNC_PF",
            "KVM_GENERIC_HARDWARE_ENABLING",
            "KVM_PRIVATE_MEM",
            "KVM_VFIO",
        }
    )
    kvm_arch_enable_virtualization_cpu = staticmethod(x86.kvm_arch_enable_virtualization_cpu)
    kvm_arch_disable_virtualization_cpu = staticmethod(x86.kvm_arch_disable_virtualization_cpu)
    kvm_arch_enable_virtualization = staticmethod(x86.kvm_arch_enable_virtualization)
    kvm_arch_disable_virtualization = staticmethod(x86.kvm_arch_disable_virtualization)

    reset = {MSR_IA32_CR_PAT: PAT_AT_BOOT}


class X86Svm(_X86):
    """AMD SVM: kvm.ko and kvm-amd.ko."""

    name = "x86-svm"
    summary = "x86 with AMD SVM (kvm.ko, kvm-amd.ko)"
    reset = {MSR_IA32_CR_PAT: PAT_AT_BOOT, svm.MSR_AMD64_TSC_RATIO: svm.SVM_TSC_RATIO_DEFAULT}
    features = {"constant_tsc": False, "sev": True}
    modules = (
        KVM,
        Module("kvm_amd", svm.svm_init, svm.svm_exit, depends=("kvm",), params=(Param("nested", Svm),)),
    )

    def foreign_on(self, k: Kernel) -> None:
        k.write(MSR_EFER, k.read(MSR_EFER) | EFER_SVME)

    def foreign_off(self, k: Kernel) -> None:
        k.write(MSR_EFER, k.read(MSR_EFER) & ~EFER_SVME)

    def after(self, k: Kernel) -> dict[str, Any]:
        return {"svme_cpus": [c for c in k.online if k.registers.get((c, MSR_EFER), 0) & EFER_SVME]}
