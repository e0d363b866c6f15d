# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors arch/loongarch/kvm/tlb.c: forgetting translations of guest addresses."""

from __future__ import annotations

from kvm_ref.kernel import Kernel
from kvm_ref.vocabulary import kernel_function


@kernel_function()
def kvm_flush_tlb_all(k: Kernel) -> None:
    """Drop every guest's translations on the CPU that runs."""
