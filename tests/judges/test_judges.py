# SPDX-License-Identifier: GPL-2.0-only
"""The judges together, and what they share."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from reading import go
from tape import DATA, Tape, kernel_trace, vocabulary

from kvm_ref.judges import JUDGES, judge_all
from kvm_ref.judges.finding import Place
from kvm_ref.judges.index import index, resource_of
from kvm_ref.trace import TraceError, load

SVM = vocabulary()


def test_every_judge_says_what_it_looks_for() -> None:
    """The list of judges is what users see; each has a line about itself and is named as its function."""
    assert list(JUDGES) == [
        "leak", "double_release", "use_after_release", "label_order", "errno_chain", "hardware_state",
        "lock_held", "publication", "virtualization", "error_set", "user_errno", "retry", "bug",
    ]  # fmt: skip
    assert all(judge.__doc__ and judge.__name__ == name for name, judge in JUDGES.items())


def test_a_clean_run_has_no_findings() -> None:
    """All judges are silent on a clean run."""
    assert judge_all(go("x86-svm", "load", "unload", "load", "unload", cpus=4).trace, SVM) == []


def test_findings_can_be_written() -> None:
    """A finding is plain data."""
    (finding,) = judge_all(go("x86-svm", "load", fail="misc_register").trace, SVM)
    assert json.loads(json.dumps(finding.to_json())) == {
        "judge": "leak",
        "message": finding.message,
        "step": 0,
        "label": "kvm_init:err_register",
        "resource": "debugfs:kvm",
        "acquired": "kvm_init_debug < kvm_init < svm_init, step 1 (load)",
        "fault": "",
        "commit": "",
        "command": "",
    }


def test_a_written_trace_is_judged_alike() -> None:
    """What is found in a run is found in its JSON."""
    trace = go("x86-svm", "load", fail="misc_register").trace
    again = load(json.dumps(trace.to_json()))
    assert judge_all(again, SVM) == judge_all(trace, SVM)


@pytest.mark.parametrize(("key", "args"), [("value", {}), ("obj", {"obj": [1]}), ("uses", {"uses": {}})])
def test_a_trace_with_names_that_are_none(key: str, args: dict[str, object]) -> None:
    """What should be a number or a name, but is a list or an object, is refused when the trace is read."""
    trace = go("x86-svm", "load").trace.to_json()
    event = trace["steps"][0]["events"][0]
    event["args"] = args
    event["value"] = [] if key == "value" else None
    with pytest.raises(TraceError, match=f"{key} of 'kvm_x86_init' is no text and no number"):
        load(json.dumps(trace))


def test_judging_twice() -> None:
    """Judges keep what they worked out with the trace, and say the same again, for each vocabulary."""
    trace = go("x86-svm", "load", fail="misc_register").trace
    first = judge_all(trace, SVM)
    assert index(trace.steps[0], SVM) is index(trace.steps[0], SVM)
    assert judge_all(trace, SVM) == first
    assert judge_all(trace, vocabulary("riscv")) == first


def test_a_step_that_comes_twice() -> None:
    """What is found in a step is found wherever it stands, and in each trace that has it."""
    tape = Tape()
    tape.event("lock", "kvm_lock")
    tape.step("load")
    tape.step("unload", -2)
    (held, refused) = tape.trace().steps
    for steps, expected in (([held, refused, held], [0, 2]), ([refused, held], [1]), ([refused], [])):
        trace = tape.trace()
        trace.steps = steps
        found = judge_all(trace, SVM)
        assert [f.step for f in found] == expected
        assert [f.message for f in found] == [
            f"modprobe still holds kvm_lock at the end of step {n + 1} (load)" for n in expected
        ]


def test_a_step_that_comes_very_often() -> None:
    """Of what is kept with a step the oldest is forgotten, and looked for again."""
    tape = Tape()
    tape.event("lock", "kvm_lock")
    tape.step("load")
    trace = tape.trace()
    trace.steps *= 1000
    for _ in range(2):
        assert [f.step for f in judge_all(trace, SVM)] == list(range(1000))


def test_what_is_leaked_before_is_not_what_is_leaked_now() -> None:
    """Traces that share a step may come to it with other things held: each is told its own."""
    tape = Tape()
    tape.call("alloc_workqueue", "ptr", "lost")
    tape.step("load", -12)
    tape.call("alloc_workqueue", "ptr", "other")
    tape.step("load", -12)
    tape.call("alloc_workqueue", "ptr", "kept")
    tape.step("load")
    tape.step("unload")
    first, second, load, unload = tape.trace().steps
    for steps, expected in (
        ([load, unload], [(1, "kept")]),
        ([first, load, unload], [(0, "lost"), (2, "kept")]),
        ([second, load, unload], [(0, "other"), (2, "kept")]),
        ([first, second, load, unload], [(0, "lost"), (1, "other"), (3, "kept")]),
        ([load, first, unload], [(1, "lost"), (2, "kept")]),
    ):
        trace = tape.trace()
        trace.steps = steps
        found = [(f.step, f.resource) for f in judge_all(trace, SVM)]
        assert found == [(step, f"workqueue:{name}") for step, name in expected]


def test_what_is_leaked_again_and_again() -> None:
    """However many lives of one name are not over: what was held before a failure is not told again."""
    tape = Tape()
    tape.call("alloc_workqueue", "ptr", "lost")
    tape.step("load", -12)
    trace = tape.trace()
    trace.steps *= 2000
    assert [f.step for f in judge_all(trace, SVM)] == [0]


def test_values_that_no_register_holds() -> None:
    """A trace from elsewhere may hold a list where the model has a number: it is judged as well."""
    tape = Tape()
    tape.event("write", "CR4", 1, was=[1])
    tape.step("load", -5)
    tape.event("write", "CR4", 2, was=[2])
    tape.step("load", -5)
    found = judge_all(tape.trace(), SVM)
    assert [(f.step, f.message.partition(";")[0]) for f in found] == [
        (0, "CR4 of CPU 0 is 0x1 after load, but was [1] before load failed"),
        (1, "CR4 of CPU 0 is 0x2 after load, but was [2] before load failed"),
    ]


@pytest.mark.parametrize("path", sorted(DATA.glob("*.json")), ids=lambda p: p.stem)
def test_real_kernels_have_no_finding_but_the_directory(path: Path) -> None:
    """In all logs of 6.12.117 together the judges find the forgotten directory and nothing else."""
    found = {f.resource for f in judge_all(kernel_trace(path.stem), SVM)}
    assert found <= {"debugfs:kvm"}


def test_names_of_resources() -> None:
    """A resource without a name is shown as such; 0 is a name."""
    assert resource_of(("shrinker", "")) == "shrinker:?"
    assert resource_of(("cpuhp_state", 0)) == "cpuhp_state:0"


def test_built_names_that_stand_for_different_things() -> None:
    """__kmalloc_noprof() may be an array or a bitmap: what a log shows of it is not judged."""
    tape = Tape(observed=["__kmalloc_noprof", "kfree"])
    tape.call("__kmalloc_noprof", "ptr")
    tape.step("load", -12)
    assert index(tape.trace().steps[0], SVM).deeds == []


@pytest.mark.parametrize(
    ("function", "value", "deeds"),
    [
        ("alloc_workqueue", "ptr", 1),
        ("alloc_workqueue", "NULL", 0),
        ("alloc_workqueue", "ERR_PTR(-12)", 0),
        ("alloc_cpumask_var_node", 1, 1),
        ("alloc_cpumask_var_node", 0, 0),
        ("misc_register", 0, 1),
        ("misc_register", -16, 0),
        ("register_syscore", None, 1),
    ],
)
def test_what_a_log_shows_of_success(function: str, value: object, deeds: int) -> None:
    """In a log the returned value tells whether something was acquired."""
    tape = Tape(observed=[function])
    tape.call(function, value, name="x")
    tape.step("load")
    assert len(index(tape.trace().steps[0], SVM).deeds) == deeds


def test_names_of_a_log() -> None:
    """A log names a resource by obj, mask, the declared parameter, or name, in this order."""
    tape = Tape(observed=[])
    tape.enter("alloc_cpumask_var_node")
    tape.leave("alloc_cpumask_var_node", 1, mask="cpumask#1")
    tape.call("kvm_register_device_ops", 0, type=4)
    tape.call("__cpuhp_setup_state", 0, state=148, name="kvm/cpu:online")
    tape.call("register_syscore", obj="kvm_syscore")
    tape.call("misc_register", 0, name="kvm", minor=232)
    tape.call("__cpuhp_remove_state", state=148)
    tape.call("__cpuhp_remove_state", state=[148])
    tape.call("shrinker_free")
    tape.step("load")
    assert [(deed, key) for _, deed, key, *_ in index(tape.trace().steps[0], SVM).deeds] == [
        ("acquire", ("cpumask", "cpumask#1")),
        ("acquire", ("device_ops", 4)),
        ("acquire", ("cpuhp_state", 148)),
        ("acquire", ("syscore", "kvm_syscore")),
        ("acquire", ("miscdevice", "kvm")),
        ("release", ("cpuhp_state", 148)),
        ("release", ("cpuhp_state", "[148]")),
        ("release", ("shrinker", "")),
    ]


def test_where_a_helper_ran() -> None:
    """What another task runs for one that waits is placed in the calls of the one that waits."""
    tape = Tape()
    tape.enter("kvm_x86_init")
    tape.leave("kvm_x86_init")
    tape.enter("svm_init")
    tape.enter("smp_call_function_single")
    tape.enter("kvm_x86_check_cpu_compat", task="ipi", cpu=1)
    tape.leave("kvm_x86_check_cpu_compat", task="ipi", cpu=1)
    tape.enter("kvm_x86_check_cpu_compat", task="ipi", cpu=2)
    tape.event("write", "CR4", 1, task="ipi", cpu=2, was=0)
    tape.event("write", "CR4", 1, task="css", cpu=3, was=0)
    tape.step("load", None)
    trace = tape.trace()
    events = trace.steps[0].events or []
    assert str(Place(trace, 0, events[-2])) == (
        "kvm_x86_check_cpu_compat < smp_call_function_single < svm_init, step 1 (load)"
    )
    assert str(Place(trace, 0, events[-1])) == (
        "kvm_x86_check_cpu_compat < smp_call_function_single < svm_init, step 1 (load)"
    )
    assert str(Place(trace, 0, events[1])) == "kvm_x86_init, step 1 (load)"


def test_a_fault_does_not_open_a_call_again() -> None:
    """An injected fault stands at the place of its call, which is over when another task begins."""
    tape = Tape()
    tape.enter("svm_init")
    tape.enter("kvm_lapic_exit")
    tape.events.append(("inject", tape.events[-1][1], "kvm_lapic_exit", None, -12))
    tape.leave("kvm_lapic_exit", -12)
    tape.enter("kvm_x86_check_cpu_compat", task="ipi", cpu=1)
    tape.step("load")
    trace = tape.trace()
    assert str(Place(trace, 0, (trace.steps[0].events or [])[-1])) == "svm_init, step 1 (load)"


def test_where_nothing_is_called() -> None:
    """An event outside of all calls is placed in its step only."""
    tape = Tape()
    tape.event("write", "CR4", 1, was=0)
    tape.step("load")
    trace = tape.trace()
    assert str(Place(trace, 0, (trace.steps[0].events or [])[0])) == "step 1 (load)"


def test_equal_events_have_their_own_places() -> None:
    """Two events that are equal are told apart."""
    tape = Tape()
    for caller in ("svm_init", "svm_exit"):
        tape.enter(caller)
        tape.call("kvm_lapic_exit")
        tape.leave(caller)
    tape.step("load")
    trace = tape.trace()
    events = trace.steps[0].events or []
    assert events[1] == events[5]
    assert events[1] is not events[5]
    assert str(Place(trace, 0, events[5])) == "svm_exit, step 1 (load)"
