# SPDX-License-Identifier: GPL-2.0-only
"""The backend arm64, with KVM built into the kernel."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from arch.arm64.kernel.process import machine_shutdown
from arch.arm64.kernel.smp import __cpu_disable as cpu_disable
from arch.arm64.kernel.smp import boot_secondary, cpus_are_stuck_in_kernel
from arch.arm64.kernel.sysreg import (
    HCR_EL2,
    HCR_HOST_NVHE_FLAGS,
    HYP_STUB_VECTORS,
    INIT_SCTLR_EL2_MMU_OFF,
    SCTLR_EL2,
    VBAR_EL2,
)
from arch.arm64.kvm import cpu, nested, vm
from arch.arm64.kvm.arm_data import Arm, early_kvm_mode_cfg
from arch.arm64.kvm.boot import boot
from kvm_ref.backend import Backend
from kvm_ref.kernel import Kernel
from kvm_ref.linux.module import Module, Param
from kvm_ref.virt import kvm_main

KVM_ARM_MODE = Param(
    "kvm_mode",
    Arm,
    set=early_kvm_mode_cfg,
    expects="nvhe, protected or none; or vhe, for a CPU whose kernel runs in EL2",
    perm=0,
    early="kvm-arm.mode",
)


class Arm64(Backend):
    """64-bit Arm: nVHE, VHE and protected KVM.

    Features that are off by default: scalable vectors (sve), an offset of the physical counter
    (ecv_cntpoff), a GICv2 instead of a GICv3 (gicv2), Apple's controller (apple_aic), and a kernel
    whose identity map lies where EL2 sees its memory (idmap_conflict). The others are what firmware
    describes or a CPU has on an ordinary machine: timer and interrupts (arch_timer, vtimer_irq,
    ptimer_irq, maint_irq), the regions of the controller (gich, gicv, gicv_aligned, gicv_mmio),
    the interface that starts CPUs (psci), and speculation that gives addresses away (spectre_v3a).
    """

    name = "arm64"
    summary = "64-bit Arm: nVHE, VHE or protected (built in)"
    packages = ("arch.arm64",)
    config = frozenset({
        "CPUMASK_OFFSTACK", "HAVE_KVM_IRQCHIP", "HAVE_KVM_IRQ_ROUTING", "KVM_GENERIC_HARDWARE_ENABLING",
        "KVM_GENERIC_MMU_NOTIFIER", "KVM_MMIO", "KVM_VFIO",
    })  # fmt: skip
    features: ClassVar[Mapping[str, bool]] = {
        "apple_aic": False,
        "arch_timer": True,
        "ecv_cntpoff": False,
        "gich": True,
        "gicv": True,
        "gicv2": False,
        "gicv_aligned": True,
        "gicv_mmio": True,
        "idmap_conflict": False,
        "maint_irq": True,
        "psci": True,
        "ptimer_irq": True,
        "spectre_v3a": True,
        "sve": False,
        "vtimer_irq": True,
    }
    reset: ClassVar[Mapping[str, int]] = {
        VBAR_EL2: HYP_STUB_VECTORS,
        SCTLR_EL2: INIT_SCTLR_EL2_MMU_OFF,
        HCR_EL2: HCR_HOST_NVHE_FLAGS,
    }
    irqchip_pins = 1020 - 32
    boot_secondary = staticmethod(boot_secondary)
    cpu_disable = staticmethod(cpu_disable)
    machine_shutdown = staticmethod(machine_shutdown)
    modules = (Module("kvm", boot, None, params=(*kvm_main.PARAMS, KVM_ARM_MODE), builtin=True),)

    kvm_arch_enable_virtualization_cpu = staticmethod(cpu.kvm_arch_enable_virtualization_cpu)
    kvm_arch_disable_virtualization_cpu = staticmethod(cpu.kvm_arch_disable_virtualization_cpu)

    kvm_arch_alloc_vm = staticmethod(vm.kvm_arch_alloc_vm)
    kvm_arch_init_vm = staticmethod(vm.kvm_arch_init_vm)
    kvm_arch_create_vm_debugfs = staticmethod(vm.kvm_arch_create_vm_debugfs)
    # The common code's notifier for the process's memory is to call it.
    kvm_arch_flush_shadow_all = staticmethod(nested.kvm_arch_flush_shadow_all)
    kvm_arch_destroy_vm = staticmethod(vm.kvm_arch_destroy_vm)

    def arch_cpu_is_hotpluggable(self, k: Kernel, cpu: int) -> bool:
        """Say whether a CPU can be taken down: any, where firmware does it (arch/arm64/kernel/setup.c)."""
        return k.features["psci"]

    def machine_kexec_prepare(self, k: Kernel) -> bool:
        """Say whether another kernel can be loaded (arch/arm64/kernel/machine_kexec.c)."""
        return not cpus_are_stuck_in_kernel(k)

    def suspend_to_ram(self, k: Kernel) -> bool:
        """Say whether the machine can sleep deeply: where firmware can put it to sleep (drivers/firmware/psci/psci.c)."""
        return k.features["psci"]

    def after(self, k: Kernel) -> dict[str, Any]:
        """Return the CPUs whose EL2 is KVM's."""
        stub = self.reset[VBAR_EL2]
        return {"el2_cpus": [c for c in sorted(k.online) if k.registers.get((c, VBAR_EL2), stub) != stub]}
