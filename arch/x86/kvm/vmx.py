# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors arch/x86/kvm/vmx/vmx.c: the vendor module kvm-intel.ko, and turning VMX on and off."""

from __future__ import annotations

from arch.x86.events.pt import intel_pt_handle_vmx
from arch.x86.hyperv.hv_init import hv_get_vp_assist_page
from arch.x86.kernel.msr import (
    MSR_IA32_FEAT_CTL,
    X86_CR4_VMXE,
    __read_cr4,
    cr4_clear_bits,
    cr4_read_shadow,
    cr4_set_bits,
    rdmsrl_safe,
)
from arch.x86.kvm.vmx_data import Vmx, vmcs_clear, vmxoff, vmxon
from arch.x86.kvm.vmx_hyperv import hv_init_evmcs, hv_reset_evmcs, kvm_is_using_evmcs
from arch.x86.kvm.vmx_l1d import vmx_cleanup_l1d_flush, vmx_setup_l1d_flush
from arch.x86.kvm.vmx_setup import (
    kvm_is_vmx_supported,
    vmx_check_processor_compat,
    vmx_hardware_setup,
    vmx_hardware_unsetup,
)
from arch.x86.kvm.vmx_vm import kvm_vmx, vmx_vm_destroy, vmx_vm_init
from arch.x86.kvm.x86 import (
    X86,
    kvm_spurious_fault,
    kvm_x86_ops,
    kvm_x86_vendor_exit,
    kvm_x86_vendor_init,
)
from kvm_ref.errno import EBUSY, EFAULT, EIO, EOPNOTSUPP, KernelError
from kvm_ref.kernel import Kernel
from kvm_ref.linux.cpumask import for_each_possible_cpu
from kvm_ref.linux.gfp import pages
from kvm_ref.linux.printk import WARN_ONCE
from kvm_ref.unwind import ladder, unchecked
from kvm_ref.virt.kvm_main import KvmMain, kvm_exit, kvm_init
from kvm_ref.vocabulary import kernel_function


@kernel_function(fails=EIO)
def kvm_cpu_vmxoff(k: Kernel) -> None:
    """Turn VMX off on this CPU; CR4.VMXE goes even if the CPU was not in VMX operation (-EIO)."""
    with ladder(k) as goto:
        with goto("fault"):
            if not vmxoff(k):
                raise KernelError(EIO)

        cr4_clear_bits(k, X86_CR4_VMXE)
        return

    if goto.reached("fault"):
        cr4_clear_bits(k, X86_CR4_VMXE)
    raise goto.error


@kernel_function()
def vmx_emergency_disable_virtualization_cpu(k: Kernel) -> None:
    """Turn VMX off on this CPU in a crash or reboot, whatever it takes."""
    k[KvmMain].kvm_rebooting = True

    if not __read_cr4(k) & X86_CR4_VMXE:
        return

    for vmcs in k[Vmx].loaded_vmcss_on_cpu[k.cpu]:
        vmcs_clear(k, vmcs)

    with unchecked:
        kvm_cpu_vmxoff(k)


def _feat_ctl(k: Kernel) -> int:
    # What firmware has set of VMX, as far as that can be read.
    msr = [0xDEADBEEF]
    with unchecked:
        rdmsrl_safe(k, MSR_IA32_FEAT_CTL, msr)
    return msr[0]


@kernel_function(fails=EFAULT, uses="pages")
def kvm_cpu_vmxon(k: Kernel, vmxon_pointer: pages | None) -> None:
    """Turn VMX on on this CPU; -EFAULT if VMXON faults: firmware has locked it off."""
    cr4_set_bits(k, X86_CR4_VMXE)

    with ladder(k) as goto:
        with goto("fault"):
            if not vmxon(k, vmxon_pointer):
                raise KernelError(EFAULT)
        return

    if goto.reached("fault"):
        WARN_ONCE(k, True, "VMXON faulted, MSR_IA32_FEAT_CTL (0x3a) = 0x%x", lambda: _feat_ctl(k))
        cr4_clear_bits(k, X86_CR4_VMXE)

    raise goto.error


@kernel_function(fails=(EBUSY, EFAULT))
def vmx_enable_virtualization_cpu(k: Kernel) -> None:
    """Turn VMX on on this CPU.

    Raises:
        KernelError: EBUSY if CR4.VMXE is set: another hypervisor runs there; EFAULT if VMXON faults,
            or if Hyper-V's format is in use and the CPU has no page for it.
    """
    if cr4_read_shadow(k) & X86_CR4_VMXE:
        raise KernelError(EBUSY)

    # A CPU that was plugged in later may have no page.
    if kvm_is_using_evmcs(k) and not hv_get_vp_assist_page(k, k.cpu):
        raise KernelError(EFAULT)

    intel_pt_handle_vmx(k, 1)

    try:
        kvm_cpu_vmxon(k, k[Vmx].vmxarea[k.cpu])
    except KernelError:
        intel_pt_handle_vmx(k, 0)
        raise


def vmclear_local_loaded_vmcss(k: Kernel) -> None:
    """Write back every VMCS that this CPU holds, and forget that it holds it."""
    vmcss = k[Vmx].loaded_vmcss_on_cpu[k.cpu]
    while vmcss:
        vmcs_clear(k, vmcss[0])
        del vmcss[0]


@kernel_function()
def vmx_disable_virtualization_cpu(k: Kernel) -> None:
    """Turn VMX off on this CPU."""
    vmclear_local_loaded_vmcss(k)

    try:
        kvm_cpu_vmxoff(k)
    except KernelError:
        kvm_spurious_fault(k)

    hv_reset_evmcs(k)

    intel_pt_handle_vmx(k, 0)


vt_init_ops = kvm_x86_ops(
    name="kvm_intel",
    hardware_setup=vmx_hardware_setup,
    hardware_unsetup=vmx_hardware_unsetup,
    check_processor_compatibility=vmx_check_processor_compat,
    enable_virtualization_cpu=vmx_enable_virtualization_cpu,
    disable_virtualization_cpu=vmx_disable_virtualization_cpu,
    emergency_disable_virtualization_cpu=vmx_emergency_disable_virtualization_cpu,
    vm_size=kvm_vmx,
    vm_init=vmx_vm_init,
    vm_destroy=vmx_vm_destroy,
)


def pi_init_cpu(k: Kernel, cpu: int) -> None:
    """Initialize the list of vCPUs that sleep on a CPU (arch/x86/kvm/vmx/posted_intr.c)."""
    k[Vmx].wakeup_vcpus_on_cpu[cpu] = []


@kernel_function()
def __vmx_exit(k: Kernel) -> None:
    """Undo what vmx_init() does between kvm_x86_vendor_init() and kvm_init()."""
    k[X86].allow_smaller_maxphyaddr = False

    vmx_cleanup_l1d_flush(k)


@kernel_function()
def vmx_exit(k: Kernel) -> None:
    """Run when kvm-intel.ko is unloaded."""
    kvm_exit(k)
    __vmx_exit(k)
    kvm_x86_vendor_exit(k)


@kernel_function(fails=EOPNOTSUPP)
def vmx_init(k: Kernel) -> None:
    """Run when kvm-intel.ko is loaded."""
    if not kvm_is_vmx_supported(k):
        raise KernelError(EOPNOTSUPP)

    hv_init_evmcs(k)

    kvm_x86_vendor_init(k, vt_init_ops)

    with ladder(k) as goto:
        # After kvm_x86_vendor_init(), because that settles whether there is EPT.
        with goto("err_l1d_flush"):
            vmx_setup_l1d_flush(k, k[Vmx].vmentry_l1d_flush_param)

        for cpu in for_each_possible_cpu(k):
            k[Vmx].loaded_vmcss_on_cpu[cpu] = []

            pi_init_cpu(k, cpu)

        if not k[Vmx].enable_ept:
            k[X86].allow_smaller_maxphyaddr = True

        # Last, because /dev/kvm is open to user space from then on.
        with goto("err_kvm_init"):
            kvm_init(k, "kvm_intel")

        return

    if goto.reached("err_kvm_init"):
        __vmx_exit(k)
    if goto.reached("err_l1d_flush"):
        kvm_x86_vendor_exit(k)
    raise goto.error
