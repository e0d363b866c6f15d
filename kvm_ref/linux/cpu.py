# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors kernel/cpu.c: the states of CPU hotplug, and the callbacks that a state carries.

Every CPU climbs through numbered states on its way up and back through them on its way down. A
state may have a startup and a teardown callback. Installing a state runs its startup callback on
each present CPU that has climbed that far: in ascending order, one CPU after the other, each on
that CPU's own hotplug thread while the caller waits. If one fails, those below it are torn down,
ascending too; the failed CPU itself is not.
"""

from __future__ import annotations

from collections.abc import Callable

from kvm_ref.errno import EAGAIN, EBUSY, EINVAL, ENOSPC, KernelError
from kvm_ref.kernel import Kernel, Statics
from kvm_ref.linux.cpuhotplug import (
    CPUHP_AP_ONLINE_DYN,
    CPUHP_AP_ONLINE_DYN_END,
    CPUHP_BP_PREPARE_DYN,
    CPUHP_BP_PREPARE_DYN_END,
    CPUHP_BRINGUP_CPU,
    CPUHP_INVALID,
    CPUHP_OFFLINE,
    CPUHP_ONLINE,
    CPUHP_TEARDOWN_CPU,
    OWN,
)
from kvm_ref.linux.cpumask import cpu_online, for_each_present_cpu
from kvm_ref.linux.mutex import Mutex, lockdep_assert_held, mutex_lock, mutex_unlock
from kvm_ref.linux.printk import BUG_ON, WARN_ON_ONCE
from kvm_ref.unwind import ladder, unchecked
from kvm_ref.vocabulary import kernel_function

Callback = Callable[[Kernel, int], int]


class cpuhp_step:
    """One state's callbacks; without a name it is free."""

    __slots__ = ("name", "startup", "teardown")

    def __init__(self, name: str, startup: Callback | None, teardown: Callback | None) -> None:
        self.name = name
        self.startup = startup
        self.teardown = teardown


class cpuhp_cpu_state:
    """How far one CPU has climbed, where it is to go, and the state that is to fail on it once."""

    __slots__ = ("bringup", "fail", "rollback", "state", "target")

    def __init__(self, state: int) -> None:
        self.state = state
        self.target = state
        self.fail = CPUHP_INVALID
        self.bringup = False
        self.rollback = False


class Cpuhp(Statics):
    """The static variables of kernel/cpu.c."""

    __slots__ = ("cpu_hotplug_lock", "cpuhp_hp_states", "cpuhp_state", "cpuhp_state_mutex")

    def __init__(self) -> None:
        self.cpu_hotplug_lock = Mutex("cpu_hotplug_lock")
        self.cpuhp_state_mutex = Mutex("cpuhp_state_mutex")
        self.cpuhp_hp_states: dict[int, cpuhp_step] = {}
        self.cpuhp_state: dict[int, cpuhp_cpu_state] = {}

    def at_boot(self, k: Kernel) -> None:
        """Have the kernel's own states, the CPUs that run at the top of them, the others at the bottom."""
        from kvm_ref.linux.cpuhp import own_states

        self.cpuhp_hp_states.update(own_states())
        for cpu in k.possible:
            self.cpuhp_state[cpu] = cpuhp_cpu_state(CPUHP_ONLINE if cpu_online(k, cpu) else CPUHP_OFFLINE)


def cpuhp_state(k: Kernel, cpu: int) -> cpuhp_cpu_state:
    """Return ``per_cpu(cpuhp_state, cpu)``."""
    return k[Cpuhp].cpuhp_state[cpu]


def cpus_read_lock(k: Kernel) -> None:
    """Keep CPUs from coming and going (kernel/cpu.c)."""
    mutex_lock(k, k[Cpuhp].cpu_hotplug_lock)


def cpus_read_unlock(k: Kernel) -> None:
    """Let CPUs come and go again (kernel/cpu.c)."""
    mutex_unlock(k, k[Cpuhp].cpu_hotplug_lock)


def cpus_write_lock(k: Kernel) -> None:
    """Let one CPU come or go, and nobody else see it (kernel/cpu.c)."""
    mutex_lock(k, k[Cpuhp].cpu_hotplug_lock)


def cpus_write_unlock(k: Kernel) -> None:
    """Let others see the CPUs again (kernel/cpu.c)."""
    mutex_unlock(k, k[Cpuhp].cpu_hotplug_lock)


def cpuhp_is_ap_state(state: int) -> bool:
    """Say whether callbacks of `state` run on the CPU itself."""
    return state > CPUHP_BRINGUP_CPU and state != CPUHP_TEARDOWN_CPU


def cpuhp_cb_check(state: int) -> bool:
    """Say whether `state` may not carry callbacks of others."""
    return state <= CPUHP_OFFLINE or state >= CPUHP_ONLINE


@kernel_function(fails=EAGAIN, args=("cpu", "state", "bringup"), only_if="bringup")
def cpuhp_invoke_callback(k: Kernel, cpu: int, state: int, bringup: bool) -> None:
    """Call a state's callback for `cpu`; -EAGAIN, once, if the CPU is set to fail there."""
    g = k[Cpuhp]
    st = g.cpuhp_state[cpu]
    step = g.cpuhp_hp_states.get(state)
    if st.fail == state:
        st.fail = CPUHP_INVALID
        raise KernelError(EAGAIN)

    cb = (step.startup if bringup else step.teardown) if step else None
    if cb is None:
        WARN_ON_ONCE(k, True, "cpuhp_step_empty(bringup, step)")
        return

    if state in OWN:
        cb(k, cpu)
    else:
        _trace_cpuhp_cb(k, cpu, st.target, state, cb)


def _trace_cpuhp_cb(k: Kernel, cpu: int, target: int, state: int, cb: Callback) -> None:
    # The tracepoints cpuhp_enter and cpuhp_exit around one callback: together the call "cpuhp_cb".
    at = k.at
    seen = {"on_cpu": cpu, "target": target, "step": state, "callback": cb.__name__}
    k.events.append(("enter", at, "cpuhp_cb", seen, None))
    k.at = at.inner or at.deeper()
    ret = 0
    try:
        ret = cb(k, cpu)
    except KernelError as error:
        ret = -(error.errno or 0)
        raise
    finally:
        k.at = at
        k.events.append(("exit", at, "cpuhp_cb", None, ret))


def _invoke_ap_callback(k: Kernel, cpu: int, state: int, bringup: bool) -> None:
    # cpuhp_invoke_ap_callback(): let the hotplug thread of the CPU call the callback, and wait for it.
    if not cpu_online(k, cpu):
        return
    k.run_on(f"cpuhp/{cpu}", cpu, cpuhp_invoke_callback, cpu, state, bringup)


@kernel_function(fails=ENOSPC)
def cpuhp_reserve_state(k: Kernel, state: int) -> int:
    """Find a free state in a dynamic range; -ENOSPC if there is none."""
    if state == CPUHP_AP_ONLINE_DYN:
        end = CPUHP_AP_ONLINE_DYN_END
    elif state == CPUHP_BP_PREPARE_DYN:
        end = CPUHP_BP_PREPARE_DYN_END
    else:
        raise KernelError(EINVAL)
    for i in range(state, end + 1):
        if i not in k[Cpuhp].cpuhp_hp_states:
            return i
    WARN_ON_ONCE(k, True, "No more dynamic states available for CPU hotplug")
    raise KernelError(ENOSPC)


@kernel_function(fails=EBUSY, args=("state", "name"), only_if="name")
def cpuhp_store_callbacks(
    k: Kernel, state: int, name: str | None, startup: Callback | None, teardown: Callback | None
) -> int:
    """Install callbacks, or with name None remove them; -EBUSY if the state is taken."""
    ret = 0
    if name and state in (CPUHP_AP_ONLINE_DYN, CPUHP_BP_PREPARE_DYN):
        ret = cpuhp_reserve_state(k, state)
        state = ret
    states = k[Cpuhp].cpuhp_hp_states
    if name and state in states:
        raise KernelError(EBUSY)

    if name:
        states[state] = cpuhp_step(name, startup, teardown)
    else:
        states.pop(state, None)
    return ret


@kernel_function(fails=EAGAIN, args=("cpu", "state", "bringup"), only_if="bringup")
def cpuhp_issue_call(k: Kernel, cpu: int, state: int, bringup: bool) -> None:
    """Call a state's startup or teardown callback for one CPU, where it is to run."""
    sp = k[Cpuhp].cpuhp_hp_states.get(state)
    if sp is None or (sp.startup if bringup else sp.teardown) is None:
        return
    try:
        if cpuhp_is_ap_state(state):
            _invoke_ap_callback(k, cpu, state, bringup)
        else:
            cpuhp_invoke_callback(k, cpu, state, bringup)
    except KernelError:
        BUG_ON(k, not bringup, "ret && !bringup")
        raise


@kernel_function(args=("failedcpu", "state"))
def cpuhp_rollback_install(k: Kernel, failedcpu: int, state: int) -> None:
    """Tear a state down on the CPUs below the one that failed."""
    for cpu in for_each_present_cpu(k):
        cpustate = cpuhp_state(k, cpu).state

        if cpu >= failedcpu:
            break

        if cpustate >= state:
            with unchecked:
                cpuhp_issue_call(k, cpu, state, False)


@kernel_function(fails=EINVAL, args=("state", "name", "invoke"))
def __cpuhp_setup_state_cpuslocked(
    k: Kernel, state: int, name: str, invoke: bool, startup: Callback | None, teardown: Callback | None
) -> int:
    """Install a state's callbacks, and call startup where the CPU has climbed that far.

    Returns:
        The number of the state if a dynamic one was asked for, else 0.
    """
    g = k[Cpuhp]
    lockdep_assert_held(k, g.cpu_hotplug_lock)

    if cpuhp_cb_check(state) or not name:
        raise KernelError(EINVAL)

    with ladder(k) as goto:
        mutex_lock(k, g.cpuhp_state_mutex)

        dynstate = state in (CPUHP_AP_ONLINE_DYN, CPUHP_BP_PREPARE_DYN)
        with goto("out"):
            ret = cpuhp_store_callbacks(k, state, name, startup, teardown)
            if ret > 0 and dynstate:
                state = ret

        for cpu in for_each_present_cpu(k) if invoke and startup else ():
            cpustate = g.cpuhp_state[cpu].state

            if cpustate < state:
                continue

            with goto("out"):
                try:
                    cpuhp_issue_call(k, cpu, state, True)
                except KernelError:
                    if teardown:
                        cpuhp_rollback_install(k, cpu, state)
                    with unchecked:
                        cpuhp_store_callbacks(k, state, None, None, None)
                    raise
    goto.reached("out")
    mutex_unlock(k, g.cpuhp_state_mutex)
    if goto.failed:
        raise goto.error
    return state if dynstate else 0


@kernel_function(args=("state", "invoke"))
def __cpuhp_remove_state_cpuslocked(k: Kernel, state: int, invoke: bool) -> None:
    """Call teardown where the CPU has climbed that far, and remove the state's callbacks."""
    g = k[Cpuhp]
    BUG_ON(k, cpuhp_cb_check(state), "cpuhp_cb_check(state)")

    lockdep_assert_held(k, g.cpu_hotplug_lock)

    mutex_lock(k, g.cpuhp_state_mutex)
    sp = g.cpuhp_hp_states.get(state)
    if invoke and sp and sp.teardown:
        for cpu in for_each_present_cpu(k):
            cpustate = g.cpuhp_state[cpu].state

            if cpustate >= state:
                with unchecked:
                    cpuhp_issue_call(k, cpu, state, False)
    with unchecked:
        cpuhp_store_callbacks(k, state, None, None, None)
    mutex_unlock(k, g.cpuhp_state_mutex)


def _setup(
    k: Kernel, state: int, name: str, invoke: bool, startup: Callback | None, teardown: Callback | None
) -> int:
    # __cpuhp_setup_state(), which the inline functions below are.
    cpus_read_lock(k)
    try:
        return __cpuhp_setup_state_cpuslocked(k, state, name, invoke, startup, teardown)
    finally:
        cpus_read_unlock(k)


def _remove(k: Kernel, state: int, invoke: bool) -> None:
    # __cpuhp_remove_state(), which the inline functions below are.
    cpus_read_lock(k)
    __cpuhp_remove_state_cpuslocked(k, state, invoke)
    cpus_read_unlock(k)


@kernel_function(
    fails=EBUSY, acquires="cpuhp_state", obj="state", args=("state", "name"), symbol="__cpuhp_setup_state"
)
def cpuhp_setup_state(
    k: Kernel, state: int, name: str, startup: Callback | None, teardown: Callback | None
) -> int:
    """Install a state and call startup on the CPUs that are up (include/linux/cpuhotplug.h).

    Raises:
        KernelError: the state is taken (EBUSY), there is no free one (ENOSPC), or a callback
            failed, with its errno; nothing is installed then.
    """
    return _setup(k, state, name, True, startup, teardown)


@kernel_function(
    fails=EBUSY, acquires="cpuhp_state", obj="state", args=("state", "name"), symbol="__cpuhp_setup_state"
)
def cpuhp_setup_state_nocalls(
    k: Kernel, state: int, name: str, startup: Callback | None, teardown: Callback | None
) -> int:
    """Install a state without calling anything (include/linux/cpuhotplug.h)."""
    return _setup(k, state, name, False, startup, teardown)


@kernel_function(releases="cpuhp_state", symbol="__cpuhp_remove_state", idempotent=True)
def cpuhp_remove_state(k: Kernel, state: int) -> None:
    """Call teardown on the CPUs that are up and remove the state (include/linux/cpuhotplug.h)."""
    _remove(k, state, True)


@kernel_function(releases="cpuhp_state", symbol="__cpuhp_remove_state", idempotent=True)
def cpuhp_remove_state_nocalls(k: Kernel, state: int) -> None:
    """Remove a state without calling anything (include/linux/cpuhotplug.h)."""
    _remove(k, state, False)
