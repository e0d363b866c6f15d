# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors arch/x86/kvm/vmx/vmx.c: what the CPUs can do, and the memory that VMX needs on each."""

from __future__ import annotations

from arch.x86.kernel.irq import kvm_set_posted_intr_wakeup_handler
from arch.x86.kernel.msr import (
    CPUID_1_ECX_VMX,
    MSR_EFER,
    MSR_TSC_AUX,
    boot_cpu_has,
    cpuid_ecx,
    rdmsr_safe,
    rdmsrl,
    this_cpu_has,
)
from arch.x86.kvm.nested import (
    nested_vmx_hardware_setup,
    nested_vmx_hardware_unsetup,
    nested_vmx_setup_ctls_msrs,
)
from arch.x86.kvm.user_return import kvm_add_user_return_msr
from arch.x86.kvm.vmx_data import (
    PT_MODE_HOST_GUEST,
    PT_MODE_SYSTEM,
    SECONDARY_EXEC_ENABLE_EPT,
    SECONDARY_EXEC_ENABLE_VPID,
    VMCS_ENTRY_EXIT_PAIRS,
    VMX_EPT_EXTENT_GLOBAL_BIT,
    VMX_EPT_PAGE_WALK_4_BIT,
    VMX_EPTP_WB_BIT,
    Vmx,
    vmcs_config,
    vmx_capability,
)
from arch.x86.kvm.vmx_vm import pr_warn_once
from arch.x86.kvm.x86 import X86
from kvm_ref.errno import EINVAL, EIO, ENOMEM, EOPNOTSUPP, KernelError
from kvm_ref.kernel import Kernel
from kvm_ref.linux.cpumask import for_each_possible_cpu
from kvm_ref.linux.gfp import __alloc_pages_node, free_page, pages
from kvm_ref.linux.printk import pr_err
from kvm_ref.linux.string import memcmp
from kvm_ref.unwind import unchecked
from kvm_ref.vocabulary import NULL, kernel_function

MSR_IA32_VMX_BASIC = "MSR_IA32_VMX_BASIC"
MSR_IA32_VMX_EPT_VPID_CAP = "MSR_IA32_VMX_EPT_VPID_CAP"
MSR_IA32_VMX_PROCBASED_CTLS2 = "MSR_IA32_VMX_PROCBASED_CTLS2"
MSR_IA32_VMX_EXIT_CTLS = "MSR_IA32_VMX_EXIT_CTLS"
MSR_IA32_VMX_ENTRY_CTLS = "MSR_IA32_VMX_ENTRY_CTLS"
VMX_BASIC_32BIT_PHYS_ADDR_ONLY = 1 << 48
PAGE_SIZE = 4096
X86_MEMTYPE_WB = 6


@kernel_function(fails=False)
def __kvm_is_vmx_supported(k: Kernel) -> bool:
    """Say whether the CPU that runs has VMX, and firmware left it on."""
    if not cpuid_ecx(k, 1) & CPUID_1_ECX_VMX:
        pr_err(k, f"kvm_intel: VMX not supported by CPU {k.cpu}")
        return False

    if not this_cpu_has(k, "X86_FEATURE_MSR_IA32_FEAT_CTL") or not this_cpu_has(k, "X86_FEATURE_VMX"):
        pr_err(k, f"kvm_intel: VMX not enabled (by BIOS) in MSR_IA32_FEAT_CTL on CPU {k.cpu}")
        return False

    return True


@kernel_function(fails=False)
def kvm_is_vmx_supported(k: Kernel) -> bool:
    """Say whether this machine has VMX."""
    return __kvm_is_vmx_supported(k)


@kernel_function(fails=EIO, args=("msr",))
def adjust_vmx_controls(k: Kernel, ctl_opt: int, msr: str, result: list[int]) -> None:
    """Choose the controls of one kind; -EIO if the CPU lacks one that KVM cannot do without.

    Of those that it would like to have, `ctl_opt` are the ones that another register must bear out.
    """
    result[0] = ctl_opt & rdmsrl(k, msr) >> 32


def cpu_has_vmx_ept(k: Kernel) -> bool:
    """Say whether the CPU has EPT as KVM wants it (arch/x86/kvm/vmx/capabilities.h)."""
    g = k[Vmx]
    wanted = VMX_EPT_PAGE_WALK_4_BIT | VMX_EPTP_WB_BIT | VMX_EPT_EXTENT_GLOBAL_BIT
    has = g.vmcs_config.cpu_based_2nd_exec_ctrl & SECONDARY_EXEC_ENABLE_EPT
    return bool(has) and g.vmx_capability.ept & wanted == wanted


def vmx_basic_vmcs_size(vmx_basic: int) -> int:
    """Return how many bytes a VMCS takes (arch/x86/include/asm/vmx.h)."""
    return vmx_basic >> 32 & 0x1FFF


def vmx_basic_vmcs_mem_type(vmx_basic: int) -> int:
    """Return the memory type that a VMCS must have (arch/x86/include/asm/vmx.h)."""
    return vmx_basic >> 50 & 0xF


def _controls(k: Kernel, ctl_opt: int, msr: str) -> int:
    ctl = [0]
    try:
        adjust_vmx_controls(k, ctl_opt, msr, ctl)
    except KernelError:
        raise KernelError(EIO) from None
    return ctl[0]


@kernel_function(fails=EIO, translates=True)
def setup_vmcs_config(k: Kernel, vmcs_conf: vmcs_config, vmx_cap: vmx_capability) -> None:
    """Find out what VMX on the CPU that runs can do; -EIO if that is too little, or contradicts itself."""
    error_on_inconsistent_vmcs_config = k[Vmx].error_on_inconsistent_vmcs_config

    _controls(k, 0, "MSR_IA32_VMX_PROCBASED_CTLS")
    secondary = SECONDARY_EXEC_ENABLE_EPT | SECONDARY_EXEC_ENABLE_VPID
    cpu_based_2nd_exec_control = _controls(k, secondary, MSR_IA32_VMX_PROCBASED_CTLS2)

    ept, vpid = [0], [0]
    with unchecked:
        rdmsr_safe(k, MSR_IA32_VMX_EPT_VPID_CAP, ept, vpid)
    vmx_cap.ept, vmx_cap.vpid = ept[0], vpid[0]

    if not cpu_based_2nd_exec_control & SECONDARY_EXEC_ENABLE_EPT and vmx_cap.ept:
        pr_warn_once(k, "kvm_intel: EPT capabilities without the control that enables EPT")
        if error_on_inconsistent_vmcs_config:
            raise KernelError(EIO)
        vmx_cap.ept = 0
    if not cpu_based_2nd_exec_control & SECONDARY_EXEC_ENABLE_VPID and vmx_cap.vpid:
        pr_warn_once(k, "kvm_intel: VPID capabilities without the control that enables VPIDs")
        if error_on_inconsistent_vmcs_config:
            raise KernelError(EIO)
        vmx_cap.vpid = 0

    vmexit_control = _controls(k, sum(x for _, x in VMCS_ENTRY_EXIT_PAIRS), MSR_IA32_VMX_EXIT_CTLS)
    _controls(k, 0, "MSR_IA32_VMX_PINBASED_CTLS")
    vmentry_control = _controls(k, sum(n for n, _ in VMCS_ENTRY_EXIT_PAIRS), MSR_IA32_VMX_ENTRY_CTLS)

    for n_ctrl, x_ctrl in VMCS_ENTRY_EXIT_PAIRS:
        n, x = vmentry_control & n_ctrl, vmexit_control & x_ctrl
        if (not n) == (not x):
            continue

        pr_warn_once(k, "kvm_intel: Inconsistent VM-Entry/VM-Exit pair, entry = %x, exit = %x", n, x)
        if error_on_inconsistent_vmcs_config:
            raise KernelError(EIO)

        vmentry_control &= ~n_ctrl
        vmexit_control &= ~x_ctrl

    basic_msr = rdmsrl(k, MSR_IA32_VMX_BASIC)

    if vmx_basic_vmcs_size(basic_msr) > PAGE_SIZE:
        raise KernelError(EIO)

    if basic_msr & VMX_BASIC_32BIT_PHYS_ADDR_ONLY:
        raise KernelError(EIO)

    if vmx_basic_vmcs_mem_type(basic_msr) != X86_MEMTYPE_WB:
        raise KernelError(EIO)

    vmcs_conf.basic = basic_msr
    vmcs_conf.cpu_based_2nd_exec_ctrl = cpu_based_2nd_exec_control
    vmcs_conf.vmexit_ctrl = vmexit_control
    vmcs_conf.vmentry_ctrl = vmentry_control


@kernel_function(fails=EIO, translates=True)
def vmx_check_processor_compat(k: Kernel) -> None:
    """Refuse a CPU without VMX, or whose VMX is not that of the CPU that loaded the module."""
    vmcs_conf = vmcs_config()
    vmx_cap = vmx_capability()

    if not __kvm_is_vmx_supported(k):
        raise KernelError(EIO)

    try:
        setup_vmcs_config(k, vmcs_conf, vmx_cap)
    except KernelError:
        pr_err(k, f"kvm_intel: Failed to setup VMCS config on CPU {k.cpu}")
        raise KernelError(EIO) from None
    if k[Vmx].nested:
        nested_vmx_setup_ctls_msrs(k, vmcs_conf, vmx_cap.ept)
    if memcmp(k, k[Vmx].vmcs_config.memory(), vmcs_conf.memory()):
        pr_err(k, f"kvm_intel: Inconsistent VMCS config on CPU {k.cpu}")
        raise KernelError(EIO)


@kernel_function(fails=NULL, args=("cpu",))
def alloc_vmcs_cpu(k: Kernel, shadow: bool, cpu: int) -> pages | None:
    """Allocate a VMCS, or the page of the same form that VMXON wants, on a CPU's node."""
    return __alloc_pages_node(k, "vmcs")


@kernel_function()
def free_vmcs(k: Kernel, vmcs: pages | None) -> None:
    """Free a VMCS; NULL is legal."""
    free_page(k, vmcs)


@kernel_function()
def free_kvm_area(k: Kernel) -> None:
    """Free every possible CPU's page for VMXON."""
    for cpu in for_each_possible_cpu(k):
        free_vmcs(k, k[Vmx].vmxarea[cpu])
        k[Vmx].vmxarea[cpu] = None


@kernel_function(fails=ENOMEM)
def alloc_kvm_area(k: Kernel) -> None:
    """Allocate every possible CPU's page for VMXON."""
    for cpu in for_each_possible_cpu(k):
        vmcs = alloc_vmcs_cpu(k, False, cpu)
        if not vmcs:
            free_kvm_area(k)
            raise KernelError(ENOMEM)

        k[Vmx].vmxarea[cpu] = vmcs


def vmx_handle_intel_pt_intr(k: Kernel) -> int:
    """Hand an interrupt of Processor Trace to the vCPU that runs; 0, for there is none."""
    return 0


def pi_wakeup_handler(k: Kernel) -> None:
    """Wake the vCPUs that sleep on this CPU and have an interrupt (arch/x86/kvm/vmx/posted_intr.c)."""


@kernel_function()
def vmx_setup_user_return_msrs(k: Kernel) -> None:
    """Add the registers that a guest may change and only user space would notice."""
    for msr in (
        "MSR_SYSCALL_MASK",
        "MSR_LSTAR",
        "MSR_CSTAR",
        MSR_EFER,
        MSR_TSC_AUX,
        "MSR_STAR",
        "MSR_IA32_TSX_CTRL",
    ):
        kvm_add_user_return_msr(k, msr)


@kernel_function(fails=(EIO, EOPNOTSUPP, EINVAL))
def vmx_hardware_setup(k: Kernel) -> None:
    """Find out what VMX can do here, and allocate what all VMs share and each possible CPU's part.

    The handler of posted interrupts is set even if the last allocation failed, and stays set then.
    """
    g = k[Vmx]
    vmx_setup_user_return_msrs(k)

    try:
        setup_vmcs_config(k, g.vmcs_config, g.vmx_capability)
    except KernelError:
        raise KernelError(EIO) from None

    if not cpu_has_vmx_ept(k):
        g.enable_ept = False

    # Shadow paging needs NX.
    if not g.enable_ept and not boot_cpu_has(k, "X86_FEATURE_NX"):
        pr_err(k, "kvm_intel: NX (Execute Disable) not supported")
        raise KernelError(EOPNOTSUPP)

    if g.pt_mode not in (PT_MODE_SYSTEM, PT_MODE_HOST_GUEST):
        raise KernelError(EINVAL)
    if not g.enable_ept or not k[X86].enable_pmu or not k.features["intel_pt"]:
        g.pt_mode = PT_MODE_SYSTEM
    # A field of vt_init_ops in C.
    in_guests = g.pt_mode == PT_MODE_HOST_GUEST
    k[X86].handle_intel_pt_intr = vmx_handle_intel_pt_intr if in_guests else None

    if g.nested:
        nested_vmx_setup_ctls_msrs(k, g.vmcs_config, g.vmx_capability.ept)

        nested_vmx_hardware_setup(k)

    r = None
    try:
        alloc_kvm_area(k)
    except KernelError as error:
        r = error
    if r and g.nested:
        nested_vmx_hardware_unsetup(k)

    kvm_set_posted_intr_wakeup_handler(k, pi_wakeup_handler)

    if r:
        raise r


@kernel_function()
def vmx_hardware_unsetup(k: Kernel) -> None:
    """Undo vmx_hardware_setup()."""
    kvm_set_posted_intr_wakeup_handler(k, None)

    if k[Vmx].nested:
        nested_vmx_hardware_unsetup(k)

    free_kvm_area(k)
