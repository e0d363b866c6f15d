# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors arch/mips/kvm/tlb.c: flushing what guests left in a TLB; built in, not part of kvm.ko."""

from __future__ import annotations

from kvm_ref.kernel import Kernel
from kvm_ref.vocabulary import kernel_function


@kernel_function()
def kvm_vz_local_flush_roottlb_all_guests(k: Kernel) -> None:
    """Flush the entries of this CPU's root TLB that map guests."""


@kernel_function()
def kvm_vz_local_flush_guesttlb_all(k: Kernel) -> None:
    """Flush this CPU's guest TLB, whoever's its entries are."""
