# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors arch/riscv/kvm/mmu.c: the format of the page tables that translate guest addresses."""

from __future__ import annotations

from arch.riscv.kernel.csr import (
    CSR_HGATP,
    HGATP_MODE_SHIFT,
    HGATP_MODE_SV39X4,
    HGATP_MODE_SV48X4,
    HGATP_MODE_SV57X4,
    csr_read,
    csr_write,
)
from arch.riscv.kvm.tlb import kvm_riscv_local_hfence_gvma_all
from kvm_ref.kernel import Kernel, Statics
from kvm_ref.vocabulary import kernel_function


class Mmu(Statics):
    """The static variables of arch/riscv/kvm/mmu.c."""

    __slots__ = ("gstage_mode", "gstage_pgd_levels")
    module = "kvm"

    def __init__(self) -> None:
        self.gstage_mode = HGATP_MODE_SV39X4 << HGATP_MODE_SHIFT
        self.gstage_pgd_levels = 3


def _takes(k: Kernel, mode: int) -> bool:
    csr_write(k, CSR_HGATP, mode << HGATP_MODE_SHIFT)
    return csr_read(k, CSR_HGATP) >> HGATP_MODE_SHIFT == mode


@kernel_function()
def kvm_riscv_gstage_mode_detect(k: Kernel) -> None:
    """Find the widest format that the hart takes; Sv39x4, the narrowest, is taken for granted."""
    g = k[Mmu]
    # The C jumps over the second test with a goto that has nothing to undo.
    if _takes(k, HGATP_MODE_SV57X4):
        g.gstage_mode = HGATP_MODE_SV57X4 << HGATP_MODE_SHIFT
        g.gstage_pgd_levels = 5
    elif _takes(k, HGATP_MODE_SV48X4):
        g.gstage_mode = HGATP_MODE_SV48X4 << HGATP_MODE_SHIFT
        g.gstage_pgd_levels = 4

    csr_write(k, CSR_HGATP, 0)
    kvm_riscv_local_hfence_gvma_all(k)


@kernel_function(fails=False)
def kvm_riscv_gstage_mode(k: Kernel) -> int:
    """Return the format.

    A format that is unknown is an error for riscv_kvm_init(). No hart brings that about in 6.12,
    only a fault does, which makes this return 0, HGATP_MODE_OFF.
    """
    return k[Mmu].gstage_mode >> HGATP_MODE_SHIFT
