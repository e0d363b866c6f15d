# SPDX-License-Identifier: GPL-2.0-only
"""The backend mips."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from arch.mips.kernel.mipsregs import (
    C0_CVMVMCONFIG,
    C0_GUESTCTL0,
    CVMVMCONF_MMUSIZEM1,
    CVMVMCONF_RMMUSIZEM1,
    GC0_CONFIG1,
    GC0_CONFIG4,
    MIPS_CONF1_TLBS,
    MIPS_CONF4_MMUEXTDEF_VTLBSIZEEXT,
)
from arch.mips.kernel.smp_cps import __cpu_disable as cpu_disable
from arch.mips.kvm import mips, vm
from kvm_ref.backend import Backend
from kvm_ref.kernel import Kernel
from kvm_ref.linux.module import Module
from kvm_ref.virt import kvm_main


class Mips(Backend):
    """MIPS with the virtualization extension VZ: kvm.ko."""

    name = "mips"
    summary = "MIPS with VZ (kvm.ko)"
    packages = ("arch.mips",)
    config = frozenset({"KVM_GENERIC_HARDWARE_ENABLING", "KVM_GENERIC_MMU_NOTIFIER", "KVM_MMIO"})
    features: ClassVar[Mapping[str, bool]] = {"guestid": True, "octeon3": False, "pgd_reg": True}
    # The guest TLB is as large as the host's, and Octeon's belongs to the host.
    reset: ClassVar[Mapping[str, int]] = {
        GC0_CONFIG1: MIPS_CONF1_TLBS,
        GC0_CONFIG4: MIPS_CONF4_MMUEXTDEF_VTLBSIZEEXT,
        C0_CVMVMCONFIG: CVMVMCONF_MMUSIZEM1 | CVMVMCONF_RMMUSIZEM1,
    }
    modules = (Module("kvm", mips.kvm_mips_init, mips.kvm_mips_exit, params=kvm_main.PARAMS),)

    kvm_arch_enable_virtualization_cpu = staticmethod(mips.kvm_arch_enable_virtualization_cpu)
    kvm_arch_disable_virtualization_cpu = staticmethod(mips.kvm_arch_disable_virtualization_cpu)

    kvm_arch_init_vm = staticmethod(vm.kvm_arch_init_vm)
    kvm_arch_flush_shadow_all = staticmethod(vm.kvm_arch_flush_shadow_all)
    kvm_arch_destroy_vm = staticmethod(vm.kvm_arch_destroy_vm)

    cpu_disable = staticmethod(cpu_disable)

    def arch_cpu_is_hotpluggable(self, k: Kernel, cpu: int) -> bool:
        """Say whether a CPU can be taken down: any but the one that booted (arch/mips/kernel/topology.c)."""
        return cpu > 0

    def after(self, k: Kernel) -> dict[str, Any]:
        """Return the CPUs whose GuestCtl0 holds what KVM wrote."""
        return {"guestctl0_cpus": [c for c in k.online if k.registers.get((c, C0_GUESTCTL0), 0)]}
