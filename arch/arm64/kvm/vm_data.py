# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors arch/arm64/include/asm/kvm_host.h: what the architecture keeps for a VM."""

from __future__ import annotations

from arch.arm64.kvm.hyp.pgtable_stage2 import stage2_pgtable
from kvm_ref.linux.bitmap import bitmap
from kvm_ref.linux.cpumask import cpumask_var_t
from kvm_ref.linux.mutex import Mutex
from kvm_ref.linux.percpu import PerCpu, percpu_memory
from kvm_ref.linux.slab import kmemory
from kvm_ref.linux.xarray import xarray


class kvm_s2_mmu:
    """A stage 2: the page table that guests of a VM run on, and who ran on it last."""

    __slots__ = ("last_vcpu_ran", "pgt", "vtcr")

    def __init__(self) -> None:
        self.vtcr = 0
        self.pgt: stage2_pgtable | None = None
        self.last_vcpu_ran: percpu_memory[int] | None = None


class vgic_dist:
    """The distributor of a VM's interrupt controller, which a VM has before it has a controller.

    Source: include/kvm/arm_vgic.h.
    """

    __slots__ = ("lpi_xa", "spis")

    def __init__(self) -> None:
        self.spis: kmemory | None = None
        self.lpi_xa: xarray | None = None


class kvm_arch:
    """What arm64 keeps for a VM.

    `supported_cpus` is one mask, under the index 0.
    """

    __slots__ = (
        "config_lock", "mmu", "nested_mmus", "pmu_filter", "supported_cpus", "sysreg_masks",
        "vgic",
    )  # fmt: skip

    def __init__(self) -> None:
        self.config_lock = Mutex("arch.config_lock")
        self.supported_cpus: PerCpu[cpumask_var_t | None] = PerCpu(None)
        self.mmu = kvm_s2_mmu()
        self.nested_mmus: kmemory | None = None
        self.vgic = vgic_dist()
        self.pmu_filter: bitmap | None = None
        self.sysreg_masks: kmemory | None = None
