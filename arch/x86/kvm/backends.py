# SPDX-License-Identifier: GPL-2.0-only
"""The backends x86-svm and x86-vmx."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from arch.x86.kernel import machine, smpboot
from arch.x86.kernel.msr import CR4, EFER_SVME, MSR_EFER, MSR_IA32_CR_PAT, MSR_IA32_FEAT_CTL, X86_CR4_VMXE
from arch.x86.kernel.smpboot import __cpu_disable as cpu_disable
from arch.x86.kvm import mmu_vm, nested, svm, vm, vmx, vmx_data, vmx_setup, x86
from arch.x86.kvm.svm_data import Svm
from kvm_ref.backend import Backend
from kvm_ref.errno import EBUSY, KernelError
from kvm_ref.kernel import Kernel
from kvm_ref.linux.module import Module, Param, module_param_named, param_set_int
from kvm_ref.virt import kvm_main

KVM = Module(
    "kvm", x86.kvm_x86_init, x86.kvm_x86_exit, params=(*kvm_main.PARAMS, Param("enable_pmu", x86.X86))
)
PAT_AT_BOOT = 0x0007040600070406
CR4_AT_BOOT = 0x3706E0
# Revision 4, 1024 bytes, write-back.
VMX_BASIC = 0x00DA040000000004
EPT_CAP = 0x06334141
VPID_CAP = 0x0F01
# Locked by firmware, VMX on.
FEAT_CTL_AT_BOOT = 0x5
# SYSCALL, long mode on and in use, NX.
EFER_AT_BOOT = 0xD01


class _X86(Backend):
    # "preempt_rt" is the kernel's, not the CPU's; "hyperv" is where the machine runs,
    # "hv_reenlightenment" that it is told when it was moved from there.
    packages = ("arch.x86",)
    features: ClassVar[Mapping[str, bool]] = {
        "constant_tsc": False,
        "hv_reenlightenment": True,
        "hyperv": False,
        "preempt_rt": False,
    }
    config = frozenset(
        {
            "CPUMASK_OFFSTACK",
            "HAVE_KVM_IRQCHIP",
            "HAVE_KVM_IRQ_ROUTING",
            "HAVE_KVM_PM_NOTIFIER",
            "HOTPLUG_SPLIT_STARTUP",
            "HYPERV",
            "KVM_ASYNC_PF",
            "KVM_EXTERNAL_WRITE_TRACKING",
            "KVM_GENERIC_HARDWARE_ENABLING",
            "KVM_GENERIC_MMU_NOTIFIER",
            "KVM_MMIO",
            "KVM_PRIVATE_MEM",
            "KVM_VFIO",
        }
    )
    kvm_arch_enable_virtualization_cpu = staticmethod(x86.kvm_arch_enable_virtualization_cpu)
    kvm_arch_disable_virtualization_cpu = staticmethod(x86.kvm_arch_disable_virtualization_cpu)
    kvm_arch_enable_virtualization = staticmethod(x86.kvm_arch_enable_virtualization)
    kvm_arch_disable_virtualization = staticmethod(x86.kvm_arch_disable_virtualization)
    kvm_arch_init_vm = staticmethod(vm.kvm_arch_init_vm)
    kvm_arch_destroy_vm = staticmethod(vm.kvm_arch_destroy_vm)
    kvm_arch_alloc_vm = staticmethod(vm.kvm_arch_alloc_vm)
    kvm_arch_free_vm = staticmethod(vm.kvm_arch_free_vm)
    kvm_arch_post_init_vm = staticmethod(vm.kvm_arch_post_init_vm)
    kvm_arch_pre_destroy_vm = staticmethod(vm.kvm_arch_pre_destroy_vm)
    kvm_arch_create_vm_debugfs = staticmethod(vm.kvm_arch_create_vm_debugfs)
    kvm_arch_flush_shadow_all = staticmethod(mmu_vm.kvm_arch_flush_shadow_all)
    kvm_arch_pm_notifier = staticmethod(vm.kvm_arch_pm_notifier)
    kvm_arch_sync_events = staticmethod(vm.kvm_arch_sync_events)
    boot_secondary = staticmethod(smpboot.native_kick_ap)
    cpu_disable = staticmethod(cpu_disable)
    arch_cpuhp_cleanup_dead_cpu = staticmethod(smpboot.arch_cpuhp_cleanup_dead_cpu)
    machine_restart = staticmethod(machine.native_machine_restart)
    machine_halt = staticmethod(machine.native_machine_halt)
    machine_power_off = staticmethod(machine.native_machine_power_off)
    machine_shutdown = staticmethod(machine.native_machine_shutdown)
    # One for system management mode; VMs whose memory is private have none, but they are not in this model.
    kvm_arch_nr_memslot_as_ids = 2
    irqchip_pins = 3 * 24

    def arch_cpu_is_hotpluggable(self, k: Kernel, cpu: int) -> bool:
        """Say whether a CPU can be taken down: any but the one that booted (arch/x86/kernel/setup.c)."""
        return cpu > 0


class X86Svm(_X86):
    """AMD SVM: kvm.ko and kvm-amd.ko."""

    name = "x86-svm"
    summary = "x86 with AMD SVM (kvm.ko, kvm-amd.ko)"
    reset: ClassVar[Mapping[str, int]] = {
        MSR_EFER: EFER_AT_BOOT,
        MSR_IA32_CR_PAT: PAT_AT_BOOT,
        svm.MSR_AMD64_TSC_RATIO: svm.SVM_TSC_RATIO_DEFAULT,
    }
    features: ClassVar[Mapping[str, bool]] = {
        **_X86.features,
        "avic": True,
        "host_sev_snp": False,
        "lbrv": True,
        "npt": True,
        "osvw": True,
        "sev": True,
        "sev_es": True,
        "srso_bp_spec_reduce": False,
        "tlb_mmatch_bug": False,
        "tscratemsr": True,
    }
    modules = (
        KVM,
        Module(
            "kvm_amd",
            svm.svm_init,
            svm.svm_exit,
            depends=("kvm",),
            params=(
                Param("nested", Svm),
                Param("avic", Svm),
                module_param_named("npt", Svm, value="npt_enabled"),
                *(
                    Param(name, Svm, set=param_set_int, expects="an int; 0 is no")
                    for name in ("lbrv", "tsc_scaling")
                ),
                module_param_named("sev", Svm, value="sev_enabled"),
                module_param_named("sev_es", Svm, value="sev_es_enabled"),
                module_param_named("sev_snp", Svm, value="sev_snp_enabled"),
            ),
        ),
    )

    def foreign_on(self, k: Kernel) -> None:
        """Set EFER.SVME, unless somebody has."""
        if k.read(MSR_EFER) & EFER_SVME:
            raise KernelError(EBUSY)
        k.write(MSR_EFER, k.read(MSR_EFER) | EFER_SVME)

    def foreign_off(self, k: Kernel) -> None:
        """Clear EFER.SVME."""
        k.write(MSR_EFER, k.read(MSR_EFER) & ~EFER_SVME)

    def after(self, k: Kernel) -> dict[str, Any]:
        """Tell on which CPUs EFER.SVME is set."""
        return {"svme_cpus": [c for c in k.online if k.registers.get((c, MSR_EFER), 0) & EFER_SVME]}


class X86Vmx(_X86):
    """Intel VMX: kvm.ko and kvm-intel.ko."""

    name = "x86-vmx"
    summary = "x86 with Intel VMX (kvm.ko, kvm-intel.ko)"
    reset: ClassVar[Mapping[str, int]] = {
        MSR_IA32_CR_PAT: PAT_AT_BOOT,
        CR4: CR4_AT_BOOT,
        MSR_EFER: EFER_AT_BOOT,
        MSR_IA32_FEAT_CTL: FEAT_CTL_AT_BOOT,
        vmx_setup.MSR_IA32_VMX_BASIC: VMX_BASIC,
    }
    features: ClassVar[Mapping[str, bool]] = {
        **_X86.features,
        "ept": True,
        "ept_cap_alone": False,
        "flush_l1d": False,
        "intel_pt": True,
        "l1tf_bug": False,
        "shadow_vmcs": True,
        "skip_vmentry_l1dflush": False,
        "smt": False,
        "vmentry_alone": False,
        "vpid_cap_alone": False,
    }
    modules = (
        KVM,
        Module(
            "kvm_intel",
            vmx.vmx_init,
            vmx.vmx_exit,
            depends=("kvm",),
            params=vmx_data.PARAMS + nested.PARAMS,
        ),
    )

    def at_reset(self, features: Mapping[str, bool]) -> Mapping[str, int]:
        """Return what registers hold, with those of VMX that say which controls may be 1."""
        entries, exits = (sum(ctrl) for ctrl in zip(*vmx_data.VMCS_ENTRY_EXIT_PAIRS, strict=True))
        secondary = cap = 0
        if features["ept"] or features["ept_cap_alone"]:
            cap |= EPT_CAP
            secondary |= vmx_data.SECONDARY_EXEC_ENABLE_EPT * (not features["ept_cap_alone"])
        cap |= VPID_CAP << 32
        secondary |= vmx_data.SECONDARY_EXEC_ENABLE_VPID * (not features["vpid_cap_alone"])
        return {
            **self.reset,
            vmx_setup.MSR_IA32_VMX_PROCBASED_CTLS2: secondary << 32,
            vmx_setup.MSR_IA32_VMX_EPT_VPID_CAP: cap,
            vmx_setup.MSR_IA32_VMX_EXIT_CTLS: exits * (not features["vmentry_alone"]) << 32,
            vmx_setup.MSR_IA32_VMX_ENTRY_CTLS: entries << 32,
        }

    def foreign_on(self, k: Kernel) -> None:
        """Set CR4.VMXE, unless somebody has."""
        if k.read(CR4) & X86_CR4_VMXE:
            raise KernelError(EBUSY)
        k.write(CR4, k.read(CR4) | X86_CR4_VMXE)

    def foreign_off(self, k: Kernel) -> None:
        """Clear CR4.VMXE."""
        k.write(CR4, k.read(CR4) & ~X86_CR4_VMXE)

    def after(self, k: Kernel) -> dict[str, Any]:
        """Tell on which CPUs CR4.VMXE is set."""
        return {"vmxe_cpus": [c for c in k.online if k.registers.get((c, CR4), 0) & X86_CR4_VMXE]}
