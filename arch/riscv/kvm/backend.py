# SPDX-License-Identifier: GPL-2.0-only
"""The backend riscv: 64-bit harts with the hypervisor extension."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from arch.riscv.kernel.cpu_hotplug import __cpu_disable as cpu_disable
from arch.riscv.kernel.csr import CSR_HIDELEG
from arch.riscv.kernel.machine_kexec import machine_shutdown
from arch.riscv.kvm import main, vm
from kvm_ref.backend import Backend
from kvm_ref.kernel import Kernel
from kvm_ref.linux.module import Module
from kvm_ref.virt import kvm_main


class RiscV(Backend):
    """RISC-V: kvm.ko."""

    name = "riscv"
    summary = "RISC-V with the H extension (kvm.ko)"
    packages = ("arch.riscv",)
    config = frozenset(
        {
            "HAVE_KVM_IRQCHIP",
            "HAVE_KVM_IRQ_ROUTING",
            "KVM_GENERIC_HARDWARE_ENABLING",
            "KVM_GENERIC_MMU_NOTIFIER",
            "KVM_MMIO",
        }
    )
    features: ClassVar[Mapping[str, bool]] = {
        "imsic": True,
        "ssaia": True,
        "sscofpmf": True,
        "sv48x4": True,
        "sv57x4": True,
    }
    modules = (Module("kvm", main.riscv_kvm_init, main.riscv_kvm_exit, params=kvm_main.PARAMS),)

    kvm_arch_enable_virtualization_cpu = staticmethod(main.kvm_arch_enable_virtualization_cpu)
    kvm_arch_disable_virtualization_cpu = staticmethod(main.kvm_arch_disable_virtualization_cpu)

    kvm_arch_init_vm = staticmethod(vm.kvm_arch_init_vm)
    kvm_arch_flush_shadow_all = staticmethod(vm.kvm_arch_flush_shadow_all)
    kvm_arch_destroy_vm = staticmethod(vm.kvm_arch_destroy_vm)

    irqchip_pins = 1024
    cpu_disable = staticmethod(cpu_disable)
    machine_shutdown = staticmethod(machine_shutdown)

    def after(self, k: Kernel) -> dict[str, Any]:
        """Return which CPUs hand interrupts to guests."""
        return {"hideleg_cpus": [c for c in k.online if k.registers.get((c, CSR_HIDELEG), 0)]}
