# SPDX-License-Identifier: GPL-2.0-only
"""The backend loongarch: CPUs with the virtualization extension LVZ."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from arch.loongarch.kernel.csr import (
    CSR_GCFG_GCIP_SECURE,
    CSR_GCFG_MATP_ROOT,
    CSR_GSTAT_GIDBIT_SHIFT,
    CSR_GTLBC_USETGID,
    LOONGARCH_CSR_GCFG,
    LOONGARCH_CSR_GSTAT,
    LOONGARCH_CSR_GTLBC,
)
from arch.loongarch.kernel.machine_kexec import machine_shutdown
from arch.loongarch.kernel.smp import __cpu_disable as cpu_disable
from arch.loongarch.kernel.smp import io_master
from arch.loongarch.kvm import main, mmu, vm
from kvm_ref.backend import Backend
from kvm_ref.kernel import Kernel
from kvm_ref.linux.module import Module
from kvm_ref.virt import kvm_main

# How many bits of a VM's number the TLB holds.
GID_BITS = 8


class LoongArch(Backend):
    """LoongArch: kvm.ko."""

    name = "loongarch"
    summary = "LoongArch with LVZ (kvm.ko)"
    packages = ("arch.loongarch",)
    reset: ClassVar[Mapping[str, int]] = {
        LOONGARCH_CSR_GCFG: CSR_GCFG_GCIP_SECURE | CSR_GCFG_MATP_ROOT,
        LOONGARCH_CSR_GSTAT: GID_BITS << CSR_GSTAT_GIDBIT_SHIFT,
    }
    config = frozenset({"KVM_GENERIC_HARDWARE_ENABLING", "KVM_GENERIC_MMU_NOTIFIER", "KVM_MMIO"})
    modules = (Module("kvm", main.kvm_loongarch_init, main.kvm_loongarch_exit, params=kvm_main.PARAMS),)

    kvm_arch_enable_virtualization_cpu = staticmethod(main.kvm_arch_enable_virtualization_cpu)
    kvm_arch_disable_virtualization_cpu = staticmethod(main.kvm_arch_disable_virtualization_cpu)

    kvm_arch_init_vm = staticmethod(vm.kvm_arch_init_vm)
    kvm_arch_flush_shadow_all = staticmethod(mmu.kvm_arch_flush_shadow_all)
    kvm_arch_destroy_vm = staticmethod(vm.kvm_arch_destroy_vm)

    cpu_disable = staticmethod(cpu_disable)
    machine_shutdown = staticmethod(machine_shutdown)

    def arch_cpu_is_hotpluggable(self, k: Kernel, cpu: int) -> bool:
        """Say whether a CPU can be taken down: any that does not serve devices (arch/loongarch/kernel/topology.c)."""
        return not io_master(cpu)

    def after(self, k: Kernel) -> dict[str, Any]:
        """Return which CPUs tell guests apart in the TLB."""
        usetgid = (c for c in k.possible if k.registers.get((c, LOONGARCH_CSR_GTLBC), 0) & CSR_GTLBC_USETGID)
        return {"usetgid_cpus": list(usetgid)}
