# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors arch/x86/events/amd/core.c: the performance counters follow whether SVM is on.

A counter tells host from guest only while SVM is on; while it is off, perf masks that bit out of all.
"""

from __future__ import annotations

from kvm_ref.kernel import Kernel, Statics
from kvm_ref.linux.percpu import PerCpu
from kvm_ref.vocabulary import kernel_function

AMD64_EVENTSEL_HOSTONLY = 1 << 41


class AmdPmu(Statics):
    """The static variables of arch/x86/events/amd/core.c."""

    __slots__ = ("perf_ctr_virt_mask",)

    def __init__(self) -> None:
        # per_cpu(cpu_hw_events, cpu).perf_ctr_virt_mask
        self.perf_ctr_virt_mask = PerCpu(AMD64_EVENTSEL_HOSTONLY)


@kernel_function()
def amd_pmu_enable_virt(k: Kernel) -> None:
    """Let the counters of this CPU tell host from guest."""
    k[AmdPmu].perf_ctr_virt_mask[k.cpu] = 0


@kernel_function()
def amd_pmu_disable_virt(k: Kernel) -> None:
    """Undo amd_pmu_enable_virt()."""
    k[AmdPmu].perf_ctr_virt_mask[k.cpu] = AMD64_EVENTSEL_HOSTONLY
