# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors arch/arm64/include/asm/cpufeature.h: what all CPUs of the machine have."""

from __future__ import annotations

from kvm_ref.kernel import Kernel
from kvm_ref.vocabulary import kernel_function

# asm/sysreg.h, for pages of 4 KiB.
ID_AA64MMFR0_EL1_TGRAN_2_SUPPORTED_DEFAULT = 0
ID_AA64MMFR0_EL1_TGRAN_2_SUPPORTED_NONE = 1


@kernel_function(fails=True, args=("field",))
def cpuid_feature_extract_unsigned_field(k: Kernel, field: str) -> int:
    """Return a field of an ID register; a fault makes it 1, which is "none" for a granule."""
    return ID_AA64MMFR0_EL1_TGRAN_2_SUPPORTED_DEFAULT


def system_supports_sve(k: Kernel) -> bool:
    """Say whether there are scalable vectors."""
    return k.features["sve"]
