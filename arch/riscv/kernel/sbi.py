# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors arch/riscv/kernel/sbi.c: what the firmware in M-mode offers."""

from __future__ import annotations

from kvm_ref.kernel import Kernel
from kvm_ref.vocabulary import kernel_function

SBI_EXT_RFENCE = "RFENCE"


@kernel_function(fails=True, inlined_into=("riscv_kvm_init",))
def sbi_spec_is_0_1(k: Kernel) -> bool:
    """Say whether the firmware is of the first version, without extensions (asm/sbi.h)."""
    return False


@kernel_function(fails=False, args=("extid",))
def sbi_probe_extension(k: Kernel, extid: str) -> int:
    """Return what the firmware says of an extension; 0 means that it has none."""
    return 1
