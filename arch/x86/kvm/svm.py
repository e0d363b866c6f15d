# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors arch/x86/kvm/svm/svm.c: the vendor module kvm-amd.ko, from module_init to module_exit."""

from __future__ import annotations

from arch.x86.events.amd import amd_pmu_disable_virt, amd_pmu_enable_virt
from arch.x86.kernel.msr import (
    EFER_SVME,
    MSR_EFER,
    MSR_TSC_AUX,
    X86_VENDOR_AMD,
    X86_VENDOR_HYGON,
    boot_cpu_has,
    cc_platform_has,
    cpu_data,
    cpu_has,
    native_read_msr_safe,
    native_write_msr_safe,
    rdmsrl,
    wrmsrl,
)
from arch.x86.kvm.avic import UNREGISTER_GALOG, avic_hardware_setup, avic_hardware_unsetup
from arch.x86.kvm.sev import (
    sev_cpu_init,
    sev_hardware_setup,
    sev_hardware_unsetup,
    snp_safe_alloc_page_node,
)
from arch.x86.kvm.svm_data import Svm, svm_cpu_data
from arch.x86.kvm.svm_hyperv import svm_hv_hardware_setup
from arch.x86.kvm.svm_ops import stgi
from arch.x86.kvm.svm_vm import kvm_svm, svm_vm_destroy, svm_vm_init
from arch.x86.kvm.user_return import kvm_add_user_return_msr
from arch.x86.kvm.x86 import X86, kvm_x86_ops, kvm_x86_vendor_exit, kvm_x86_vendor_init
from kvm_ref.errno import EBUSY, EIO, ENOMEM, EOPNOTSUPP, KernelError
from kvm_ref.kernel import Kernel
from kvm_ref.linux.cpumask import for_each_possible_cpu
from kvm_ref.linux.gfp import __free_page, __free_pages, alloc_pages
from kvm_ref.linux.printk import pr_err, pr_info
from kvm_ref.linux.slab import kfree
from kvm_ref.unwind import ladder, unchecked
from kvm_ref.virt.kvm_main import KvmMain, kvm_exit, kvm_init
from kvm_ref.vocabulary import kernel_function

MSR_AMD64_DC_CFG = "MSR_AMD64_DC_CFG"
MSR_AMD64_OSVW_ID_LENGTH = "MSR_AMD64_OSVW_ID_LENGTH"
MSR_AMD64_OSVW_STATUS = "MSR_AMD64_OSVW_STATUS"
MSR_VM_HSAVE_PA = "MSR_VM_HSAVE_PA"
MSR_AMD64_TSC_RATIO = "MSR_AMD64_TSC_RATIO"
SVM_TSC_RATIO_DEFAULT = 0x0100000000
# The model's pages have no addresses; a register must tell "none" from "this CPU's".
PAGE_SIZE = 0x1000


@kernel_function(fails=False)
def __kvm_is_svm_supported(k: Kernel) -> bool:
    """Say whether the CPU that runs has SVM."""
    if cpu_data(k, k.cpu) not in (X86_VENDOR_AMD, X86_VENDOR_HYGON):
        pr_err(k, f"kvm_amd: CPU {k.cpu} isn't AMD or Hygon")
        return False

    if not cpu_has(k, "X86_FEATURE_SVM"):
        pr_err(k, f"kvm_amd: SVM not supported by CPU {k.cpu}")
        return False

    if cc_platform_has(k, "CC_ATTR_GUEST_MEM_ENCRYPT"):
        pr_info(k, "kvm_amd: KVM is unsupported when running as an SEV guest")
        return False

    return True


@kernel_function(fails=False)
def kvm_is_svm_supported(k: Kernel) -> bool:
    """Say whether this machine has SVM."""
    return __kvm_is_svm_supported(k)


@kernel_function(fails=EIO)
def svm_check_processor_compat(k: Kernel) -> None:
    """Refuse a CPU without SVM."""
    if not __kvm_is_svm_supported(k):
        raise KernelError(EIO)


def __svm_write_tsc_multiplier(k: Kernel, multiplier: int) -> None:
    # A value that the register is known to hold is not written again.
    g = k[Svm]
    if multiplier == g.current_tsc_ratio[k.cpu]:
        return

    wrmsrl(k, MSR_AMD64_TSC_RATIO, multiplier)
    g.current_tsc_ratio[k.cpu] = multiplier


def kvm_cpu_svm_disable(k: Kernel) -> None:
    """Turn SVM off on this CPU, whoever turned it on."""
    wrmsrl(k, MSR_VM_HSAVE_PA, 0)
    efer = rdmsrl(k, MSR_EFER)
    if efer & EFER_SVME:
        stgi(k)
        wrmsrl(k, MSR_EFER, efer & ~EFER_SVME)


@kernel_function()
def svm_emergency_disable_virtualization_cpu(k: Kernel) -> None:
    """Turn SVM off on this CPU in a crash or reboot."""
    k[KvmMain].kvm_rebooting = True

    kvm_cpu_svm_disable(k)


@kernel_function()
def svm_disable_virtualization_cpu(k: Kernel) -> None:
    """Turn SVM off on this CPU."""
    if k[Svm].tsc_scaling:
        __svm_write_tsc_multiplier(k, SVM_TSC_RATIO_DEFAULT)

    kvm_cpu_svm_disable(k)

    amd_pmu_disable_virt(k)


def _osvw(k: Kernel) -> None:
    # Errata that one CPU has, all are taken to have.
    g = k[Svm]
    if k.features["osvw"]:
        try:
            len = native_read_msr_safe(k, MSR_AMD64_OSVW_ID_LENGTH)
            status = native_read_msr_safe(k, MSR_AMD64_OSVW_STATUS)
        except KernelError:
            g.osvw_status = g.osvw_len = 0
        else:
            g.osvw_len = min(g.osvw_len, len)
            g.osvw_status |= status
            g.osvw_status &= (1 << g.osvw_len) - 1
    else:
        g.osvw_status = g.osvw_len = 0


@kernel_function()
def svm_init_erratum_383(k: Kernel) -> None:
    """Let this CPU report that its TLB contradicts itself, if it is one with that erratum; nobody takes that back."""
    if not k.features["tlb_mmatch_bug"]:
        return

    try:
        val = native_read_msr_safe(k, MSR_AMD64_DC_CFG)
    except KernelError:
        return

    with unchecked:
        native_write_msr_safe(k, MSR_AMD64_DC_CFG, val | 1 << 47)

    k[Svm].erratum_383_found = True


@kernel_function(fails=EBUSY)
def svm_enable_virtualization_cpu(k: Kernel) -> None:
    """Turn SVM on on this CPU; -EBUSY if it is on: another hypervisor runs there."""
    efer = rdmsrl(k, MSR_EFER)
    if efer & EFER_SVME:
        raise KernelError(EBUSY)

    sd = k[Svm].svm_data[k.cpu]
    assert sd is not None

    wrmsrl(k, MSR_EFER, efer | EFER_SVME)

    wrmsrl(k, MSR_VM_HSAVE_PA, sd.save_area_pa)

    if k.features["tscratemsr"]:
        __svm_write_tsc_multiplier(k, SVM_TSC_RATIO_DEFAULT)

    _osvw(k)

    svm_init_erratum_383(k)

    amd_pmu_enable_virt(k)


@kernel_function()
def svm_cpu_uninit(k: Kernel, cpu: int) -> None:
    """Free what svm_cpu_init() allocated for a CPU, if it did."""
    sd = k[Svm].svm_data[cpu]

    if not sd or not sd.save_area:
        return

    kfree(k, sd.sev_vmcbs)
    __free_page(k, sd.save_area)
    sd.save_area_pa = 0
    sd.save_area = None


@kernel_function(fails=ENOMEM, args=("cpu",))
def svm_cpu_init(k: Kernel, cpu: int) -> None:
    """Allocate a CPU's save area, and SEV's part."""
    sd = k[Svm].svm_data[cpu] = svm_cpu_data()
    save_area_page = snp_safe_alloc_page_node(k, "save_area")
    if not save_area_page:
        raise KernelError(ENOMEM)

    with ladder(k) as goto:
        with goto("free_save_area"):
            sev_cpu_init(k, sd)

        sd.save_area = save_area_page
        sd.save_area_pa = (cpu + 1) * PAGE_SIZE
        return

    if goto.reached("free_save_area"):
        __free_page(k, save_area_page)
    raise goto.error


@kernel_function()
def svm_hardware_unsetup(k: Kernel) -> None:
    """Undo svm_hardware_setup()."""
    if k.has(UNREGISTER_GALOG) and k[Svm].avic:
        avic_hardware_unsetup(k)

    sev_hardware_unsetup(k)

    for cpu in for_each_possible_cpu(k):
        svm_cpu_uninit(k, cpu)

    __free_pages(k, k[Svm].iopm_base)
    k[Svm].iopm_base = None


@kernel_function(fails=(ENOMEM, EOPNOTSUPP))
def svm_hardware_setup(k: Kernel) -> None:
    """Allocate what all VMs share, and each possible CPU's part."""
    g = k[Svm]
    if not boot_cpu_has(k, "X86_FEATURE_NX"):
        pr_err(k, "kvm_amd: NX (Execute Disable) not supported")
        raise KernelError(EOPNOTSUPP)

    g.iopm_base = alloc_pages(k, "iopm")

    if not g.iopm_base:
        raise KernelError(ENOMEM)

    if not k.features["tscratemsr"]:
        g.tsc_scaling = False

    g.tsc_aux_uret_slot = kvm_add_user_return_msr(k, MSR_TSC_AUX)

    if not k.features["npt"]:
        g.npt_enabled = False

    if not k.features["lbrv"]:
        g.lbrv = False

    sev_hardware_setup(k)

    svm_hv_hardware_setup(k)

    with ladder(k) as goto:
        with goto("err"):
            for cpu in for_each_possible_cpu(k):
                svm_cpu_init(k, cpu)

        g.avic = g.avic and avic_hardware_setup(k)

        k[X86].allow_smaller_maxphyaddr = not g.npt_enabled
        return

    if goto.reached("err"):
        svm_hardware_unsetup(k)
    raise goto.error


svm_init_ops = kvm_x86_ops(
    name="kvm_amd",
    hardware_setup=svm_hardware_setup,
    hardware_unsetup=svm_hardware_unsetup,
    check_processor_compatibility=svm_check_processor_compat,
    enable_virtualization_cpu=svm_enable_virtualization_cpu,
    disable_virtualization_cpu=svm_disable_virtualization_cpu,
    emergency_disable_virtualization_cpu=svm_emergency_disable_virtualization_cpu,
    vm_size=kvm_svm,
    vm_init=svm_vm_init,
    vm_destroy=svm_vm_destroy,
)


@kernel_function()
def __svm_exit(k: Kernel) -> None:
    """Undo what svm_init() does before kvm_init()."""
    kvm_x86_vendor_exit(k)


@kernel_function(fails=EOPNOTSUPP)
def svm_init(k: Kernel) -> None:
    """Run when kvm-amd.ko is loaded."""
    if not kvm_is_svm_supported(k):
        raise KernelError(EOPNOTSUPP)

    kvm_x86_vendor_init(k, svm_init_ops)

    with ladder(k) as goto:
        # Last, because /dev/kvm is open to user space from then on.
        with goto("err_kvm_init"):
            kvm_init(k, "kvm_amd")

        return

    if goto.reached("err_kvm_init"):
        __svm_exit(k)
    raise goto.error


@kernel_function()
def svm_exit(k: Kernel) -> None:
    """Run when kvm-amd.ko is unloaded."""
    kvm_exit(k)
    __svm_exit(k)
