# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors arch/x86/kvm/vmx/vmx.c: what Intel adds to a VM, and the warnings about L1TF."""

from __future__ import annotations

from arch.x86.kernel.bugs import Bugs, l1tf_mitigations, vmx_l1d_flush_state
from arch.x86.kvm.kvm_host import kvm_arch
from arch.x86.kvm.vmx_data import Vmx
from kvm_ref.kernel import Kernel, Statics
from kvm_ref.linux.gfp import free_pages, pages
from kvm_ref.linux.printk import pr_warn
from kvm_ref.virt.kvm_host import kvm
from kvm_ref.vocabulary import kernel_function

# In short what the kernel's own lines say at length.
L1TF_MSG_SMT = "kvm_intel: L1TF (CVE-2018-3646): guests may read host data while SMT is on"
L1TF_MSG_L1D = "kvm_intel: L1TF (CVE-2018-3646): guests may read host data, the cache is never flushed"


class kvm_vmx(kvm_arch):
    """What an Intel VM has (arch/x86/kvm/vmx/vmx.h)."""

    __slots__ = ("pid_table",)

    def __init__(self, id: str) -> None:
        super().__init__(id)
        # The table of posted-interrupt descriptors; the first vCPU brings it.
        self.pid_table: pages | None = None


class VmxVm(Statics):
    """The flags that pr_warn_once() keeps in the module: what has been logged."""

    __slots__ = ("logged",)
    module = "kvm_intel"

    def __init__(self) -> None:
        self.logged: list[str] = []


def pr_warn_once(k: Kernel, format: str, *args: object) -> None:
    """Log a line at level warning, but once as long as the module is in (include/linux/printk.h)."""
    if format not in k[VmxVm].logged:
        k[VmxVm].logged.append(format)
        pr_warn(k, format % args)


@kernel_function()
def vmx_vm_init(k: Kernel, kvm: kvm) -> int:
    """Warn of the first VM that may read the host's data; that is no error."""
    host = k[Bugs]
    if k.features["l1tf_bug"] and k[Vmx].enable_ept:
        match host.l1tf_mitigation:
            case (
                l1tf_mitigations.L1TF_MITIGATION_FLUSH
                | l1tf_mitigations.L1TF_MITIGATION_FLUSH_NOSMT
                | l1tf_mitigations.L1TF_MITIGATION_FULL
            ):
                if k.features["smt"]:
                    pr_warn_once(k, L1TF_MSG_SMT)
                if host.l1tf_vmx_mitigation == vmx_l1d_flush_state.VMENTER_L1D_FLUSH_NEVER:
                    pr_warn_once(k, L1TF_MSG_L1D)
    return 0


@kernel_function()
def vmx_vm_destroy(k: Kernel, kvm: kvm) -> None:
    """Free what vCPUs have brought to a VM."""
    free_pages(k, kvm.arch.pid_table)
