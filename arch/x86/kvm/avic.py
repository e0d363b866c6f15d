# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors arch/x86/kvm/svm/avic.c: the interrupt controller that AMD CPUs virtualize.

The IOMMU tells KVM when an interrupt waits for a vCPU that does not run. In 6.12.117 nobody takes
that notifier back: after kvm-amd.ko is unloaded the IOMMU driver still points into it.
"""

from __future__ import annotations

from collections.abc import Callable

from arch.x86.kernel.msr import boot_cpu_has
from arch.x86.kvm.svm_data import Svm
from kvm_ref.kernel import Commit, Kernel, Statics
from kvm_ref.linux.printk import pr_info, pr_warn
from kvm_ref.vocabulary import kernel_function

UNREGISTER_GALOG = Commit(
    "adc6ae972971", "KVM: SVM: Unregister KVM's GALog notifier on kvm-amd.ko exit", default=False
)

ga_log_notifier = Callable[[Kernel, int], int]


class AmdIommu(Statics):
    """The static variables of drivers/iommu/amd/iommu.c that KVM sets."""

    __slots__ = ("iommu_ga_log_notifier",)

    def __init__(self) -> None:
        self.iommu_ga_log_notifier: ga_log_notifier | None = None


def avic_ga_log_notifier(k: Kernel, ga_tag: int) -> int:
    """Wake the vCPU that an interrupt waits for."""
    return 0


@kernel_function(
    acquires="ga_log_notifier",
    releases="ga_log_notifier",
    obj="'avic_ga_log_notifier'",
    args=("notifier",),
    idempotent=True,
)
def amd_iommu_register_ga_log_notifier(k: Kernel, notifier: ga_log_notifier | None) -> ga_log_notifier | None:
    """Set the notifier, or with NULL take it back (drivers/iommu/amd/iommu.c).

    Returns:
        The notifier that is set now, where the C returns 0: one is held until NULL is set.
    """
    k[AmdIommu].iommu_ga_log_notifier = notifier
    return notifier


@kernel_function(fails=False)
def avic_hardware_setup(k: Kernel) -> bool:
    """Set AVIC up if the CPU has it."""
    if not k[Svm].npt_enabled:
        return False

    if not k.features["avic"]:
        return False

    # cc_platform_has(CC_ATTR_HOST_SEV_SNP)
    if k.features["host_sev_snp"] and not boot_cpu_has(k, "X86_FEATURE_HV_INUSE_WR_ALLOWED"):
        pr_warn(k, "kvm_amd: AVIC disabled: missing HvInUseWrAllowed on SNP-enabled system")
        return False

    pr_info(k, "kvm_amd: AVIC enabled")

    amd_iommu_register_ga_log_notifier(k, avic_ga_log_notifier)

    return True


@kernel_function()
def avic_hardware_unsetup(k: Kernel) -> None:
    """Take the notifier back; only kernels with adc6ae972971 have this function."""
    amd_iommu_register_ga_log_notifier(k, None)
