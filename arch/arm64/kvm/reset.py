# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors arch/arm64/kvm/reset.c: how large a guest's memory and its vectors may be."""

from __future__ import annotations

from arch.arm64.kernel.cpufeature import (
    ID_AA64MMFR0_EL1_PARANGE_48,
    ID_AA64MMFR0_EL1_TGRAN_2_SUPPORTED_NONE,
    cpuid_feature_extract_unsigned_field,
    id_aa64mmfr0_parange_to_phys_shift,
    system_supports_sve,
)
from kvm_ref.errno import EINVAL, EIO, KernelError
from kvm_ref.kernel import Kernel, Statics
from kvm_ref.linux.printk import pr_err, pr_info
from kvm_ref.vocabulary import kernel_function

# In bytes: the longest vector that user space can be told of.
VL_ARCH_MAX = 256


class Reset(Statics):
    """The static variables of arch/arm64/kvm/reset.c."""

    __slots__ = ("kvm_ipa_limit", "kvm_sve_max_vl")
    module = "kvm"

    def __init__(self) -> None:
        self.kvm_ipa_limit = 0
        self.kvm_sve_max_vl = 0


# It returns 0 whatever happens, but to a caller that is ready for an error: one can be put in.
@kernel_function(fails=EIO)
def kvm_arm_init_sve(k: Kernel) -> None:
    """Note how long a guest's vectors may be."""
    if system_supports_sve(k):
        k[Reset].kvm_sve_max_vl = VL_ARCH_MAX


@kernel_function(fails=EINVAL)
def kvm_set_ipa_limit(k: Kernel) -> None:
    """Note how many address bits a guest may have; -EINVAL if stage 2 cannot do the kernel's pages."""
    parange = cpuid_feature_extract_unsigned_field(k, "ID_AA64MMFR0_EL1_PARANGE")
    # No more without LPA2, for pages of 4 KiB.
    parange = min(parange, ID_AA64MMFR0_EL1_PARANGE_48)

    tgran_2 = cpuid_feature_extract_unsigned_field(k, "ID_AA64MMFR0_EL1_TGRAN_2")
    if tgran_2 == ID_AA64MMFR0_EL1_TGRAN_2_SUPPORTED_NONE:
        pr_err(k, "kvm: PAGE_SIZE not supported at Stage-2, giving up")
        raise KernelError(EINVAL)

    k[Reset].kvm_ipa_limit = id_aa64mmfr0_parange_to_phys_shift(parange)
    pr_info(k, f"kvm: IPA Size Limit: {k[Reset].kvm_ipa_limit} bits")
