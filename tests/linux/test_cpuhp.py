# SPDX-License-Identifier: GPL-2.0-only
"""How a CPU walks through its states and back after a failure, against kernel/cpu.c."""

from __future__ import annotations

import pytest
from bare_machine import errno_of
from hotplug_states import DOWN, HIGH, KVM, LOW, PREPARE, STARTING, UP, machine_with, short, stands

from kvm_ref.errno import EAGAIN, EIO, ENOSPC
from kvm_ref.fault import arm, parse
from kvm_ref.linux.cpuhotplug import CPUHP_AP_ONLINE_IDLE, CPUHP_OFFLINE, CPUHP_ONLINE, CPUHP_TEARDOWN_CPU
from kvm_ref.linux.hotplug import (
    _cpu_down,
    _cpu_up,
    cpu_device_down,
    cpu_device_up,
    write_cpuhp_fail,
)
from kvm_ref.vocabulary import Vocabulary


def test_each_state_is_called_where_the_c_calls_it() -> None:
    """AP states run on the hotplug thread, STARTING and DYING on the CPU itself, PREPARE by the caller."""
    k, ran = machine_with(PREPARE, STARTING, LOW, HIGH)
    cpu_device_down(k, 2)
    assert ran == [
        "down 200 by cpuhp/2@2",
        "down 147 by cpuhp/2@2",
        "down 100 by migration/2@2",
        "down 70 by kworker/0@0",
    ]
    assert stands(k, 2) == DOWN
    ran.clear()
    cpu_device_up(k, 2)
    assert ran == [
        "up 70 by init@0",
        "up 100 by swapper/2@2",
        "up 147 by cpuhp/2@2",
        "up 200 by cpuhp/2@2",
    ]
    assert stands(k, 2) == UP


def test_a_failing_teardown_climbs_back_past_the_state_that_failed() -> None:
    """cpuhp_reset_state() starts the way back beyond the failed state; its startup is not called."""
    k, ran = machine_with(LOW, KVM, HIGH, fails="down 148")
    assert errno_of(lambda: cpu_device_down(k, 2)) == EIO
    assert short(ran) == ["down 200", "down 148", "up 200"]
    assert stands(k, 2) == UP


def test_a_failing_startup_takes_the_cpu_down_again() -> None:
    """The thread walks back to CPUHP_AP_ONLINE_IDLE, then the caller takes the CPU down."""
    k, ran = machine_with(PREPARE, STARTING, LOW, KVM, HIGH, fails="up 148", online=(0, 1))
    assert errno_of(lambda: cpu_device_up(k, 2)) == EIO
    assert ran == [
        "up 70 by init@0",
        "up 100 by swapper/2@2",
        "up 147 by cpuhp/2@2",
        "up 148 by cpuhp/2@2",
        "down 147 by cpuhp/2@2",
        "down 100 by migration/2@2",
        "down 70 by init@0",
    ]
    assert stands(k, 2) == DOWN


def test_a_failure_of_the_first_ap_state_leaves_the_thread_nothing_to_undo() -> None:
    """__cpuhp_kick_ap() returns where st->state == st->target."""
    k, ran = machine_with(LOW, fails="up 147", online=(0, 1))
    assert errno_of(lambda: cpu_device_up(k, 2)) == EIO
    assert short(ran) == ["up 147"]
    assert stands(k, 2) == DOWN


def test_a_failure_on_the_way_back_warns() -> None:
    """cpuhp_thread_fun() has WARN_ON_ONCE(st->rollback); the caller gets the first error."""
    k, ran = machine_with(KVM, HIGH, fails="down 148, up 200")
    assert errno_of(lambda: cpu_device_down(k, 2)) == EIO
    assert short(ran) == ["down 200", "down 148", "up 200"]
    assert [e[4] for e in k.events if e[0] == "warn"] == ["st->rollback"]


def test_callbacks_with_interrupts_off_cannot_stop_the_walk() -> None:
    """__cpuhp_invoke_callback_range() with nofail logs, names the state the CPU is in, and goes on."""
    fails = "up 100, down 100, down 99"
    k, ran = machine_with(STARTING - 1, STARTING, fails=fails)
    cpu_device_down(k, 2)
    cpu_device_up(k, 2)
    assert short(ran) == ["down 100", "down 99", "up 99", "up 100"]
    assert k.log == [
        "CPU 2 DOWN state s99 (99) failed (-5)",
        "CPU 2 DOWN state (null) (98) failed (-5)",
        "CPU 2 UP state s100 (100) failed (-5)",
    ]
    assert stands(k, 2) == UP


def test_a_failing_prepare_state_is_undone_by_the_caller() -> None:
    """cpuhp_up_callbacks() walks back; if that fails too it warns, and the first error counts."""
    k, ran = machine_with(PREPARE - 1, PREPARE, fails="up 70, down 69", online=(0, 1))
    assert errno_of(lambda: cpu_device_up(k, 2)) == EIO
    assert short(ran) == ["up 69", "up 70", "down 69"]
    assert [e[2] for e in k.events if e[0] == "warn"] == ["cpuhp_up_callbacks"]
    assert k.online == {0, 1}


@pytest.mark.parametrize("comes_back", [True, False])
def test_a_failure_after_the_cpu_died_brings_it_up_half_way(comes_back: bool) -> None:
    """cpuhp_down_callbacks() climbs to where it began, below the thread's states, and that warns."""
    fails = "down 70" if comes_back else "down 70, up 71"
    k, ran = machine_with(PREPARE, PREPARE + 1, KVM, fails=fails)
    assert errno_of(lambda: cpu_device_down(k, 2)) == EIO
    assert short(ran) == ["down 148", "down 71", "down 70", "up 71"]
    warned = [e[2] for e in k.events if e[0] == "warn"]
    assert warned == ([] if comes_back else ["cpuhp_down_callbacks"]) + ["_cpu_down"]
    assert (2 in k.online) == comes_back
    if comes_back:
        assert stands(k, 2) == (CPUHP_AP_ONLINE_IDLE, CPUHP_TEARDOWN_CPU, True)


@pytest.mark.parametrize("how", ["asked", "refused"])
def test_a_cpu_that_does_not_die_climbs_back(how: str) -> None:
    """_cpu_down() kicks the thread once more if CPUHP_TEARDOWN_CPU failed."""
    k, ran = machine_with(KVM)
    if how == "asked":
        write_cpuhp_fail(k, 2, CPUHP_TEARDOWN_CPU)
    else:
        arm(k, [parse("takedown_cpu=ENOSPC")], Vocabulary())
    assert errno_of(lambda: cpu_device_down(k, 2)) == (EAGAIN if how == "asked" else ENOSPC)
    assert short(ran) == ["down 148", "up 148"]
    assert stands(k, 2) == UP


def test_a_cpu_that_does_not_come_alive_is_given_up() -> None:
    """cpuhp_bp_sync_alive() gives -EIO; the states that the caller walked through are undone."""
    k, ran = machine_with(PREPARE, KVM, online=(0, 1))
    arm(k, [parse("cpuhp_bringup_ap")], Vocabulary())
    assert errno_of(lambda: cpu_device_up(k, 2)) == EIO
    assert short(ran) == ["up 70", "down 70"]
    assert stands(k, 2) == DOWN


def test_a_walk_may_stop_on_the_way() -> None:
    """A target between the states of the hotplug thread leaves the CPU there, both ways."""
    k, ran = machine_with(LOW, KVM, HIGH)
    _cpu_down(k, 2, KVM)
    assert stands(k, 2) == (KVM, KVM, True)
    _cpu_up(k, 2, CPUHP_ONLINE)
    assert stands(k, 2) == UP
    _cpu_down(k, 2, CPUHP_OFFLINE)
    _cpu_up(k, 2, CPUHP_AP_ONLINE_IDLE)
    assert stands(k, 2) == (CPUHP_AP_ONLINE_IDLE, CPUHP_AP_ONLINE_IDLE, True)
    assert short(ran) == ["down 200", "up 200", "down 200", "down 148", "down 147"]


def test_a_failure_on_the_thread_alone_is_undone_there() -> None:
    """_cpu_up() leaves where cpuhp_kick_ap_work() failed: the CPU is back where it was."""
    k, ran = machine_with(KVM, HIGH, fails="up 200")
    _cpu_down(k, 2, LOW)
    assert errno_of(lambda: _cpu_up(k, 2, CPUHP_ONLINE)) == EIO
    assert short(ran) == ["down 200", "down 148", "up 148", "up 200", "down 148"]
    assert stands(k, 2) == (LOW, LOW, True)


def test_a_walk_below_the_cpus_own_states_fails_without_a_warning() -> None:
    """_cpu_down() of a CPU that never ran: the caller climbs back to where the CPU was, all is well."""
    k, ran = machine_with(PREPARE, PREPARE + 1, fails="down 70", online=(0, 1))
    _cpu_up(k, 2, PREPARE + 1)
    assert errno_of(lambda: _cpu_down(k, 2, CPUHP_OFFLINE)) == EIO
    assert short(ran) == ["up 70", "up 71", "down 71", "down 70", "up 71"]
    assert stands(k, 2) == (PREPARE + 1, PREPARE + 1, False)
    assert "warn" not in [e[0] for e in k.events]
