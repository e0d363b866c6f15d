# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors arch/arm64/include/asm/virt.h: at which level the kernel runs, and who owns EL2."""

from __future__ import annotations

from arch.arm64.kvm.arm_data import KVM_MODE_PROTECTED, KVM_MODE_VHE, Arm
from kvm_ref.kernel import Kernel
from kvm_ref.vocabulary import kernel_function


@kernel_function(fails=False)
def is_hyp_mode_available(k: Kernel) -> bool:
    """Say whether the boot loader started every CPU in EL2."""
    return True


def is_kernel_in_hyp_mode(k: Kernel) -> bool:
    """Say whether the kernel itself runs in EL2, as it does with VHE."""
    return k[Arm].kvm_mode == KVM_MODE_VHE


def has_vhe(k: Kernel) -> bool:
    """Say whether VHE is in use: the same, once the CPU's features are settled."""
    return is_kernel_in_hyp_mode(k)


def is_protected_kvm_enabled(k: Kernel) -> bool:
    """Say whether EL2 is to keep the host away from guests' memory."""
    return k[Arm].kvm_mode == KVM_MODE_PROTECTED
