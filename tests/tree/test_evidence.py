# SPDX-License-Identifier: GPL-2.0-only
"""What the model does in each of its functions: bodies, and the run that shows each first."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from tape import Tape

from kvm_ref import backend as backends
from kvm_ref.trace import Step
from kvm_ref.tree.bodies import Body
from kvm_ref.tree.cases import Cases
from kvm_ref.tree.evidence import LIFE, Evidence


def taped(steps: Iterable[Step]) -> Cases:
    """Return the bodies of traces made by hand."""
    cases = Cases()
    for n, step in enumerate(steps):
        cases.add(step, f"fault-{n}")
    return cases


def bodies(tape: Tape) -> dict[str, list[Body]]:
    """Return the bodies of all functions."""
    found = taped(tape.steps).found
    return {name: [case.body for case in cases.values()] for name, cases in found.items() if cases}


def test_calls_jumps_and_locks_of_a_function() -> None:
    """A body has what its function did itself, and what it returned; what its callees did is theirs."""
    tape = Tape()
    tape.enter("f")
    tape.event("lock", "kvm->slots_lock")
    tape.enter("g")
    tape.call("h", -12)
    tape.leave("g", -12)
    tape.event("goto", "f", -12, label="out")
    tape.event("unlock", "kvm->slots_lock")
    tape.event("write", "EFER", 1)
    tape.leave("f", -12)
    tape.step("load")
    assert bodies(tape) == {
        "f": [
            Body(
                (("lock", "slots_lock", None), ("call", "g", -12), ("goto", "out", None),
                 ("unlock", "slots_lock", None)),
                -12,
            )
        ],
        "g": [Body((("call", "h", -12),), -12)],
        "h": [Body((), -12)],
    }  # fmt: skip
    assert taped(tape.steps).locks == {"slots_lock"}


def test_a_body_is_kept_once_with_the_run_that_shows_it_first() -> None:
    """What is done twice in the same way is one case; what is returned makes a difference."""
    tape = Tape()
    for verb, value in (("load", 0), ("unload", 0), ("suspend", -5)):
        tape.call("f", value)
        tape.step(verb)
    found = taped(tape.steps).found["f"]
    cases = [(case.body.value, case.fault, case.verb) for case in found.values()]
    assert cases == [(0, "fault-0", "load"), (-5, "fault-2", "suspend")]


def test_a_call_that_was_made_to_fail_did_not_run() -> None:
    """It has no body of its own, but its caller called it."""
    tape = Tape()
    tape.enter("f")
    tape.enter("g")
    tape.event("inject", "g", -12)
    tape.leave("g", -12)
    tape.leave("f", -12)
    tape.step("load")
    assert bodies(tape) == {"f": [Body((("call", "g", -12),), -12)]}


def alike(tape: Tape, at: int) -> Step:
    """Return the last step of a tape, which begins like the first."""
    clean, step = tape.steps[0], tape.steps[-1]
    assert clean.events
    assert step.events
    step.events[:at] = clean.events[:at]
    step.alike = (clean, at)
    return step


def test_what_a_step_has_in_common_with_the_run_without_a_fault_is_looked_at_once() -> None:
    """Calls that are open at the fault have what they did before it, whatever order the faults come in."""
    tape = Tape()
    tape.enter("f")
    tape.call("a", 0)
    tape.enter("g")
    tape.call("b", 0)
    tape.call("c", 0)
    tape.leave("g", 0)
    tape.leave("f", 0)
    tape.step("load")
    steps = []
    for at, failing in ((4, "b"), (6, "c"), (4, "b"), (1, "a")):
        tape.events = list(tape.steps[0].events or ())[:at]
        tape.enter(failing)
        tape.event("inject", failing, -12)
        tape.leave(failing, -12)
        if failing != "a":
            tape.leave("g", -12)
        tape.leave("f", -12)
        tape.step("load", -12)
        steps.append(alike(tape, at))
    cases = Cases()
    for n, step in enumerate(steps):
        cases.add(step, f"fault-{n}")
    found = {name: [(*body, case.fault) for body, case in of.items()] for name, of in cases.found.items()}
    assert found == {
        "a": [((), 0, "fault-0")],
        "b": [((), 0, "fault-1")],
        "g": [
            ((("call", "b", -12),), -12, "fault-0"),
            ((("call", "b", 0), ("call", "c", -12)), -12, "fault-1"),
        ],
        "f": [
            ((("call", "a", 0), ("call", "g", -12)), -12, "fault-0"),
            ((("call", "a", -12),), -12, "fault-3"),
        ],
    }


def test_other_tasks_are_not_called() -> None:
    """What another task does, or the same on another CPU, is no call of the function that waits."""
    tape = Tape()
    tape.enter("f")
    tape.enter("g", task="cpuhp/1", cpu=1)
    tape.leave("g", 0, task="cpuhp/1", cpu=1)
    tape.enter("g", cpu=1)
    tape.leave("g", 0, cpu=1)
    tape.leave("f", 0)
    tape.step("load")
    assert bodies(tape) == {"f": [Body((), 0)], "g": [Body((), 0)]}


def test_tracepoints_are_no_calls() -> None:
    """What is between the two of a hotplug callback is done by the function around them."""
    tape = Tape()
    tape.enter("f")
    tape.enter("cpuhp_cb")
    tape.call("g", 0)
    tape.leave("cpuhp_cb", 0)
    tape.leave("f", 0)
    tape.step("load")
    assert bodies(tape) == {"f": [Body((("call", "g", 0),), 0)], "g": [Body((), 0)]}


def test_tracepoints_outside_of_every_call() -> None:
    """What a CPU's own task does between them belongs to nobody, but has bodies of its own."""
    tape = Tape()
    tape.enter("cpuhp_cb")
    tape.call("g", 0)
    tape.leave("cpuhp_cb", 0)
    tape.enter("f")
    tape.enter("cpuhp_cb")
    tape.leave("cpuhp_cb", 0)
    tape.leave("f", 0)
    tape.step("load")
    assert bodies(tape) == {"f": [Body((), 0)], "g": [Body((), 0)]}


def test_a_lock_outside_of_every_call_is_only_known() -> None:
    """It belongs to no body; a jump without arguments has no label that is known."""
    tape = Tape()
    tape.event("lock", "kvm_lock")
    tape.enter("f")
    tape.event("goto", "f")
    tape.leave("f")
    tape.step("load")
    tape.unrecorded("unload")
    assert taped(tape.steps).locks == {"kvm_lock"}
    assert bodies(tape) == {"f": [Body((("goto", "None", None),), None)]}


@pytest.fixture(scope="module")
def evidence() -> Evidence:
    """What a backend's model does while it loads, makes a VM and unloads."""
    return Evidence(backends.load("loongarch"), ("load", "create-vm", "close-vm", "unload"))


def test_the_bodies_of_a_model(evidence: Evidence) -> None:
    """Without a fault kvm_init() returns 0; with one in each call, it returns what that returned."""
    cases = evidence.cases["kvm_init"]
    clean = next(case for case in cases.values() if not case.fault)
    assert (clean.body.value, clean.verb) == (0, "load")
    assert [item[1] for item in clean.body.items if item[0] != "lock"][-2:] == [
        "kvm_init_virtualization",
        "misc_register",
    ]
    failed = {case.fault: case.body for case in cases.values() if case.body.value != 0}
    assert failed["misc_register"].value == -16
    assert ("call", "misc_register", -16) in failed["misc_register"].items
    assert ("goto", "err_register", None) in failed["misc_register"].items


def test_every_fault_is_run(evidence: Evidence) -> None:
    """There are as many runs as faults, and one without; locks are told by their names."""
    faults = {case.fault for cases in evidence.cases.values() for case in cases.values()}
    assert evidence.runs > len(faults) > 20
    assert "" in faults
    assert {"cpu_hotplug_lock", "kvm_usage_lock"} & evidence.locks


def test_the_verbs_that_were_asked_for_are_run(evidence: Evidence) -> None:
    """What only they lead to is there, and fails in its own way."""
    values = {case.body.value for case in evidence.cases["kvm_create_vm"].values()}
    assert {"ptr", "ERR_PTR(-12)"} <= values


def test_a_run_without_faults() -> None:
    """Where no fault is asked for there is one run, and nothing fails in it."""
    found = Evidence(backends.load("loongarch"), ("load", "unload"), faults=False)
    assert found.runs == 1
    assert [case.body.value for case in found.cases["kvm_init"].values()] == [0]


def test_the_life_of_a_machine_comes_through_all() -> None:
    """The verbs begin with a load and end with an unload."""
    assert (LIFE[0], LIFE[-1]) == ("load", "unload")


def test_machines_of_other_kinds_are_run_too() -> None:
    """What only another feature, parameter or verb leads to has bodies, and fails where it can."""
    found = Evidence(backends.load("x86-vmx"), ("load", "unload")).cases
    assert {"_cpu_up", "_cpu_down", "hv_get_vp_assist_page"} <= found.keys()
    downs = {(case.fault, case.verb, case.body.value) for case in found["_cpu_down"].values()}
    assert ("__cpu_disable@3", "offline=3", -28) in downs
