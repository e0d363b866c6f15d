# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors kernel/cpu.c: taking a CPU down and bringing it up.

What user space asks for can be refused for a while (cpu_hotplug_disable()); what the kernel does by itself
cannot (kvm_ref/linux/nonboot.py). How one CPU walks through its states is in kvm_ref/linux/cpuhp.py.
"""

from __future__ import annotations

from kvm_ref.errno import EBUSY, EINVAL, EPERM, ErrPtr, KernelError
from kvm_ref.kernel import Kernel, Statics
from kvm_ref.linux.cpu import Cpuhp, cpuhp_state, cpus_write_lock, cpus_write_unlock
from kvm_ref.linux.cpuhotplug import (
    CPUHP_AP_IDLE_DEAD,
    CPUHP_AP_ONLINE,
    CPUHP_BRINGUP_CPU,
    CPUHP_INVALID,
    CPUHP_OFFLINE,
    CPUHP_ONLINE,
    CPUHP_TEARDOWN_CPU,
)
from kvm_ref.linux.cpuhp import (
    __cpuhp_kick_ap,
    cpuhp_down_callbacks,
    cpuhp_kick_ap_work,
    cpuhp_reset_state,
    cpuhp_set_state,
    cpuhp_step_empty,
    cpuhp_up_callbacks,
)
from kvm_ref.linux.cpumask import for_each_online_cpu
from kvm_ref.linux.mutex import Mutex, guard, mutex_lock, mutex_unlock
from kvm_ref.linux.printk import WARN_ON, WARN_ON_ONCE, pr_err
from kvm_ref.linux.smpboot import idle_thread_get
from kvm_ref.unwind import NoError, ladder, unchecked
from kvm_ref.vocabulary import kernel_function


class Hotplug(Statics):
    """The static variables of kernel/cpu.c that the walks use."""

    __slots__ = ("cpu_add_remove_lock", "cpu_hotplug_disabled", "frozen_cpus")

    def __init__(self) -> None:
        self.cpu_add_remove_lock = Mutex("cpu_add_remove_lock")
        self.cpu_hotplug_disabled = 0
        self.frozen_cpus: list[int] = []


def cpu_maps_update_begin(k: Kernel) -> None:
    """Keep others from taking CPUs up or down (kernel/cpu.c)."""
    mutex_lock(k, k[Hotplug].cpu_add_remove_lock)


def cpu_maps_update_done(k: Kernel) -> None:
    """Let others take CPUs up and down (kernel/cpu.c)."""
    mutex_unlock(k, k[Hotplug].cpu_add_remove_lock)


def cpu_hotplug_disable(k: Kernel) -> None:
    """Refuse what user space asks of CPUs, until as many cpu_hotplug_enable() (kernel/cpu.c)."""
    cpu_maps_update_begin(k)
    k[Hotplug].cpu_hotplug_disabled += 1
    cpu_maps_update_done(k)


def __cpu_hotplug_enable(k: Kernel) -> None:
    """Undo one cpu_hotplug_disable() for who keeps others out already (kernel/cpu.c)."""
    g = k[Hotplug]
    if WARN_ON_ONCE(k, not g.cpu_hotplug_disabled, "Unbalanced cpu hotplug enable"):
        return
    g.cpu_hotplug_disabled -= 1


def cpu_hotplug_enable(k: Kernel) -> None:
    """Undo one cpu_hotplug_disable() (kernel/cpu.c)."""
    cpu_maps_update_begin(k)
    __cpu_hotplug_enable(k)
    cpu_maps_update_done(k)


@kernel_function()
def arch_smt_update(k: Kernel) -> None:
    """Let the architecture know that there may be other threads now; x86 adapts what keeps them apart."""


@kernel_function(fails=EBUSY, args=("cpu", "target"))
def _cpu_down(k: Kernel, cpu: int, target: int) -> None:
    """Take a CPU down to `target`; one that is there already is fine.

    Raises:
        KernelError: it is the last one (EBUSY), is not there (EINVAL), or what a state gave; the
            CPU runs on then.
    """
    if len(k.online) == 1:
        raise KernelError(EBUSY)

    if cpu not in k.present:
        raise KernelError(EINVAL)

    st = cpuhp_state(k, cpu)
    ret: KernelError | None = None
    with ladder(k) as goto:
        cpus_write_lock(k)

        prev_state = cpuhp_set_state(st, target)
        if st.state > CPUHP_TEARDOWN_CPU:
            st.target = max(target, CPUHP_TEARDOWN_CPU)
            with goto("out"):
                cpuhp_kick_ap_work(k, cpu)

            with goto("out"):
                # The hotplug thread was asked to stop above this.
                if st.state > CPUHP_TEARDOWN_CPU:
                    raise NoError

            st.target = target

        try:
            cpuhp_down_callbacks(k, cpu, st, target)
        except KernelError as error:
            # Not a jump: the label stands below.
            ret = error.with_traceback(None)
            if st.state < prev_state:
                if st.state == CPUHP_TEARDOWN_CPU:
                    cpuhp_reset_state(st, prev_state)
                    with unchecked:
                        __cpuhp_kick_ap(k, cpu, st)
                else:
                    WARN_ON(k, True, f"DEAD callback error for CPU{cpu}")
    goto.reached("out")
    cpus_write_unlock(k)
    arch_smt_update(k)
    if goto.failed:
        raise goto.error
    if ret:
        raise ret


@kernel_function(fails=EINVAL, args=("cpu", "target"))
def _cpu_up(k: Kernel, cpu: int, target: int) -> None:
    """Bring a CPU up to `target`; one that is there already is fine.

    Raises:
        KernelError: it is not plugged in (EINVAL), it has no idle task (ENOMEM), or what a state gave; the CPU
            is down then.
    """
    ret: KernelError | None = None
    with ladder(k) as goto:
        cpus_write_lock(k)

        with goto("out"):
            if cpu not in k.present:
                raise KernelError(EINVAL)

        st = cpuhp_state(k, cpu)
        with goto("out"):
            if st.state >= target:
                raise NoError

        if st.state == CPUHP_OFFLINE:
            idle = idle_thread_get(k, cpu)
            with goto("out"):
                if isinstance(idle, ErrPtr):
                    raise KernelError(idle.error)

        cpuhp_set_state(st, target)
        if st.state > CPUHP_BRINGUP_CPU:
            with goto("out"):
                cpuhp_kick_ap_work(k, cpu)

        # From there on the CPU itself walks to the target, which st holds.
        try:
            cpuhp_up_callbacks(k, cpu, st, min(target, CPUHP_BRINGUP_CPU))
        except KernelError as error:
            # Not a jump: the label stands below.
            ret = error.with_traceback(None)
    goto.reached("out")
    cpus_write_unlock(k)
    arch_smt_update(k)
    if goto.failed:
        raise goto.error
    if ret:
        raise ret


def cpu_down_maps_locked(k: Kernel, cpu: int, target: int) -> None:
    """Take a CPU down, by a task on another one (kernel/cpu.c).

    Raises:
        KernelError: EBUSY, that is refused now, or there is no other one; or what _cpu_down() gives.
    """
    if k[Hotplug].cpu_hotplug_disabled:
        raise KernelError(EBUSY)

    for other in for_each_online_cpu(k):
        if other != cpu:
            k.run_on(f"kworker/{other}", other, _cpu_down, cpu, target)
            return
    raise KernelError(EBUSY)


@kernel_function(fails=EBUSY, args=("cpu", "target"))
def cpu_down(k: Kernel, cpu: int, target: int) -> None:
    """Take a CPU down for user space; EBUSY while that is refused, or if it is the last one."""
    cpu_maps_update_begin(k)
    try:
        cpu_down_maps_locked(k, cpu, target)
    finally:
        cpu_maps_update_done(k)


def cpu_device_down(k: Kernel, cpu: int) -> None:
    """Take a CPU down, as writing 0 to its file ``online`` does (kernel/cpu.c).

    Raises:
        KernelError: what cpu_down() gives. A CPU that is down already stays so, without an error.
    """
    cpu_down(k, cpu, CPUHP_OFFLINE)


@kernel_function(fails=False, args=("cpu",))
def cpu_bootable(k: Kernel, cpu: int) -> bool:
    """Say whether a CPU may be started: a core's other threads may not, if these are off (kernel/cpu.c)."""
    return True


@kernel_function(fails=(EBUSY, EINVAL, EPERM), args=("cpu", "target"))
def cpu_up(k: Kernel, cpu: int, target: int) -> None:
    """Bring a CPU up for user space; EBUSY while that is refused, EINVAL if there can be none, EPERM if it may not run."""
    if cpu not in k.possible:
        pr_err(k, f"can't online cpu {cpu} because it is not configured as may-hotadd at boot time")
        raise KernelError(EINVAL)

    err: KernelError | None = None
    with ladder(k) as goto:
        cpu_maps_update_begin(k)

        with goto("out"):
            if k[Hotplug].cpu_hotplug_disabled:
                raise KernelError(EBUSY)

        with goto("out"):
            if not cpu_bootable(k, cpu):
                raise KernelError(EPERM)

        try:
            _cpu_up(k, cpu, target)
        except KernelError as error:
            # Not a jump: the label stands below.
            err = error.with_traceback(None)
    goto.reached("out")
    cpu_maps_update_done(k)
    if goto.failed:
        raise goto.error
    if err:
        raise err


def cpu_device_up(k: Kernel, cpu: int) -> None:
    """Bring a CPU up, as writing 1 to its file ``online`` does (kernel/cpu.c).

    Raises:
        KernelError: what cpu_up() gives. A CPU that is up already stays so, without an error.
    """
    cpu_up(k, cpu, CPUHP_ONLINE)


def write_cpuhp_fail(k: Kernel, cpu: int, state: int) -> None:
    """Let a CPU fail at `state` once, as writing to its file ``hotplug/fail`` does (fail_store()).

    CPUHP_INVALID takes that back.

    Raises:
        KernelError: EINVAL, there is no such state, nothing is called there, or nothing may fail
            there: where interrupts are off, and where a CPU that is up could not climb back.
    """
    st = cpuhp_state(k, cpu)
    if state == CPUHP_INVALID:
        st.fail = state
        return

    if state < CPUHP_OFFLINE or state > CPUHP_ONLINE:
        raise KernelError(EINVAL)

    if CPUHP_AP_IDLE_DEAD <= state < CPUHP_AP_ONLINE:
        raise KernelError(EINVAL)

    if state <= CPUHP_BRINGUP_CPU and st.state > CPUHP_BRINGUP_CPU:
        raise KernelError(EINVAL)

    with guard(k, k[Cpuhp].cpuhp_state_mutex):
        if cpuhp_step_empty(k, True, state) and cpuhp_step_empty(k, False, state):
            raise KernelError(EINVAL)

    st.fail = state
