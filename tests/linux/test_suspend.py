# SPDX-License-Identifier: GPL-2.0-only
"""Suspend to memory and back, against kernel/power/suspend.c and a real kernel's trace."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from bare_machine import bare, errno_of

from kvm_ref import backend as backends
from kvm_ref.errno import EAGAIN, EBUSY, EIO, KernelError
from kvm_ref.fault import arm, parse
from kvm_ref.kernel import Kernel, SystemState
from kvm_ref.linux.cpu import cpuhp_state
from kvm_ref.linux.cpuhotplug import CPUHP_AP_KVM_ONLINE
from kvm_ref.linux.cpuhp_setup import cpuhp_setup_state_nocalls
from kvm_ref.linux.mutex import mutex_lock
from kvm_ref.linux.reboot import Reboot
from kvm_ref.linux.suspend import pm_suspend
from kvm_ref.linux.syscore_ops import register_syscore, syscore
from kvm_ref.scenario import Scenario, machine, perform
from kvm_ref.vocabulary import Vocabulary

DATA = Path(__file__).parent.parent / "data"
TOLD = ("cpuhp_cb", "syscore_suspend", "syscore_resume", "kvm_suspend", "kvm_resume")


def watched(cpus: int = 3, online: tuple[int, ...] | None = None) -> tuple[Kernel, list[str]]:
    """Return a machine with a syscore callback that notes who runs it, and what the machine is doing."""
    k = bare(cpus, online=online)
    ran: list[str] = []

    def note(way: str) -> None:
        ran.append(f"{way} by {k.at.task}@{k.cpu} of {sorted(k.online)} in {k.system_state.name}")

    register_syscore(k, syscore("x", lambda k: note("suspend"), lambda k: note("resume")))
    return k, ran


def unharmed(k: Kernel, cpus: int = 3) -> None:
    assert k.online == set(range(cpus))
    assert k.system_state == SystemState.SYSTEM_RUNNING
    assert not k[Reboot].system_transition_mutex.owner
    assert k.log[-1] == "PM: suspend exit"


def began(k: Kernel) -> list[str]:
    return [e[2] for e in k.events if e[0] == "enter"]


def test_the_order_is_that_of_the_real_kernel() -> None:
    """CPUs 3, 2, 1 down, syscore on CPU 0, 1, 2, 3 up: tests/data/suspend_load1.json."""
    trace = json.loads((DATA / "suspend_load1.json").read_text(encoding="utf-8"))
    features = trace["machine"]["features"]
    k = machine(Scenario("x86-svm", (), features=features), backends.load("x86-svm"))
    perform(k, "load")
    k.record()
    k.log.clear()
    k.run_on("shell", 0, pm_suspend)
    (step,) = [s for s in trace["steps"] if s["verbs"] == ["suspend"]]
    told = [
        (e["task"], e["cpu"], e["function"], (e.get("args") or {}).get("step"))
        for e in step["events"]
        if e["function"] in TOLD and e["kind"] == "enter"
    ]
    assert len(told) == 16
    assert [
        (at.task, at.cpu, function, (args or {}).get("step"))
        for kind, at, function, args, _ in k.events
        if function in TOLD and kind == "enter"
    ] == told
    # What is not in the model's log is hardware's, or tells how long something took.
    assert [line for line in trace["log"] if line in k.log] == k.log


def test_one_cpu_is_left_when_the_core_sleeps() -> None:
    """syscore callbacks run in SYSTEM_SUSPEND on CPU 0; the state is SYSTEM_RUNNING again after that."""
    k, ran = watched()
    pm_suspend(k)
    assert ran == [f"{way} by init@0 of [0] in SYSTEM_SUSPEND" for way in ("suspend", "resume")]
    unharmed(k)


def test_the_task_goes_on_where_a_cpu_is_left() -> None:
    """A task whose CPU goes down is moved: here from CPU 2 to CPU 1, as CPU 0 is offline."""
    k, ran = watched(online=(1, 2))
    k.run_on("shell", 2, pm_suspend)
    assert ran == [f"{way} by shell@1 of [1] in SYSTEM_SUSPEND" for way in ("suspend", "resume")]
    assert k.online == {1, 2}


@pytest.mark.parametrize(
    ("fault", "last"),
    [
        ("suspend_freeze_processes", "pm_notifier_call_chain"),
        ("dpm_suspend_start", "pm_notifier_call_chain"),
        ("pm_wakeup_pending", "pm_notifier_call_chain"),
        ("pm_wakeup_pending#3", "pm_notifier_call_chain"),
        ("pm_wakeup_pending#4", "pm_notifier_call_chain"),
        ("syscore_suspend", "pm_notifier_call_chain"),
    ],
)
def test_what_stops_a_suspend_leaves_the_machine_as_it_was(fault: str, last: str) -> None:
    """Each label undoes what was done: all CPUs run, nothing is locked, tasks that were frozen thaw."""
    k, ran = watched()
    arm(k, [parse(fault)], Vocabulary())
    assert errno_of(lambda: pm_suspend(k)) == EBUSY
    unharmed(k)
    assert began(k)[-1] == last
    assert len(ran) == (2 if fault.endswith("#4") else 0)


def test_devices_that_do_not_suspend_are_told_of_and_resumed() -> None:
    """suspend_devices_and_enter() goes by Recover_platform to Resume_devices; no CPU goes down."""
    k, _ = watched()
    arm(k, [parse("dpm_suspend_start")], Vocabulary())
    assert errno_of(lambda: pm_suspend(k)) == EBUSY
    assert "PM: Some devices failed to suspend, or early wake event detected" in k.log
    assert "dpm_resume_end" in began(k)
    assert "freeze_secondary_cpus" not in began(k)


def test_a_cpu_that_does_not_go_down_keeps_the_core_awake() -> None:
    """suspend_enter() goes to Enable_cpus: the CPUs that went down come up, syscore is not called."""
    k, ran = watched(4)

    def call(k: Kernel, cpu: int) -> int:
        return 0

    cpuhp_setup_state_nocalls(k, CPUHP_AP_KVM_ONLINE, "x", call, call)
    cpuhp_state(k, 2).fail = CPUHP_AP_KVM_ONLINE
    assert errno_of(lambda: pm_suspend(k)) == EAGAIN
    assert ran == []
    assert ("goto", "suspend_enter", {"label": "Enable_cpus"}) in [(e[0], e[2], e[3]) for e in k.events]
    unharmed(k, 4)


def test_a_core_that_does_not_suspend_is_not_resumed() -> None:
    """syscore_suspend() resumes what it suspended; suspend_enter() calls syscore_resume() only if it did not fail."""
    k, ran = watched()

    def fails(k: Kernel) -> None:
        raise KernelError(EIO)

    register_syscore(k, syscore("bad", fails))
    assert errno_of(lambda: pm_suspend(k)) == EIO
    assert ran == []
    assert "syscore_resume" not in began(k)
    unharmed(k)


def test_only_one_transition_at_a_time() -> None:
    """enter_state() tries system_transition_mutex, and gives -EBUSY if it is held."""
    k, _ = watched()
    mutex_lock(k, k[Reboot].system_transition_mutex)
    assert errno_of(lambda: pm_suspend(k)) == EBUSY
    assert k.log == ["PM: suspend entry (deep)", "PM: suspend exit"]
    assert "suspend_freeze_processes" not in began(k)
