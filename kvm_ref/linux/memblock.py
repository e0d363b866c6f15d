# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors include/linux/memblock.h: memory that is set aside before the page allocator is up."""

from __future__ import annotations

from kvm_ref.kernel import Kernel
from kvm_ref.vocabulary import kernel_function

# Where the model puts what it reserves: callers only ask whether it is 0.
RESERVED = 0x8000_0000


@kernel_function(fails=False, args=("size", "align"), symbol="memblock_phys_alloc_range")
def memblock_phys_alloc(k: Kernel, size: int, align: int) -> int:
    """Set memory aside for good, and return its physical address; 0 if there is none."""
    return RESERVED
