# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors arch/x86/kvm/vmx/vmx.c: its variables and parameters, and the instructions it is built on."""

from __future__ import annotations

from arch.x86.kernel.bugs import vmx_l1d_flush_state
from kvm_ref.errno import EINVAL, KernelError
from kvm_ref.kernel import Kernel, Statics
from kvm_ref.linux.gfp import pages
from kvm_ref.linux.jump_label import static_key
from kvm_ref.linux.module import Param, module_param_named, param_set_int
from kvm_ref.linux.percpu import PerCpu
from kvm_ref.vocabulary import kernel_function

PT_MODE_SYSTEM = 0
PT_MODE_HOST_GUEST = 1


SECONDARY_EXEC_ENABLE_EPT = 1 << 1
SECONDARY_EXEC_ENABLE_VPID = 1 << 5
VMX_EPT_PAGE_WALK_4_BIT = 1 << 6
VMX_EPTP_WB_BIT = 1 << 14
VMX_EPT_EXTENT_GLOBAL_BIT = 1 << 26
# What is loaded on VM entry, and loaded or cleared on VM exit, or neither.
VMCS_ENTRY_EXIT_PAIRS = (
    (1 << 13, 1 << 12),  # LOAD_IA32_PERF_GLOBAL_CTRL
    (1 << 14, 1 << 19),  # LOAD_IA32_PAT
    (1 << 15, 1 << 21),  # LOAD_IA32_EFER
    (1 << 16, 1 << 23),  # LOAD_BNDCFGS, CLEAR_BNDCFGS
    (1 << 18, 1 << 25),  # LOAD_IA32_RTIT_CTL, CLEAR_IA32_RTIT_CTL
)


class vmcs_config:
    """What a CPU's VMX can do: of the C struct, the part that tells one CPU from another here.

    `nested_ept_caps` is ``nested.ept_caps``, and of the controls those are here that must fit another.
    """

    __slots__ = ("basic", "cpu_based_2nd_exec_ctrl", "nested_ept_caps", "vmentry_ctrl", "vmexit_ctrl")

    def __init__(self) -> None:
        self.basic = 0
        self.cpu_based_2nd_exec_ctrl = 0
        self.vmexit_ctrl = 0
        self.vmentry_ctrl = 0
        self.nested_ept_caps = 0

    def memory(self) -> tuple[int, ...]:
        """Return what memcmp() compares."""
        return (
            self.basic,
            self.cpu_based_2nd_exec_ctrl,
            self.vmexit_ctrl,
            self.vmentry_ctrl,
            self.nested_ept_caps,
        )


class vmx_capability:
    """What a CPU can do with EPT and with VPIDs (arch/x86/kvm/vmx/capabilities.h)."""

    __slots__ = ("ept", "vpid")

    def __init__(self) -> None:
        self.ept = 0
        self.vpid = 0


class Vmx(Statics):
    """The static variables of arch/x86/kvm/vmx/vmx.c."""

    __slots__ = (
        "enable_ept", "enlightened_vmcs", "error_on_inconsistent_vmcs_config", "kvm_is_using_evmcs",
        "loaded_vmcss_on_cpu", "nested", "pt_mode", "vmcs_config", "vmentry_l1d_flush_param",
        "vmx_capability", "vmx_l1d_flush_cond", "vmx_l1d_flush_pages", "vmx_l1d_should_flush", "vmxarea",
        "wakeup_vcpus_on_cpu",
    )  # fmt: skip
    module = "kvm_intel"

    def __init__(self) -> None:
        self.enable_ept = True
        self.nested = True
        self.pt_mode = PT_MODE_SYSTEM
        self.enlightened_vmcs = True
        self.vmentry_l1d_flush_param = vmx_l1d_flush_state.VMENTER_L1D_FLUSH_AUTO
        self.vmx_l1d_should_flush = static_key("vmx_l1d_should_flush")
        self.vmx_l1d_flush_cond = static_key("vmx_l1d_flush_cond")
        self.vmx_l1d_flush_pages: pages | None = None
        self.kvm_is_using_evmcs = static_key("__kvm_is_using_evmcs")
        self.error_on_inconsistent_vmcs_config = True
        self.vmcs_config = vmcs_config()
        self.vmx_capability = vmx_capability()
        self.vmxarea: PerCpu[pages | None] = PerCpu(None)
        self.loaded_vmcss_on_cpu: dict[int, list[str]] = {}
        self.wakeup_vcpus_on_cpu: dict[int, list[str]] = {}


def vmentry_l1d_flush_parse(text: str) -> vmx_l1d_flush_state:
    """Read the parameter vmentry_l1d_flush.

    Raises:
        KernelError: EINVAL, it is none of the words.
    """
    word = text.removesuffix("\n")
    if word not in ("auto", "never", "cond", "always"):
        raise KernelError(EINVAL)
    return vmx_l1d_flush_state(word)


PARAMS = (
    Param("nested", Vmx),
    module_param_named("ept", Vmx, value="enable_ept"),
    Param("enlightened_vmcs", Vmx),
    Param("error_on_inconsistent_vmcs_config", Vmx),
    # Only a kernel with CONFIG_BROKEN has this one.
    Param("pt_mode", Vmx, set=param_set_int, expects="an int: 0 (system) or 1 (host-guest)"),
    module_param_named(
        "vmentry_l1d_flush",
        Vmx,
        set=vmentry_l1d_flush_parse,
        expects="auto, never, cond or always",
        perm=0o644,
        value="vmentry_l1d_flush_param",
    ),
)


@kernel_function(fails=False, acquires="vmx_operation", obj="f'cpu{k.cpu}'")
def vmxon(k: Kernel, vmxon_pointer: pages | None) -> bool:
    """The instruction VMXON: the CPU that runs enters VMX operation; False if it faults."""
    return True


@kernel_function(fails=False, releases="vmx_operation", obj="f'cpu{k.cpu}'")
def vmxoff(k: Kernel) -> bool:
    """The instruction VMXOFF: the CPU that runs leaves VMX operation; False if it faults."""
    return True


@kernel_function(args=("vmcs",))
def vmcs_clear(k: Kernel, vmcs: str) -> None:
    """The instruction VMCLEAR: write what the CPU holds of a VMCS back to memory."""
