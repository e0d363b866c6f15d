# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors arch/riscv/kvm/tlb.c: forgetting translations of guest addresses."""

from __future__ import annotations

from kvm_ref.kernel import Kernel
from kvm_ref.vocabulary import kernel_function


@kernel_function()
def kvm_riscv_local_hfence_gvma_all(k: Kernel) -> None:
    """Drop every guest's translations on the hart that runs."""
