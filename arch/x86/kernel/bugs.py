# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors arch/x86/kernel/cpu/bugs.c: what the kernel does about L1TF, and what KVM says it does."""

from __future__ import annotations

from enum import IntEnum, StrEnum

from kvm_ref.kernel import Statics


class l1tf_mitigations(IntEnum):
    """What the user asked for with ``l1tf=`` (arch/x86/include/asm/processor.h)."""

    L1TF_MITIGATION_OFF = 0
    L1TF_MITIGATION_FLUSH_NOWARN = 1
    L1TF_MITIGATION_FLUSH = 2
    L1TF_MITIGATION_FLUSH_NOSMT = 3
    L1TF_MITIGATION_FULL = 4
    L1TF_MITIGATION_FULL_FORCE = 5


class vmx_l1d_flush_state(StrEnum):
    """When KVM flushes the L1 data cache (arch/x86/include/asm/vmx.h), in the words of KVM's parameter."""

    VMENTER_L1D_FLUSH_AUTO = "auto"
    VMENTER_L1D_FLUSH_NEVER = "never"
    VMENTER_L1D_FLUSH_COND = "cond"
    VMENTER_L1D_FLUSH_ALWAYS = "always"
    VMENTER_L1D_FLUSH_EPT_DISABLED = "EPT disabled"
    VMENTER_L1D_FLUSH_NOT_REQUIRED = "not required"


class Bugs(Statics):
    """The variables of arch/x86/kernel/cpu/bugs.c; AUTO means that KVM is not loaded."""

    __slots__ = ("l1tf_mitigation", "l1tf_vmx_mitigation")

    def __init__(self) -> None:
        self.l1tf_mitigation = l1tf_mitigations.L1TF_MITIGATION_FLUSH
        self.l1tf_vmx_mitigation = vmx_l1d_flush_state.VMENTER_L1D_FLUSH_AUTO
