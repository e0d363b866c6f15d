# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors arch/x86/kvm/x86.c: registers that keep a guest's value until the CPU returns to user space."""

from __future__ import annotations

from arch.x86.kernel.msr import rdmsrl_safe, wrmsrl, wrmsrl_safe
from kvm_ref.errno import EIO, KernelError
from kvm_ref.kernel import Kernel, Statics
from kvm_ref.linux.percpu import percpu_memory
from kvm_ref.linux.printk import BUG_ON
from kvm_ref.unwind import ladder, unchecked
from kvm_ref.vocabulary import kernel_function

KVM_MAX_NR_USER_RETURN_MSRS = 16


class kvm_user_return_msr_values:
    """One register of one CPU: what the host wants in it, and what it holds."""

    __slots__ = ("curr", "host")

    def __init__(self, value: int) -> None:
        self.host = value
        self.curr = value


class kvm_user_return_msrs:
    """One CPU's values of the registers; `registered` while a guest's may be in them."""

    __slots__ = ("registered", "values")

    def __init__(self) -> None:
        self.registered = False
        self.values: dict[str, kvm_user_return_msr_values] = {}


class UserReturn(Statics):
    """The static variables of arch/x86/kvm/x86.c that belong to user-return MSRs."""

    __slots__ = ("kvm_uret_msrs_list", "user_return_msrs")
    module = "kvm"

    def __init__(self) -> None:
        self.user_return_msrs: percpu_memory[kvm_user_return_msrs | None] | None = None
        self.kvm_uret_msrs_list: list[str] = []


@kernel_function(fails=EIO, args=("msr",))
def kvm_probe_user_return_msr(k: Kernel, msr: str) -> None:
    """Try whether a register can be read and written back."""
    val = [0]
    with ladder(k) as goto:
        with goto("out"):
            rdmsrl_safe(k, msr, val)
        wrmsrl_safe(k, msr, val[0])
    goto.reached("out")
    if goto.failed:
        raise goto.error


@kernel_function(args=("msr",))
def kvm_add_user_return_msr(k: Kernel, msr: str) -> int:
    """Add a register and return its slot, or -1 if the CPU does not have it."""
    g = k[UserReturn]
    BUG_ON(
        k,
        len(g.kvm_uret_msrs_list) >= KVM_MAX_NR_USER_RETURN_MSRS,
        "kvm_nr_uret_msrs >= KVM_MAX_NR_USER_RETURN_MSRS",
    )

    try:
        kvm_probe_user_return_msr(k, msr)
    except KernelError:
        return -1

    g.kvm_uret_msrs_list.append(msr)
    return len(g.kvm_uret_msrs_list) - 1


@kernel_function()
def kvm_user_return_msr_cpu_online(k: Kernel) -> None:
    """Note the host's values on the CPU that runs."""
    g = k[UserReturn]
    assert g.user_return_msrs is not None
    msrs = g.user_return_msrs.cpu[k.cpu] or kvm_user_return_msrs()
    for msr in g.kvm_uret_msrs_list:
        # A read that faults gives 0.
        value = [0]
        with unchecked:
            rdmsrl_safe(k, msr, value)
        msrs.values[msr] = kvm_user_return_msr_values(value[0])
    g.user_return_msrs.cpu[k.cpu] = msrs


def kvm_on_user_return(k: Kernel, msrs: kvm_user_return_msrs) -> None:
    """Put the host's values back where a guest's are."""
    msrs.registered = False
    for msr, values in msrs.values.items():
        if values.host != values.curr:
            wrmsrl(k, msr, values.host)
            values.curr = values.host


@kernel_function()
def drop_user_return_notifiers(k: Kernel) -> None:
    """Put the host's values back on the CPU that runs, if a guest's may be there."""
    g = k[UserReturn]
    assert g.user_return_msrs is not None
    msrs = g.user_return_msrs.cpu[k.cpu]
    if msrs and msrs.registered:
        kvm_on_user_return(k, msrs)
