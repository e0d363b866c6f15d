# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors arch/x86/kvm/svm/svm_ops.h: instructions of SVM, each of which may fault."""

from __future__ import annotations

from arch.x86.kvm.x86 import kvm_spurious_fault
from kvm_ref.kernel import Kernel
from kvm_ref.vocabulary import kernel_function


@kernel_function(fails=False, args=("insn",))
def svm_asm(k: Kernel, insn: str) -> bool:
    """An instruction without operands; False if it faults."""
    return True


@kernel_function()
def stgi(k: Kernel) -> None:
    """The instruction STGI: interrupts, INIT and NMI reach the CPU that runs again."""
    if not svm_asm(k, "stgi"):
        kvm_spurious_fault(k)
