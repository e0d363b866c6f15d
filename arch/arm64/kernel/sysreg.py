# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors arch/arm64/include/asm/sysreg.h: the registers of EL2, of those that tell who owns it.

What KVM leaves in TTBR0_EL2, TCR_EL2 and the like is not written here: it counts for nothing while
the MMU of EL2 is off, and no code puts the old values back.
"""

from __future__ import annotations

VBAR_EL2 = "VBAR_EL2"
SCTLR_EL2 = "SCTLR_EL2"
HCR_EL2 = "HCR_EL2"
CNTHCTL_EL2 = "CNTHCTL_EL2"

# asm/kvm_arm.h and clocksource/arm_arch_timer.h.
HCR_VM = 1 << 0
HCR_TSC = 1 << 19
HCR_RW = 1 << 31
HCR_APK = 1 << 40
HCR_API = 1 << 41
HCR_ATA = 1 << 56
HCR_HOST_NVHE_FLAGS = HCR_RW | HCR_API | HCR_APK | HCR_ATA
HCR_HOST_NVHE_PROTECTED_FLAGS = HCR_HOST_NVHE_FLAGS | HCR_TSC
CNTHCTL_ECV = 1 << 12

SCTLR_ELx_M = 1 << 0
SCTLR_ELx_C = 1 << 2
SCTLR_ELx_SA = 1 << 3
SCTLR_ELx_I = 1 << 12
SCTLR_ELx_WXN = 1 << 19
SCTLR_ELx_IESB = 1 << 21
SCTLR_ELx_ITFSB = 1 << 37
SCTLR_EL2_RES1 = 0x30C50830
INIT_SCTLR_EL2_MMU_OFF = SCTLR_EL2_RES1
INIT_SCTLR_EL2_MMU_ON = (
    SCTLR_ELx_M | SCTLR_ELx_C | SCTLR_ELx_SA | SCTLR_ELx_I
    | SCTLR_ELx_IESB | SCTLR_ELx_WXN | SCTLR_ELx_ITFSB | SCTLR_EL2_RES1
)  # fmt: skip

# Where the model puts the three vector tables that VBAR_EL2 can hold.
HYP_STUB_VECTORS = 0x4080_0000
KVM_HYP_INIT_VECTORS = 0x4100_0000
KVM_HYP_HOST_VECTORS = 0x4100_8000
