# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors arch/x86/kvm/x86.c: following the host's clock, whose rate may change with the CPU's.

Without a constant TSC, kvm_timer_init() asks to be told of frequency changes and installs a
hotplug state. What these two calls return is not looked at, and the exit path undoes both
whether they worked or not.
"""

from __future__ import annotations

from contextlib import suppress

from kvm_ref.errno import EBUSY, EEXIST, KernelError
from kvm_ref.kernel import Kernel, Statics
from kvm_ref.linux.cpu import (
    CPUHP_AP_X86_KVM_CLK_ONLINE, cpuhp_remove_state_nocalls, cpuhp_setup_state,
)  # fmt: skip
from kvm_ref.linux.notifier import (
    notifier_block, notifier_chain_register, notifier_chain_unregister,
)  # fmt: skip
from kvm_ref.vocabulary import kernel_function


class Clock(Statics):
    """The static variables of arch/x86/kvm/x86.c that belong to the clock."""

    __slots__ = ("kvmclock_cpufreq_notifier_block", "pvclock_gtod_notifier")
    module = "kvm"

    def __init__(self) -> None:
        self.kvmclock_cpufreq_notifier_block = notifier_block("kvmclock_cpufreq_notifier_block")
        self.pvclock_gtod_notifier = notifier_block("pvclock_gtod_notifier")


@kernel_function(fails=EBUSY, acquires="cpufreq_notifier", obj="nb")
def cpufreq_register_notifier(k: Kernel, nb: notifier_block) -> None:
    """Ask to be told of changes of frequency (drivers/cpufreq/cpufreq.c)."""
    notifier_chain_register(k, "cpufreq_transition_notifier_list", nb)


@kernel_function(fails=EBUSY, releases="cpufreq_notifier", idempotent=True)
def cpufreq_unregister_notifier(k: Kernel, nb: notifier_block) -> None:
    """Undo cpufreq_register_notifier() (drivers/cpufreq/cpufreq.c)."""
    notifier_chain_unregister(k, "cpufreq_transition_notifier_list", nb)


def kvmclock_cpu_online(k: Kernel, cpu: int) -> int:
    """Note the TSC rate of a CPU that comes up."""
    return 0


def kvmclock_cpu_down_prep(k: Kernel, cpu: int) -> int:
    """Forget the TSC rate of a CPU that goes down."""
    return 0


@kernel_function()
def kvm_timer_init(k: Kernel) -> None:
    """Follow frequency changes, if the TSC does."""
    if not k.features["constant_tsc"]:
        with suppress(KernelError):
            cpufreq_register_notifier(k, k[Clock].kvmclock_cpufreq_notifier_block)

        with suppress(KernelError):
            cpuhp_setup_state(
                k,
                CPUHP_AP_X86_KVM_CLK_ONLINE,
                "x86/kvm/clk:online",
                kvmclock_cpu_online,
                kvmclock_cpu_down_prep,
            )


def kvm_timer_exit(k: Kernel) -> None:
    """Undo kvm_timer_init(): the part of kvm_x86_vendor_exit() that does so."""
    if not k.features["constant_tsc"]:
        with suppress(KernelError):
            cpufreq_unregister_notifier(k, k[Clock].kvmclock_cpufreq_notifier_block)
        cpuhp_remove_state_nocalls(k, CPUHP_AP_X86_KVM_CLK_ONLINE)


@kernel_function(fails=EEXIST, acquires="gtod_notifier", obj="'pvclock_gtod_notifier'")
def pvclock_gtod_register_notifier(k: Kernel) -> None:
    """Ask to be told when the kernel's time base changes (kernel/time/timekeeping.c)."""
    notifier_chain_register(k, "pvclock_gtod_chain", k[Clock].pvclock_gtod_notifier)


@kernel_function(fails=EEXIST, releases="gtod_notifier", obj="'pvclock_gtod_notifier'", idempotent=True)
def pvclock_gtod_unregister_notifier(k: Kernel) -> None:
    """Undo pvclock_gtod_register_notifier() (kernel/time/timekeeping.c)."""
    notifier_chain_unregister(k, "pvclock_gtod_chain", k[Clock].pvclock_gtod_notifier)
