# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors arch/mips/include/asm/cpu-features.h and cpu-info.h: what a MIPS CPU has.

A test is a call of its own in the trace only where an error exit depends on it, so that a fault
plan can make the CPU fail it.
"""

from __future__ import annotations

from arch.mips.kernel.mipsregs import C0_WIRED
from kvm_ref.kernel import Kernel, Statics
from kvm_ref.vocabulary import kernel_function

# The model's CPU: a P5600, or with the feature octeon3 a CPU whose TLB can be split.
VTLB_ENTRIES = 64
FTLB_ENTRIES = 512


class cpuinfo_mips:
    """What the kernel knows of one CPU's TLB: entries in all, variable ones, and the guest's."""

    __slots__ = ("guest_tlbsize", "tlbsize", "tlbsizevtlb")

    def __init__(self) -> None:
        self.tlbsize = VTLB_ENTRIES + FTLB_ENTRIES
        self.tlbsizevtlb = VTLB_ENTRIES
        self.guest_tlbsize = VTLB_ENTRIES + FTLB_ENTRIES


class CpuData(Statics):
    """The array cpu_data of arch/mips/kernel/setup.c."""

    __slots__ = ("cpu_data",)

    def __init__(self) -> None:
        self.cpu_data: dict[int, cpuinfo_mips] = {}


def current_cpu_data(k: Kernel) -> cpuinfo_mips:
    """Return what is known of the CPU that runs."""
    return k[CpuData].cpu_data.setdefault(k.cpu, cpuinfo_mips())


@kernel_function(fails=True)
def cpu_has_mmid(k: Kernel) -> bool:
    """Say whether the CPU tags its TLB with memory map IDs, which KVM cannot handle."""
    return False


@kernel_function(fails=False)
def cpu_has_vz(k: Kernel) -> bool:
    """Say whether the CPU has the virtualization extension VZ."""
    return True


@kernel_function(fails=True, inlined_into=("kvm_vz_enable_virtualization_cpu",))
def num_wired_entries(k: Kernel) -> int:
    """Return how many TLB entries of this CPU are wired; a fault wires one (asm/tlb.h)."""
    return k.read(C0_WIRED)
