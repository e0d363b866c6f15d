# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors kernel/cpu.c: installing a state of CPU hotplug, and removing it.

Installing a state runs its startup callback on each present CPU that has climbed that far: in ascending
order, one CPU after the other, each on that CPU's own hotplug thread while the caller waits. If one
fails, those below it are torn down, ascending too; the failed CPU itself is not.
"""

from __future__ import annotations

from kvm_ref.errno import EAGAIN, EBUSY, EINVAL, ENOSPC, KernelError
from kvm_ref.kernel import Kernel
from kvm_ref.linux.cpu import (
    Callback,
    Cpuhp,
    cpuhp_invoke_callback,
    cpuhp_is_ap_state,
    cpuhp_state,
    cpuhp_step,
    cpus_read_lock,
    cpus_read_unlock,
)
from kvm_ref.linux.cpuhotplug import (
    CPUHP_AP_ONLINE_DYN,
    CPUHP_AP_ONLINE_DYN_END,
    CPUHP_BP_PREPARE_DYN,
    CPUHP_BP_PREPARE_DYN_END,
    CPUHP_OFFLINE,
    CPUHP_ONLINE,
)
from kvm_ref.linux.cpumask import cpu_online, for_each_present_cpu
from kvm_ref.linux.mutex import lockdep_assert_held, mutex_lock, mutex_unlock
from kvm_ref.linux.printk import BUG_ON, WARN_ON_ONCE
from kvm_ref.unwind import NoError, ladder, unchecked
from kvm_ref.vocabulary import kernel_function


def cpuhp_cb_check(state: int) -> bool:
    """Say whether `state` may not carry callbacks of others."""
    return state <= CPUHP_OFFLINE or state >= CPUHP_ONLINE


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
    k: Kernel,
    state: int,
    name: str | None,
    startup: Callback | None,
    teardown: Callback | None,
    multi_instance: bool,
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
        states[state] = cpuhp_step(name, startup, teardown, multi_instance)
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
    k: Kernel,
    state: int,
    name: str,
    invoke: bool,
    startup: Callback | None,
    teardown: Callback | None,
    multi_instance: bool,
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
            ret = cpuhp_store_callbacks(k, state, name, startup, teardown, multi_instance)
            if ret > 0 and dynstate:
                state = ret

            if not invoke or not startup:
                raise NoError

        for cpu in for_each_present_cpu(k):
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
                        cpuhp_store_callbacks(k, state, None, None, None, False)
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
    with ladder(k) as goto:
        with goto("remove"):
            if sp and sp.multi_instance:
                raise NoError

        with goto("remove"):
            if not invoke or not (sp and sp.teardown):
                raise NoError

        for cpu in for_each_present_cpu(k):
            cpustate = g.cpuhp_state[cpu].state

            if cpustate >= state:
                with unchecked:
                    cpuhp_issue_call(k, cpu, state, False)
    goto.reached("remove")
    with unchecked:
        cpuhp_store_callbacks(k, state, None, None, None, False)
    mutex_unlock(k, g.cpuhp_state_mutex)


def _setup(
    k: Kernel, state: int, name: str, invoke: bool, startup: Callback | None, teardown: Callback | None
) -> int:
    # __cpuhp_setup_state(), which the inline functions below are.
    cpus_read_lock(k)
    try:
        return __cpuhp_setup_state_cpuslocked(k, state, name, invoke, startup, teardown, False)
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


@kernel_function(releases="cpuhp_state", args=("state",), symbol="__cpuhp_remove_state", idempotent=True)
def cpuhp_remove_state(k: Kernel, state: int) -> None:
    """Call teardown on the CPUs that are up and remove the state (include/linux/cpuhotplug.h)."""
    _remove(k, state, True)


@kernel_function(releases="cpuhp_state", args=("state",), symbol="__cpuhp_remove_state", idempotent=True)
def cpuhp_remove_state_nocalls(k: Kernel, state: int) -> None:
    """Remove a state without calling anything (include/linux/cpuhotplug.h)."""
    _remove(k, state, False)
