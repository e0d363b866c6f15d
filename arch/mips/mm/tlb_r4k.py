# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors arch/mips/mm/tlb-r4k.c: flushing the host's TLB."""

from __future__ import annotations

from kvm_ref.kernel import Kernel
from kvm_ref.vocabulary import kernel_function


@kernel_function()
def local_flush_tlb_all(k: Kernel) -> None:
    """Flush this CPU's TLB, all but the wired entries."""
