# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors arch/riscv/kernel/cpufeature.c: which extensions of the instruction set every hart has."""

from __future__ import annotations

from kvm_ref.kernel import Kernel
from kvm_ref.vocabulary import kernel_function

h = "h"
# The advanced interrupt architecture of a kernel in S-mode (arch/riscv/include/asm/hwcap.h).
SxAIA = "ssaia"
# Counters that raise an interrupt when they overflow.
RISCV_ISA_EXT_SSCOFPMF = "sscofpmf"


@kernel_function(fails=False, args=("bit",))
def __riscv_isa_extension_available(k: Kernel, bit: str) -> bool:
    """Say whether the harts have an extension; the answer is one for all of them."""
    return k.features.get(bit, True)


@kernel_function(fails=False, args=("ext",), symbol="__riscv_isa_extension_available")
def riscv_isa_extension_available(k: Kernel, ext: str) -> bool:
    """Say whether the harts have an extension (arch/riscv/include/asm/cpufeature.h)."""
    return k.features.get(ext, True)
