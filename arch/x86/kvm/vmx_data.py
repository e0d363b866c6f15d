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


class vmcs_config:
    """What a CPU's VMX can do: of the C struct, the part that tells one CPU from another here."""

    __slots__ = ("basic",)

    def __init__(self) -> None:
        self.basic = 0


class Vmx(Statics):
    """The static variables of arch/x86/kvm/vmx/vmx.c."""

    __slots__ = (
        "enable_ept", "enlightened_vmcs", "kvm_is_using_evmcs", "loaded_vmcss_on_cpu", "nested",
        "pt_mode", "vmcs_config", "vmentry_l1d_flush_param", "vmx_l1d_flush_cond",
        "vmx_l1d_flush_pages", "vmx_l1d_should_flush", "vmxarea", "wakeup_vcpus_on_cpu",
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
        self.vmcs_config = vmcs_config()
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
