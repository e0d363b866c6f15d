# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors kernel/cpu.c: the states of CPU hotplug, and the callbacks that a state carries.

Every CPU climbs through numbered states on its way up and back through them on its way down. A
state may have a startup and a teardown callback. How one is installed is in kvm_ref/linux/cpuhp_setup.py.
"""

from __future__ import annotations

from collections.abc import Callable

from kvm_ref.errno import EAGAIN, KernelError
from kvm_ref.kernel import Kernel, Statics
from kvm_ref.linux.cpuhotplug import (
    CPUHP_BRINGUP_CPU,
    CPUHP_INVALID,
    CPUHP_OFFLINE,
    CPUHP_ONLINE,
    CPUHP_TEARDOWN_CPU,
    OWN,
)
from kvm_ref.linux.cpumask import cpu_online
from kvm_ref.linux.mutex import Mutex, mutex_lock, mutex_unlock
from kvm_ref.linux.printk import WARN_ON_ONCE
from kvm_ref.vocabulary import kernel_function

Callback = Callable[[Kernel, int], int]


class cpuhp_step:
    """One state's callbacks; without a name it is free. One for many instances has none of these here."""

    __slots__ = ("multi_instance", "name", "startup", "teardown")

    def __init__(
        self, name: str, startup: Callback | None, teardown: Callback | None, multi_instance: bool = False
    ) -> None:
        self.name = name
        self.startup = startup
        self.teardown = teardown
        self.multi_instance = multi_instance


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
        from kvm_ref.linux.bringup import own_states

        self.cpuhp_hp_states.update(own_states(k))
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

    if step and step.multi_instance:
        # It would be called for each instance; nothing here adds one.
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
