# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors kernel/cpu.c: the kernel's own two states of CPU hotplug, in which a CPU starts and dies.

How it starts depends on the architecture: with CONFIG_HOTPLUG_SPLIT_STARTUP, as on x86, it runs already
when CPUHP_BRINGUP_CPU begins, and is waited for; elsewhere it is started then. The lock that keeps
interrupts from being allocated meanwhile is left out.
"""

from __future__ import annotations

from kvm_ref.errno import EBUSY, EIO
from kvm_ref.kernel import Kernel
from kvm_ref.linux.cpu import cpuhp_state, cpuhp_step
from kvm_ref.linux.cpuhotplug import (
    CPUHP_AP_IDLE_DEAD,
    CPUHP_AP_OFFLINE,
    CPUHP_AP_ONLINE_IDLE,
    CPUHP_BRINGUP_CPU,
    CPUHP_TEARDOWN_CPU,
)
from kvm_ref.linux.cpuhp import cpuhp_invoke_callback_range_nofail, cpuhp_kick_ap, notify_cpu_starting
from kvm_ref.linux.cpumask import cpu_online
from kvm_ref.linux.printk import BUG_ON, WARN_ON
from kvm_ref.linux.smp import __cpu_disable, __cpu_up
from kvm_ref.linux.smpboot import idle_thread_get
from kvm_ref.unwind import ladder
from kvm_ref.vocabulary import kernel_function


@kernel_function(config="HOTPLUG_SPLIT_STARTUP", fails=EIO, args=("cpu",))
def cpuhp_bringup_ap(k: Kernel, cpu: int) -> int:
    """Start a CPU, and let its hotplug thread walk the rest; -EIO if it does not come alive."""
    st = cpuhp_state(k, cpu)
    if k.arch.boot_secondary:
        k.arch.boot_secondary(k, cpu)

    k.run_on(f"swapper/{cpu}", cpu, notify_cpu_starting, cpu)
    k.online.add(cpu)
    st.state = CPUHP_AP_ONLINE_IDLE

    if st.target <= CPUHP_AP_ONLINE_IDLE:
        return 0

    cpuhp_kick_ap(k, cpu, st, st.target)
    return 0


@kernel_function(fails=EIO, args=("cpu",))
def bringup_cpu(k: Kernel, cpu: int) -> int:
    """Start a CPU, and let its hotplug thread walk the rest.

    Its idle task is not looked at any more: _cpu_up() did so. Without CONFIG_HOTPLUG_CORE_SYNC_FULL,
    which none of these architectures has, any CPU may be started, and is not waited for before it is online.
    """
    st = cpuhp_state(k, cpu)
    idle = idle_thread_get(k, cpu)

    with ladder(k) as goto:
        with goto("out_unlock"):
            __cpu_up(k, cpu, idle)
        st.state = CPUHP_AP_ONLINE_IDLE

        if st.target <= CPUHP_AP_ONLINE_IDLE:
            return 0

        cpuhp_kick_ap(k, cpu, st, st.target)
        return 0

    goto.reached("out_unlock")
    raise goto.error


def take_cpu_down(k: Kernel) -> None:
    """Take the CPU that runs out of service, with every other one stopped.

    Raises:
        KernelError: it cannot be spared.
    """
    cpu = k.cpu
    st = cpuhp_state(k, cpu)
    target = max(st.target, CPUHP_AP_OFFLINE)

    (k.arch.cpu_disable or __cpu_disable)(k)

    WARN_ON(k, st.state != CPUHP_TEARDOWN_CPU - 1, "st->state != (CPUHP_TEARDOWN_CPU - 1)")

    cpuhp_invoke_callback_range_nofail(k, False, cpu, st, target)


@kernel_function(fails=EBUSY, args=("cpu",))
def takedown_cpu(k: Kernel, cpu: int) -> int:
    """Let a CPU die.

    Raises:
        KernelError: it refuses, with what __cpu_disable() gives.
    """
    k.run_on(f"migration/{cpu}", cpu, take_cpu_down)
    BUG_ON(k, cpu_online(k, cpu), "cpu_online(cpu)")

    # What cpuhp_report_idle_dead() says with the CPU's last breath.
    cpuhp_state(k, cpu).state = CPUHP_AP_IDLE_DEAD
    if k.arch.arch_cpuhp_cleanup_dead_cpu:
        k.arch.arch_cpuhp_cleanup_dead_cpu(k, cpu)
    return 0


@kernel_function()
def finish_cpu(k: Kernel, cpu: int) -> int:
    """Give up what the idle task of a dead CPU still holds; nothing of that is modelled."""
    return 0


def own_states(k: Kernel) -> dict[int, cpuhp_step]:
    """Return the states that are the kernel's own: those in which the CPU itself comes and goes."""
    startup = cpuhp_bringup_ap if "HOTPLUG_SPLIT_STARTUP" in k.arch.config else bringup_cpu
    return {
        CPUHP_BRINGUP_CPU: cpuhp_step("cpu:bringup", startup, finish_cpu),
        CPUHP_TEARDOWN_CPU: cpuhp_step("cpu:teardown", None, takedown_cpu),
    }
