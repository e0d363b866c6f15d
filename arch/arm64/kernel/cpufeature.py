# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors arch/arm64/include/asm/cpufeature.h: what all CPUs of the machine have."""

from __future__ import annotations

from kvm_ref.kernel import Kernel
from kvm_ref.vocabulary import kernel_function

# asm/sysreg.h, for pages of 4 KiB.
ID_AA64MMFR0_EL1_TGRAN_2_SUPPORTED_DEFAULT = 0
ID_AA64MMFR0_EL1_TGRAN_2_SUPPORTED_NONE = 1
ID_AA64MMFR0_EL1_PARANGE_48 = 5
ID_AA64MMFR1_EL1_VMIDBits_16 = 2

# What an ordinary machine's ID registers say.
_FIELDS = {
    "ID_AA64MMFR0_EL1_PARANGE": ID_AA64MMFR0_EL1_PARANGE_48,
    "ID_AA64MMFR0_EL1_TGRAN_2": ID_AA64MMFR0_EL1_TGRAN_2_SUPPORTED_DEFAULT,
    "ID_AA64MMFR1_EL1_VMIDBits": ID_AA64MMFR1_EL1_VMIDBits_16,
}
# Address bits, by PARANGE.
_PHYS_SHIFTS = (32, 36, 40, 42, 44, 48, 52)


@kernel_function(fails=True, args=("field",))
def cpuid_feature_extract_unsigned_field(k: Kernel, field: str) -> int:
    """Return a field of an ID register; a fault makes it 1: no such granule, 36 address bits, 8 of a VMID."""
    return _FIELDS[field]


def id_aa64mmfr0_parange_to_phys_shift(parange: int) -> int:
    """Return how many address bits a PARANGE means."""
    return _PHYS_SHIFTS[parange]


def get_vmid_bits(k: Kernel) -> int:
    """Return how many bits a VMID has: 8 unless the CPUs say 16."""
    vmid_bits = cpuid_feature_extract_unsigned_field(k, "ID_AA64MMFR1_EL1_VMIDBits")
    return 16 if vmid_bits == ID_AA64MMFR1_EL1_VMIDBits_16 else 8


def system_supports_sve(k: Kernel) -> bool:
    """Say whether there are scalable vectors."""
    return k.features["sve"]
