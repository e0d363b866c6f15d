# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors kernel/cpu.c: how a CPU walks through its states, up and down, and back after a failure.

Below CPUHP_BRINGUP_CPU the task that asks walks, above it the CPU's own hotplug thread. A walk that
fails goes back to where it began. The state that failed gets no callback then: it undoes its own
part.
"""

from __future__ import annotations

from kvm_ref.errno import EAGAIN, KernelError
from kvm_ref.kernel import Kernel
from kvm_ref.linux.cpu import (
    Cpuhp,
    cpuhp_cpu_state,
    cpuhp_invoke_callback,
    cpuhp_is_ap_state,
    cpuhp_state,
)
from kvm_ref.linux.cpuhotplug import CPUHP_AP_ONLINE
from kvm_ref.linux.printk import WARN_ON, WARN_ON_ONCE, pr_warn
from kvm_ref.unwind import unchecked
from kvm_ref.vocabulary import kernel_function


def cpuhp_set_state(st: cpuhp_cpu_state, target: int) -> int:
    """Aim a CPU at a state, and return the one where it is."""
    prev_state = st.state

    st.rollback = False
    st.target = target
    st.bringup = st.state < target
    return prev_state


def cpuhp_reset_state(st: cpuhp_cpu_state, prev_state: int) -> None:
    """Turn a CPU round after a failure, past the state that failed."""
    st.target = prev_state

    # The walk of the hotplug thread may have turned it round already.
    if st.rollback:
        return

    st.rollback = True
    st.state += -1 if st.bringup else 1
    st.bringup = not st.bringup


def cpuhp_step_empty(k: Kernel, bringup: bool, state: int) -> bool:
    """Say whether a state has nothing to call on the way up, or on the way down."""
    step = k[Cpuhp].cpuhp_hp_states.get(state)
    return step is None or (step.startup if bringup else step.teardown) is None


def cpuhp_next_state(k: Kernel, bringup: bool, st: cpuhp_cpu_state, target: int) -> int | None:
    """Step to the next state that has something to call, and return it; None at the target.

    The CPU counts as having passed the state before anything is called.
    """
    # C steps by one. What lies between the states that were set up is empty, and passed at once.
    for state in sorted(k[Cpuhp].cpuhp_hp_states, reverse=not bringup):
        ahead = st.state < state <= target if bringup else target < state <= st.state
        if ahead and not cpuhp_step_empty(k, bringup, state):
            st.state = state if bringup else state - 1
            return state
    st.state = max(st.state, target) if bringup else min(st.state, target)
    return None


def cpuhp_invoke_callback_range(k: Kernel, bringup: bool, cpu: int, st: cpuhp_cpu_state, target: int) -> None:
    """Walk to `target`, or up to the first state that fails."""
    while (state := cpuhp_next_state(k, bringup, st, target)) is not None:
        cpuhp_invoke_callback(k, cpu, state, bringup)


def cpuhp_invoke_callback_range_nofail(
    k: Kernel, bringup: bool, cpu: int, st: cpuhp_cpu_state, target: int
) -> None:
    """Walk to `target` whatever fails: interrupts are off, and there is no way back."""
    while (state := cpuhp_next_state(k, bringup, st, target)) is not None:
        try:
            cpuhp_invoke_callback(k, cpu, state, bringup)
        except KernelError as error:
            # The state that the CPU is in now, which on the way down is one lower.
            step = k[Cpuhp].cpuhp_hp_states.get(st.state)
            way = "UP" if bringup else "DOWN"
            name = step.name if step else "(null)"
            pr_warn(k, f"CPU {cpu} {way} state {name} ({st.state}) failed ({-(error.errno or 0)})")


def cpuhp_thread_fun(k: Kernel, cpu: int) -> bool:
    """Let the hotplug thread of a CPU take one step; False at the target."""
    st = cpuhp_state(k, cpu)
    bringup = st.bringup
    state = cpuhp_next_state(k, bringup, st, st.target)
    if state is None:
        return False

    WARN_ON_ONCE(k, not cpuhp_is_ap_state(state), "!cpuhp_is_ap_state(state)")
    try:
        cpuhp_invoke_callback(k, cpu, state, bringup)
    except KernelError:
        WARN_ON_ONCE(k, st.rollback, "st->rollback")
        raise
    return True


def _thread(k: Kernel, cpu: int) -> None:
    # smpboot_thread_fn(): one step after the other, while there is one.
    while cpuhp_thread_fun(k, cpu):
        pass


def __cpuhp_kick_ap(k: Kernel, cpu: int, st: cpuhp_cpu_state) -> None:
    if st.state == st.target:
        return
    k.run_on(f"cpuhp/{cpu}", cpu, _thread, cpu)


def cpuhp_kick_ap(k: Kernel, cpu: int, st: cpuhp_cpu_state, target: int) -> None:
    """Let the hotplug thread of a CPU walk to `target`, and back if that fails."""
    prev_state = cpuhp_set_state(st, target)
    try:
        __cpuhp_kick_ap(k, cpu, st)
    except KernelError:
        cpuhp_reset_state(st, prev_state)
        with unchecked:
            __cpuhp_kick_ap(k, cpu, st)
        raise


@kernel_function(fails=EAGAIN, args=("cpu",))
def cpuhp_kick_ap_work(k: Kernel, cpu: int) -> None:
    """Let the hotplug thread of a CPU walk to where the CPU is aimed at."""
    st = cpuhp_state(k, cpu)
    cpuhp_kick_ap(k, cpu, st, st.target)


def notify_cpu_starting(k: Kernel, cpu: int) -> None:
    """Walk through the states that a CPU passes before it takes interrupts, on that CPU."""
    st = cpuhp_state(k, cpu)
    target = min(st.target, CPUHP_AP_ONLINE)

    cpuhp_invoke_callback_range_nofail(k, True, cpu, st, target)


def cpuhp_up_callbacks(k: Kernel, cpu: int, st: cpuhp_cpu_state, target: int) -> None:
    """Walk up as the task that asks; after a failure walk back."""
    prev_state = st.state
    try:
        cpuhp_invoke_callback_range(k, True, cpu, st, target)
    except KernelError:
        cpuhp_reset_state(st, prev_state)
        try:
            cpuhp_invoke_callback_range(k, False, cpu, st, prev_state)
        except KernelError:
            WARN_ON(k, True, "cpuhp_invoke_callback_range(false, cpu, st, prev_state)")
        raise


def cpuhp_down_callbacks(k: Kernel, cpu: int, st: cpuhp_cpu_state, target: int) -> None:
    """Walk down as the task that asks; after a failure walk back."""
    prev_state = st.state
    try:
        cpuhp_invoke_callback_range(k, False, cpu, st, target)
    except KernelError:
        cpuhp_reset_state(st, prev_state)

        if st.state < prev_state:
            try:
                cpuhp_invoke_callback_range(k, True, cpu, st, prev_state)
            except KernelError:
                WARN_ON(k, True, "cpuhp_invoke_callback_range(true, cpu, st, prev_state)")
        raise
