# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors arch/x86/kvm/x86.c: following the host's clock, whose rate may change with the CPU's.

Without a constant TSC, kvm_timer_init() asks to be told of frequency changes and installs a
hotplug state. What these two calls return is not looked at, and kvm_x86_vendor_exit() undoes both
whether they worked or not.
"""

from __future__ import annotations

from kvm_ref.errno import EBUSY, EEXIST, EINVAL, ENOENT
from kvm_ref.kernel import Kernel, Resource, Statics
from kvm_ref.linux.cpuhotplug import CPUHP_AP_X86_KVM_CLK_ONLINE
from kvm_ref.linux.cpuhp_setup import cpuhp_setup_state
from kvm_ref.linux.notifier import (
    notifier_block,
    notifier_chain_register,
    notifier_chain_unregister,
)
from kvm_ref.unwind import unchecked
from kvm_ref.vocabulary import NULL, kernel_function


class cpufreq_policy(Resource):
    """A reference to how a CPU's rate is set."""

    __slots__ = ()


class Clock(Statics):
    """The static variables of arch/x86/kvm/x86.c that belong to the clock."""

    __slots__ = ("kvmclock_cpufreq_notifier_block", "pvclock_gtod_notifier")
    module = "kvm"

    def __init__(self) -> None:
        self.kvmclock_cpufreq_notifier_block = notifier_block("kvmclock_cpufreq_notifier_block")
        self.pvclock_gtod_notifier = notifier_block("pvclock_gtod_notifier")


@kernel_function(fails=(EBUSY, EINVAL, EEXIST), acquires="cpufreq_notifier", obj="nb")
def cpufreq_register_notifier(k: Kernel, nb: notifier_block) -> None:
    """Ask to be told of changes of frequency (drivers/cpufreq/cpufreq.c)."""
    notifier_chain_register(k, "cpufreq_transition_notifier_list", nb)


@kernel_function(fails=(ENOENT, EINVAL), releases="cpufreq_notifier", idempotent=True)
def cpufreq_unregister_notifier(k: Kernel, nb: notifier_block) -> None:
    """Undo cpufreq_register_notifier() (drivers/cpufreq/cpufreq.c)."""
    notifier_chain_unregister(k, "cpufreq_transition_notifier_list", nb)


@kernel_function(fails=NULL, acquires="cpufreq_policy", args=("cpu",))
def cpufreq_cpu_get(k: Kernel, cpu: int) -> cpufreq_policy | None:
    """Take a reference to a CPU's policy; NULL if no driver sets its rate (drivers/cpufreq/cpufreq.c)."""
    return cpufreq_policy(k.new(f"policy{cpu}"))


@kernel_function(releases="cpufreq_policy")
def cpufreq_cpu_put(k: Kernel, policy: cpufreq_policy) -> None:
    """Give the reference back (drivers/cpufreq/cpufreq.c)."""


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
        policy = cpufreq_cpu_get(k, k.cpu)
        if policy:
            cpufreq_cpu_put(k, policy)

        with unchecked:
            cpufreq_register_notifier(k, k[Clock].kvmclock_cpufreq_notifier_block)

        with unchecked:
            cpuhp_setup_state(
                k,
                CPUHP_AP_X86_KVM_CLK_ONLINE,
                "x86/kvm/clk:online",
                kvmclock_cpu_online,
                kvmclock_cpu_down_prep,
            )


@kernel_function(fails=EEXIST, acquires="gtod_notifier", obj="'pvclock_gtod_notifier'")
def pvclock_gtod_register_notifier(k: Kernel) -> None:
    """Ask to be told when the kernel's time base changes (kernel/time/timekeeping.c)."""
    notifier_chain_register(k, "pvclock_gtod_chain", k[Clock].pvclock_gtod_notifier)


@kernel_function(fails=ENOENT, releases="gtod_notifier", obj="'pvclock_gtod_notifier'", idempotent=True)
def pvclock_gtod_unregister_notifier(k: Kernel) -> None:
    """Undo pvclock_gtod_register_notifier() (kernel/time/timekeeping.c)."""
    notifier_chain_unregister(k, "pvclock_gtod_chain", k[Clock].pvclock_gtod_notifier)


@kernel_function(args=("work",))
def irq_work_sync(k: Kernel, work: str) -> None:
    """Wait until nobody runs `work` in interrupt context (kernel/irq_work.c)."""


@kernel_function(args=("work",))
def cancel_work_sync(k: Kernel, work: str) -> None:
    """Take `work` off its queue, or wait until it has run (kernel/workqueue.c)."""


def kvm_hyperv_tsc_notifier(k: Kernel) -> None:
    """Give all guests new clocks: Hyper-V has moved the machine, and the TSC's rate is another."""
