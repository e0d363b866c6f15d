# SPDX-License-Identifier: GPL-2.0-only
"""CPUs that go down and come up, against kernel/cpu.c and a real kernel's trace."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from bare_machine import bare, errno_of
from hotplug_states import DOWN, HIGH, KVM, PREPARE, STARTING, UP, machine_with, short, stands

from kvm_ref import backend as backends
from kvm_ref.errno import EAGAIN, EBUSY, EINVAL, EIO, EPERM, Errno
from kvm_ref.fault import Fault, arm, parse
from kvm_ref.judged import judge
from kvm_ref.kernel import Kernel
from kvm_ref.linux.cpu import cpuhp_state
from kvm_ref.linux.cpuhotplug import (
    CPUHP_AP_OFFLINE,
    CPUHP_AP_ONLINE,
    CPUHP_BRINGUP_CPU,
    CPUHP_INVALID,
    CPUHP_ONLINE,
    CPUHP_TEARDOWN_CPU,
)
from kvm_ref.linux.cpumask import format_list
from kvm_ref.linux.hotplug import (
    _cpu_down,
    cpu_device_down,
    cpu_device_up,
    cpu_hotplug_disable,
    cpu_hotplug_enable,
    write_cpuhp_fail,
)
from kvm_ref.linux.nonboot import freeze_secondary_cpus, thaw_secondary_cpus
from kvm_ref.scenario import Scenario, machine, perform, run
from kvm_ref.vocabulary import Vocabulary

DATA = Path(__file__).parent.parent / "data"


def cpuhp_calls(events: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    """Return the callbacks of a trace, whether they begin or end, and what they returned."""
    return [
        (e["kind"], e["task"], e["cpu"], (e["args"] or {}).get("target"), (e["args"] or {}).get("callback"))
        if e["kind"] == "enter"
        else (e["kind"], e["task"], e["cpu"], e["value"])
        for e in events
        if e["function"] == "cpuhp_cb"
    ]


def jumps(k: Kernel, function: str) -> list[tuple[str, object]]:
    """Return the labels that a function jumped to, each with the error."""
    return [((e[3] or {})["label"], e[4]) for e in k.events if e[0] == "goto" and e[2] == function]


def as_json(k: Kernel) -> list[dict[str, Any]]:
    keys = ("kind", "task", "cpu", "function", "args", "value")
    return [
        dict(zip(keys, (kind, at.task, at.cpu, name, args, value), strict=True))
        for kind, at, name, args, value in k.events
    ]


def do(k: Kernel, verb: str) -> int:
    """Do what the shell of the recorded scenario did, and return what it got."""
    name, _, argument = verb.partition("=")
    cpu = int(argument[0])
    error: Errno | None
    if name == "hotplug-fail":
        error = errno_of(lambda: k.run_on("shell", 0, write_cpuhp_fail, cpu, KVM))
    else:
        function = cpu_device_down if name == "offline" else cpu_device_up
        error = errno_of(lambda: k.run_on("shell", 0, function, cpu))
    return -(error or 0)


def test_callbacks_are_those_of_the_real_kernel() -> None:
    """Down, up, failing down, failing up: tests/data/hotplug_load1.json, step by step."""
    trace = json.loads((DATA / "hotplug_load1.json").read_text(encoding="utf-8"))
    features = trace["machine"]["features"]
    k = machine(Scenario("x86-svm", (), features=features), backends.load("x86-svm"))
    assert perform(k, "load")[0].results == [0]
    told = [s for s in trace["steps"] if s["events"] is not None]
    assert len(told) == 6
    # The machine was not looked at after the fourth step, in which CPU 2 went down.
    names = ("offline2", "online2", "fail_offline", "offline2", "fail_online", "online2b")
    for step, name in zip(told, names, strict=True):
        k.record()
        assert [do(k, verb) for verb in step["verbs"]] == step["results"]
        assert cpuhp_calls(as_json(k)) == cpuhp_calls(step["events"])
        assert format_list(k.online) == trace["after"][name]["online"]


def test_a_cpu_is_taken_down_by_a_task_of_another() -> None:
    """cpu_down_maps_locked() has the work done on the first online CPU that is not the one to go."""
    k, ran = machine_with(PREPARE)
    cpu_device_down(k, 0)
    assert ran == ["down 70 by kworker/1@1"]
    assert k.online == {1, 2}


def test_locks_are_held_around_the_walk_and_given_back() -> None:
    """cpu_add_remove_lock is outside cpu_hotplug_lock, on every way out."""
    k, _ = machine_with(KVM, fails="up 148")
    cpu_device_down(k, 2)
    assert errno_of(lambda: cpu_device_up(k, 2)) == EIO
    locks = [(e[0], e[2]) for e in k.events if e[0] in ("lock", "unlock") and e[2] != "cpuhp_state_mutex"]
    once = [("lock", "cpu_add_remove_lock"), ("lock", "cpu_hotplug_lock"),
            ("unlock", "cpu_hotplug_lock"), ("unlock", "cpu_add_remove_lock")]  # fmt: skip
    assert locks == [("lock", "cpu_hotplug_lock"), ("unlock", "cpu_hotplug_lock"), *once, *once]


def test_what_is_there_already_is_fine() -> None:
    """_cpu_up() leaves where st->state >= target; _cpu_down() has no state left to walk through."""
    k, ran = machine_with(KVM)
    cpu_device_up(k, 1)
    assert stands(k, 1) == UP
    cpu_device_down(k, 1)
    cpu_device_down(k, 1)
    assert stands(k, 1) == DOWN
    assert short(ran) == ["down 148"]
    assert jumps(k, "_cpu_up") == [("out", None)]


def test_a_walk_that_ends_on_the_hotplug_thread() -> None:
    """_cpu_down() leaves where st->state > CPUHP_TEARDOWN_CPU; the thread has done it all."""
    k, ran = machine_with(KVM)
    _cpu_down(k, 1, KVM)
    assert cpuhp_state(k, 1).state == KVM
    assert short(ran) == []
    assert jumps(k, "_cpu_down") == [("out", None)]


def test_the_last_cpu_stays() -> None:
    """cpu_down_maps_locked() finds nobody else, and _cpu_down() sees num_online_cpus() == 1: -EBUSY."""
    k, _ = machine_with(online=(1,))
    assert errno_of(lambda: cpu_device_down(k, 1)) == EBUSY
    assert errno_of(lambda: cpu_device_down(k, 0)) == EBUSY


def test_cpus_that_are_not_there_are_invalid() -> None:
    """_cpu_up() and _cpu_down() ask cpu_present(), cpu_up() asks cpu_possible() first and says so."""
    k = bare(4, online=(0, 1))
    k.present = (0, 1, 2)
    assert errno_of(lambda: cpu_device_down(k, 3)) == EINVAL
    assert errno_of(lambda: cpu_device_up(k, 3)) == EINVAL
    assert k.log == []
    assert errno_of(lambda: cpu_device_up(k, 9)) == EINVAL
    assert k.log == ["can't online cpu 9 because it is not configured as may-hotadd at boot time"]


def test_user_space_is_refused_while_hotplug_is_disabled() -> None:
    """cpu_hotplug_disabled gives -EBUSY both ways, and counts; enabling too often warns once."""
    k, _ = machine_with(online=(0, 1))
    cpu_hotplug_disable(k)
    cpu_hotplug_disable(k)
    cpu_hotplug_enable(k)
    assert errno_of(lambda: cpu_device_up(k, 2)) == EBUSY
    assert errno_of(lambda: cpu_device_down(k, 1)) == EBUSY
    cpu_hotplug_enable(k)
    cpu_device_up(k, 2)
    cpu_hotplug_enable(k)
    assert [e[4] for e in k.events if e[0] == "warn"] == ["Unbalanced cpu hotplug enable"]


def test_what_may_be_made_to_fail() -> None:
    """fail_store() refuses what is no state, what runs with interrupts off, and what calls nothing."""
    k, _ = machine_with(PREPARE, STARTING, KVM, online=(0, 1))
    refused = [-2, CPUHP_ONLINE + 1, CPUHP_AP_OFFLINE, STARTING, CPUHP_AP_ONLINE, HIGH]
    for cpu, states in ((1, [*refused, PREPARE, CPUHP_BRINGUP_CPU]), (2, refused)):
        for state in states:
            assert errno_of(partial(write_cpuhp_fail, k, cpu, state)) == EINVAL
            assert cpuhp_state(k, cpu).fail == CPUHP_INVALID
    for cpu, states in ((1, [KVM, CPUHP_TEARDOWN_CPU]), (2, [PREPARE, CPUHP_BRINGUP_CPU, KVM])):
        for state in [*states, CPUHP_INVALID]:
            write_cpuhp_fail(k, cpu, state)
            assert cpuhp_state(k, cpu).fail == state


def test_freezing_goes_down_and_thawing_up() -> None:
    """freeze_secondary_cpus() takes the highest first; user space is refused until the thaw."""
    k, _ = machine_with()
    freeze_secondary_cpus(k, 0)
    assert k.online == {0}
    assert errno_of(lambda: cpu_device_up(k, 1)) == EBUSY
    thaw_secondary_cpus(k)
    assert k.online == {0, 1, 2}
    walked = [(e[2], e[3]["cpu"]) for e in k.events if e[0] == "enter" and e[3] and "target" in e[3]]
    assert [w for w in walked if w[0] in ("_cpu_down", "_cpu_up")] == [
        ("_cpu_down", 2),
        ("_cpu_down", 1),
        ("_cpu_up", 1),
        ("_cpu_up", 2),
    ]
    assert k.log == ["Disabling non-boot CPUs ...", "Enabling non-boot CPUs ...", "CPU1 is up", "CPU2 is up"]


@pytest.mark.parametrize("primary", [-1, 0])
def test_the_first_online_cpu_stands_in_for_one_that_is_not(primary: int) -> None:
    """freeze_secondary_cpus() takes cpumask_first(cpu_online_mask) then; CPUs that were down stay so."""
    k, _ = machine_with(online=(1, 2))
    freeze_secondary_cpus(k, primary)
    assert k.online == {1}
    thaw_secondary_cpus(k)
    assert k.online == {1, 2}


def test_a_freeze_that_fails_is_thawed_as_far_as_it_went() -> None:
    """A CPU that does not go down ends the freeze; thaw_secondary_cpus() brings up the others."""
    k, _ = machine_with(KVM)
    write_cpuhp_fail(k, 1, KVM)
    assert errno_of(lambda: freeze_secondary_cpus(k, 0)) == EAGAIN
    assert k.online == {0, 1}
    assert k.log[1:] == ["Error taking CPU1 down: -11", "Non-boot CPUs are not disabled"]
    thaw_secondary_cpus(k)
    assert k.online == {0, 1, 2}


def test_a_wakeup_ends_the_freeze() -> None:
    """pm_wakeup_pending() is asked before each CPU; if nothing was frozen thaw_secondary_cpus() goes to ``out``."""
    k, _ = machine_with()
    arm(k, [parse("pm_wakeup_pending")], Vocabulary())
    assert errno_of(lambda: freeze_secondary_cpus(k, 0)) == EBUSY
    thaw_secondary_cpus(k)
    assert jumps(k, "thaw_secondary_cpus") == [("out", None)]
    assert k.online == {0, 1, 2}
    assert k.log == [
        "Disabling non-boot CPUs ...",
        "Wakeup pending. Abort CPU freeze",
        "Non-boot CPUs are not disabled",
    ]
    cpu_device_down(k, 2)


def test_a_cpu_that_does_not_come_back_stays_down() -> None:
    """thaw_secondary_cpus() logs the error, and goes on with the next CPU."""
    k, _ = machine_with(KVM)
    freeze_secondary_cpus(k, 0)
    write_cpuhp_fail(k, 1, KVM)
    thaw_secondary_cpus(k)
    assert k.online == {0, 2}
    assert k.log[2:] == ["Error taking CPU1 up: -11", "CPU2 is up"]


def test_a_thread_that_may_not_run() -> None:
    """cpu_up() asks cpu_bootable() after it has asked whether hotplug is off, and gives -EPERM."""
    k, _ = machine_with(online=(0, 1))
    arm(k, [parse("cpu_bootable")], Vocabulary())
    assert errno_of(lambda: cpu_device_up(k, 2)) == EPERM
    assert jumps(k, "cpu_up") == [("out", -1)]


@pytest.mark.parametrize(
    "fail", ["cpu_bootable", "cpu_up=EINVAL", "__cpu_disable", "takedown_cpu", "device_offline"]
)
def test_no_judge_minds_a_cpu_that_stays(fail: str) -> None:
    """Each error on the way is one that its function declares, and nothing is left behind."""
    done = judge(run(Scenario("x86-vmx", ("load", "offline=1", "online=1"), faults=(parse(fail),))))
    assert done.idle == ()
    assert done.findings == ()


def test_a_cpu_without_an_idle_task_stays_down() -> None:
    """_cpu_up() of kernel/cpu.c asks for it before anything else, and only of a CPU that is wholly down."""
    verbs = ("load", "offline=1", "online=1")
    done = run(Scenario("x86-svm", verbs, faults=(Fault("idle_thread_get"),)), backends.load("x86-svm"))
    online = done.trace.steps[2]
    assert online.results == [-12]
    names = [event[2] for event in online.events or () if event[0] in ("enter", "goto")]
    first = names.index("cpu_up")
    assert names[first:] == [
        "cpu_up",
        "cpu_bootable",
        "_cpu_up",
        "idle_thread_get",
        "_cpu_up",
        "arch_smt_update",
    ]
    assert [e[3] for e in online.events or () if e[0] == "goto"] == [{"label": "out"}]
