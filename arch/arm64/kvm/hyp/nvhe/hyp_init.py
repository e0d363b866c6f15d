# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors arch/arm64/kvm/hyp/nvhe/hyp-init.S: how KVM gets into EL2 of a CPU, and out again."""

from __future__ import annotations

from arch.arm64.kernel.sysreg import (
    HCR_EL2,
    HYP_STUB_VECTORS,
    INIT_SCTLR_EL2_MMU_OFF,
    INIT_SCTLR_EL2_MMU_ON,
    KVM_HYP_HOST_VECTORS,
    KVM_HYP_INIT_VECTORS,
    SCTLR_EL2,
    VBAR_EL2,
)
from arch.arm64.kvm.arm_data import Arm
from kvm_ref.kernel import Kernel
from kvm_ref.vocabulary import kernel_function

# linux/arm-smccc.h: what a hypercall returns.
SMCCC_RET_SUCCESS = 0
SMCCC_RET_NOT_SUPPORTED = -1


@kernel_function()
def __kvm_hyp_init(k: Kernel) -> int:
    """Turn the MMU of EL2 on and install the vectors that hosts and guests run under.

    Returns:
        SMCCC_RET_NOT_SUPPORTED unless the vectors of the identity map are there to answer.
    """
    if k.read(VBAR_EL2) != KVM_HYP_INIT_VECTORS:
        return SMCCC_RET_NOT_SUPPORTED

    k.write(HCR_EL2, k[Arm].hcr_el2[k.cpu])
    k.write(SCTLR_EL2, INIT_SCTLR_EL2_MMU_ON)
    k.write(VBAR_EL2, KVM_HYP_HOST_VECTORS)
    return SMCCC_RET_SUCCESS


@kernel_function()
def __kvm_handle_stub_hvc(k: Kernel) -> None:
    """Turn the MMU of EL2 off and hand EL2 back to the stub."""
    k.write(SCTLR_EL2, INIT_SCTLR_EL2_MMU_OFF)
    k.write(VBAR_EL2, HYP_STUB_VECTORS)
