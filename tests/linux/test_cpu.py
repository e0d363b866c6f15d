# SPDX-License-Identifier: GPL-2.0-only
"""CPU hotplug states, against kernel/cpu.c."""

from __future__ import annotations

import pytest
from bare_machine import bare, errno_of

from kvm_ref.errno import EAGAIN, EBUSY, EINVAL, EIO, ENOSPC, KernelError
from kvm_ref.kernel import Kernel, KernelBug
from kvm_ref.linux import cpu as hotplug
from kvm_ref.linux import cpuhp_setup
from kvm_ref.linux.cpu import cpuhp_state
from kvm_ref.linux.cpuhotplug import (
    CPUHP_AP_KVM_ONLINE,
    CPUHP_AP_ONLINE_DYN,
    CPUHP_BP_PREPARE_DYN,
    CPUHP_INVALID,
    CPUHP_OFFLINE,
    CPUHP_ONLINE,
)
from kvm_ref.linux.cpuhp_setup import (
    cpuhp_remove_state,
    cpuhp_remove_state_nocalls,
    cpuhp_setup_state,
    cpuhp_setup_state_nocalls,
)

STATE = CPUHP_AP_KVM_ONLINE


def callbacks(k: Kernel, ran: list[str], fails_on: int = -1) -> tuple[hotplug.Callback, hotplug.Callback]:
    def up(k: Kernel, cpu: int) -> int:
        ran.append(f"up {cpu} on {k.cpu} by {k.at.task}")
        if cpu == fails_on:
            raise KernelError(EIO)
        return 0

    def down(k: Kernel, cpu: int) -> int:
        ran.append(f"down {cpu} on {k.cpu} by {k.at.task}")
        return 0

    return up, down


def test_startup_runs_on_each_cpus_own_thread_ascending() -> None:
    """__cpuhp_setup_state_cpuslocked() walks the present CPUs upwards, each on its hotplug thread."""
    k = bare(3)
    ran: list[str] = []
    assert cpuhp_setup_state(k, STATE, "x", *callbacks(k, ran)) == 0
    assert ran == ["up 0 on 0 by cpuhp/0", "up 1 on 1 by cpuhp/1", "up 2 on 2 by cpuhp/2"]


def test_a_failure_rolls_back_the_cpus_below_ascending() -> None:
    """cpuhp_rollback_install() tears down from CPU 0 up to the failed one, which is left alone."""
    k = bare(4)
    ran: list[str] = []
    assert errno_of(lambda: cpuhp_setup_state(k, STATE, "x", *callbacks(k, ran, fails_on=2))) == EIO
    assert [r.split(" on")[0] for r in ran] == ["up 0", "up 1", "up 2", "down 0", "down 1"]
    assert errno_of(lambda: cpuhp_setup_state(k, STATE, "x", *callbacks(k, ran))) is None


def test_no_rollback_without_a_teardown_callback() -> None:
    """The C asks `if (teardown)` before it rolls back."""
    k = bare(3)
    ran: list[str] = []
    up, _ = callbacks(k, ran, fails_on=1)
    assert errno_of(lambda: cpuhp_setup_state(k, STATE, "x", up, None)) == EIO
    assert [r.split(" on")[0] for r in ran] == ["up 0", "up 1"]


def test_offline_cpus_are_passed_over() -> None:
    """A CPU below the state gets no callback (cpustate < state)."""
    k = bare(3, online=(0, 2))
    ran: list[str] = []
    cpuhp_setup_state(k, STATE, "x", *callbacks(k, ran))
    cpuhp_remove_state(k, STATE)
    assert [r.split(" on")[0] for r in ran] == ["up 0", "up 2", "down 0", "down 2"]


def test_nocalls_installs_and_removes_without_callbacks() -> None:
    """cpuhp_setup_state_nocalls() and cpuhp_remove_state_nocalls() pass invoke=false."""
    k = bare(2)
    ran: list[str] = []
    assert cpuhp_setup_state_nocalls(k, STATE, "x", *callbacks(k, ran)) == 0
    assert k[hotplug.Cpuhp].cpuhp_hp_states[STATE].name == "x"
    cpuhp_remove_state_nocalls(k, STATE)
    assert STATE not in k[hotplug.Cpuhp].cpuhp_hp_states
    assert ran == []


def test_a_state_for_instances_is_removed_without_callbacks() -> None:
    """Of a multi_instance state the callbacks are the instances', and there are none here."""
    k = bare(2)
    ran: list[str] = []
    up, down = callbacks(k, ran)
    hotplug.cpus_read_lock(k)
    cpuhp_setup.__cpuhp_setup_state_cpuslocked(k, STATE, "x", False, up, down, True)
    hotplug.cpuhp_invoke_callback(k, 1, STATE, True)
    cpuhp_setup.__cpuhp_remove_state_cpuslocked(k, STATE, True)
    hotplug.cpus_read_unlock(k)
    jumps = [(e[2], (e[3] or {})["label"], e[4]) for e in k.events if e[0] == "goto"]
    assert (ran, jumps) == (
        [],
        [
            ("__cpuhp_setup_state_cpuslocked", "out", None),
            ("__cpuhp_remove_state_cpuslocked", "remove", None),
        ],
    )
    assert STATE not in k[hotplug.Cpuhp].cpuhp_hp_states


def test_a_taken_state_is_busy() -> None:
    """cpuhp_store_callbacks() gives -EBUSY where a name is set; the first owner stays."""
    k = bare(2)
    ran: list[str] = []
    cpuhp_setup_state(k, STATE, "first", *callbacks(k, ran))
    assert errno_of(lambda: cpuhp_setup_state(k, STATE, "second", *callbacks(k, ran))) == EBUSY
    assert k[hotplug.Cpuhp].cpuhp_hp_states[STATE].name == "first"


@pytest.mark.parametrize(("base", "places"), [(CPUHP_AP_ONLINE_DYN, 41), (CPUHP_BP_PREPARE_DYN, 21)])
def test_dynamic_states_are_handed_out_in_order_until_none_is_left(base: int, places: int) -> None:
    """cpuhp_reserve_state() searches from the base to the end, both included; then -ENOSPC."""
    k = bare(1)
    given = [cpuhp_setup_state_nocalls(k, base, f"x{n}", None, None) for n in range(places)]
    assert given == list(range(base, base + places))
    assert errno_of(lambda: cpuhp_setup_state_nocalls(k, base, "more", None, None)) == ENOSPC
    cpuhp_remove_state_nocalls(k, base + 3)
    assert cpuhp_setup_state_nocalls(k, base, "again", None, None) == base + 3


def test_reserving_outside_the_dynamic_ranges_is_invalid() -> None:
    """cpuhp_reserve_state() gives -EINVAL for any other state."""
    k = bare(1)
    assert errno_of(lambda: cpuhp_setup.cpuhp_reserve_state(k, STATE)) == EINVAL


@pytest.mark.parametrize(("state", "name"), [(CPUHP_OFFLINE, "x"), (CPUHP_ONLINE, "x"), (STATE, "")])
def test_states_at_either_end_and_without_name_are_invalid(state: int, name: str) -> None:
    """cpuhp_cb_check() and a missing name give -EINVAL."""
    k = bare(1)
    assert errno_of(lambda: cpuhp_setup_state_nocalls(k, state, name, None, None)) == EINVAL


def test_removing_a_state_at_the_end_is_a_bug() -> None:
    """__cpuhp_remove_state_cpuslocked() has BUG_ON(cpuhp_cb_check(state))."""
    k = bare(1)
    with pytest.raises(KernelBug, match="cpuhp_cb_check"):
        cpuhp_remove_state(k, CPUHP_ONLINE)


def test_the_fail_value_fires_once_and_no_callback_runs() -> None:
    """cpuhp_invoke_callback() gives -EAGAIN where st->fail is the state, and clears it."""
    k = bare(2)
    ran: list[str] = []
    cpuhp_state(k, 1).fail = STATE
    assert errno_of(lambda: cpuhp_setup_state(k, STATE, "x", *callbacks(k, ran))) == EAGAIN
    assert [r.split(" on")[0] for r in ran] == ["up 0", "down 0"]
    assert cpuhp_state(k, 1).fail == CPUHP_INVALID
    assert cpuhp_setup_state(k, STATE, "x", *callbacks(k, ran)) == 0


def test_teardown_may_not_fail() -> None:
    """cpuhp_issue_call() has BUG_ON(ret && !bringup)."""
    k = bare(2)
    ran: list[str] = []
    up, _ = callbacks(k, ran)

    def down(k: Kernel, cpu: int) -> int:
        raise KernelError(EIO)

    cpuhp_setup_state(k, STATE, "x", up, down)
    with pytest.raises(KernelBug, match="ret && !bringup"):
        cpuhp_remove_state(k, STATE)


def test_states_below_bringup_run_on_the_calling_cpu() -> None:
    """cpuhp_is_ap_state() is false for the PREPARE section: the caller runs the callback."""
    k = bare(2)
    ran: list[str] = []
    cpuhp_setup_state(k, CPUHP_BP_PREPARE_DYN, "x", *callbacks(k, ran))
    assert ran == ["up 0 on 0 by init", "up 1 on 0 by init"]


def test_an_empty_step_warns_and_counts_as_done() -> None:
    """cpuhp_invoke_callback() warns once where there is no callback, and returns 0."""
    k = bare(1)
    hotplug.cpuhp_invoke_callback(k, 0, STATE, True)
    hotplug.cpuhp_invoke_callback(k, 0, STATE, True)
    assert [e[0] for e in k.events].count("warn") == 1


def test_an_ap_that_went_offline_is_not_asked() -> None:
    """cpuhp_invoke_ap_callback() returns 0 for a CPU that is not online."""
    k = bare(2)
    ran: list[str] = []
    cpuhp_state(k, 1)
    k.online.discard(1)
    cpuhp_setup_state(k, STATE, "x", *callbacks(k, ran))
    assert [r.split(" on")[0] for r in ran] == ["up 0"]


def test_locks_are_taken_outside_in_and_released() -> None:
    """cpus_read_lock() is outside cpuhp_state_mutex, on both ways out."""
    k = bare(1)
    ran: list[str] = []
    cpuhp_setup_state(k, STATE, "x", *callbacks(k, ran))
    errno_of(lambda: cpuhp_setup_state(k, STATE, "x", *callbacks(k, ran)))
    locks = [(e[0], e[2]) for e in k.events if e[0] in ("lock", "unlock")]
    once = [("lock", "cpu_hotplug_lock"), ("lock", "cpuhp_state_mutex"),
            ("unlock", "cpuhp_state_mutex"), ("unlock", "cpu_hotplug_lock")]  # fmt: skip
    assert locks == once * 2


def test_a_state_without_callback_is_passed_over() -> None:
    """cpuhp_issue_call() returns 0 where there is nothing to call."""
    k = bare(2)
    cpuhp_setup_state_nocalls(k, STATE, "x", None, None)
    cpuhp_setup.cpuhp_issue_call(k, 1, STATE, True)
    cpuhp_setup.cpuhp_issue_call(k, 1, STATE, False)
    assert "cpuhp_cb" not in [e[2] for e in k.events]


def test_rollback_passes_over_cpus_that_never_climbed() -> None:
    """cpuhp_rollback_install() asks `cpustate >= state` of each CPU below the failed one."""
    k = bare(3, online=(0, 2))
    ran: list[str] = []
    cpuhp_setup_state_nocalls(k, STATE, "x", *callbacks(k, ran))
    cpuhp_setup.cpuhp_rollback_install(k, 9, STATE)
    assert [r.split(" on")[0] for r in ran] == ["down 0", "down 2"]
