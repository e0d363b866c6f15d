# SPDX-License-Identifier: GPL-2.0-only
"""Faults: how they are written, which calls they hit, what those return."""

from __future__ import annotations

import pytest
from reading import go

from kvm_ref.errno import EBUSY, EIO
from kvm_ref.fault import Fault, parse
from kvm_ref.misuse import Misuse
from kvm_ref.scenario import Run, Scenario, run


def injected(done: Run) -> list[tuple[str, int, object]]:
    return [(name, at.cpu, value) for kind, at, name, _, value in done.trace.events() if kind == "inject"]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("f", Fault("f")),
        ("f#3", Fault("f", nth=3)),
        ("f@1", Fault("f", cpu=1)),
        ("f=EBUSY", Fault("f", errno=EBUSY)),
        ("f#2@0=EIO", Fault("f", nth=2, cpu=0, errno=EIO)),
    ],
)
def test_spec_both_ways(text: str, fault: Fault) -> None:
    """FUNCTION[#NTH][@CPU][=ERRNO] is read and written alike."""
    assert parse(text) == fault
    assert str(fault) == text


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "expected FUNCTION"),
        ("f#", "expected FUNCTION"),
        ("f#0", "counts from 1"),
        ("f@x", "expected FUNCTION"),
        ("f@1#2", "expected FUNCTION"),
        ("f=", "expected FUNCTION"),
        ("f=EBUSSY", "did you mean EBUSY"),
        ("f=5", "unknown errno '5'"),
    ],
)
def test_malformed_specs(text: str, says: str) -> None:
    """Each is refused in one line that says what would be right."""
    with pytest.raises(Misuse, match=says) as caught:
        parse(text)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ("kmem_cache_creat", "did you mean kmem_cache_create"),
        ("kvm_exit", "cannot fail in C"),
        ("KMEM_CACHE=EIO", "it has no errno to choose"),
        ("misc_register@9", "no CPU 9"),
    ],
)
def test_faults_that_cannot_be(spec: str, says: str) -> None:
    """An unknown function, one that cannot fail, one without errno, a CPU that is not there."""
    with pytest.raises(Misuse, match=says):
        go("x86-svm", "load", fail=spec)


def test_what_always_gives_0_may_be_made_to_fail() -> None:
    """A call that returns an int can be overridden as a kprobe does; one that returns nothing cannot.

    kvm_suspend() of virt/kvm/kvm_main.c: syscore_suspend() gives its error back, and thaw_secondary_cpus() runs.
    """
    done = go("x86-svm", "load", "suspend", fail="kvm_suspend=EBUSY")
    assert [step.results for step in done.trace.steps] == [[0], [-16]]
    assert "PM: System core suspend callback kvm_suspend failed." in done.trace.log
    assert done.idle == ()
    for spec in ("kvm_suspend", "kvm_resume=EBUSY", "kvm_exit=EIO"):
        with pytest.raises(Misuse, match="cannot fail in C"):
            go("x86-svm", "load", fail=spec)


def test_an_unknown_effect() -> None:
    """An effect must be a state of the system."""
    with pytest.raises(Misuse, match="system_state=SYSTEM_RESTART"):
        run(Scenario("x86-svm", ("load",), faults=(Fault("misc_register", effect="fire"),)))


def test_a_failed_call_does_not_run() -> None:
    """Between the enter and the exit of the failed call there is the injection and nothing else."""
    events = list(go("x86-svm", "load", fail="kvm_irqfd_init").trace.events())
    at = next(n for n, e in enumerate(events) if e[0] == "inject")
    assert [(e[0], e[2], e[4]) for e in events[at - 1 : at + 3]] == [
        ("enter", "kvm_irqfd_init", None),
        ("inject", "kvm_irqfd_init", -12),
        ("exit", "kvm_irqfd_init", -12),
        ("goto", "kvm_init", -12),
    ]


def test_each_shape_of_failure() -> None:
    """int: a negative errno; pointer: NULL or ERR_PTR; bool: false. As the C returns them."""
    shapes = {}
    for spec in ("misc_register", "KMEM_CACHE", "debugfs_create_dir", "alloc_cpumask_var_node"):
        events = list(go("x86-svm", "load", fail=spec).trace.events())
        at = next(n for n, e in enumerate(events) if e[0] == "inject")
        shapes[spec] = (events[at][4], events[at + 1][4])
    assert shapes == {
        "misc_register": (-16, -16),
        "KMEM_CACHE": (0, "NULL"),
        "debugfs_create_dir": (-12, "ERR_PTR(-12)"),
        "alloc_cpumask_var_node": (0, 0),
    }


def test_nth_counts_over_all_verbs() -> None:
    """#2 of a call that each load makes once falls into the second load."""
    done = go("x86-svm", "load", "unload", "load", fail="misc_register#2")
    assert [s.results for s in done.trace.steps] == [[0], [0], [-16]]


def test_cpu_counts_calls_on_that_cpu_only() -> None:
    """@1 is the CPU that the call runs on; #2@1 the second call there."""
    done = go("x86-svm", "load", "unload", "load", fail="kvm_arch_enable_virtualization_cpu#2@1")
    assert injected(done) == [("kvm_arch_enable_virtualization_cpu", 1, -5)]
    assert [s.results for s in done.trace.steps] == [[0], [0], [-5]]


def test_a_chosen_errno() -> None:
    """=ERRNO replaces the natural errno."""
    assert injected(go("x86-svm", "load", fail="misc_register=EIO")) == [("misc_register", 0, -5)]
    assert injected(go("x86-svm", "load", fail="debugfs_create_dir=EIO")) == [("debugfs_create_dir", 0, -5)]


def test_under_and_where_narrow_a_fault() -> None:
    """`under` asks for an enclosing call, `where` for a recorded argument."""
    fault = Fault("__kmem_cache_create_args", where=(("name", "kvm_async_pf"),), under="kvm_async_pf_init")
    done = run(Scenario("x86-svm", ("load",), faults=(fault,)))
    assert injected(done) == [("KMEM_CACHE", 0, 0)]
    for never in (Fault("KMEM_CACHE", under="kvm_exit"), Fault("KMEM_CACHE", where=(("name", "x"),))):
        assert run(Scenario("x86-svm", ("load",), faults=(never,))).idle == (never,)


def test_under_reaches_other_tasks() -> None:
    """kvm_init() waits while the hotplug threads enable their CPUs; kvm_x86_vendor_init() has returned by then."""
    call = "kvm_arch_enable_virtualization_cpu"
    done = run(Scenario("x86-svm", ("load",), faults=(Fault(call, 2, under="kvm_init"),)))
    assert done.idle == ()
    struck = [at for kind, at, *_ in done.trace.steps[0].events or () if kind == "inject"]
    assert [(at.task, at.cpu) for at in struck] == [("cpuhp/1", 1)]
    assert run(Scenario("x86-svm", ("load",), faults=(Fault(call, under="kvm_x86_vendor_init"),))).idle


def test_two_faults_on_one_function() -> None:
    """A plan may hold several; each counts for itself."""
    done = go("x86-svm", "load", "load", "load", fail="misc_register misc_register#2")
    assert [s.results for s in done.trace.steps] == [[-16], [-16], [0]]


def test_a_fault_that_never_fires_is_reported() -> None:
    """A plan that never fires is not ignored."""
    assert [str(f) for f in go("x86-svm", "load", fail="misc_register#9").idle] == ["misc_register#9"]


def test_faults_of_a_trace_both_ways() -> None:
    """A fault in a trace's notation is read back as the same fault."""
    faults = [
        Fault("f", 2, under="g", where=(("name", "x"),), errno=EIO),
        Fault("f", cpu=1),
        Fault("f", effect="system_state=SYSTEM_RESTART"),
    ]
    assert [Fault.from_json(f.to_json()) for f in faults] == faults
    assert str(faults[2]) == "reboot-at f"
