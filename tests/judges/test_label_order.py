# SPDX-License-Identifier: GPL-2.0-only
"""The judge of labels."""

from __future__ import annotations

import pytest
from reading import go
from tape import Tape, changed, drop_call, find, kernel_trace, vocabulary

from kvm_ref.calls import Block, Branch, Call, Done, Leave, Loop
from kvm_ref.judges.label_order import Automaton, label_order
from kvm_ref.trace import Event, Trace

SVM = vocabulary()
A, B, C = Call("a"), Call("b"), Call("c")


def told(trace: Trace) -> list[tuple[str, str]]:
    return [(f.label, f.message) for f in label_order(trace, SVM)]


@pytest.mark.parametrize(
    "fail",
    [
        "misc_register",
        "alloc_cpumask_var_node#2",
        "svm_cpu_init#2",
        "shrinker_alloc",
        "svm_check_processor_compat",
    ],
)
def test_the_model_does_what_stands_below_its_labels(fail: str) -> None:
    """Error paths of the model agree with the text they are made from."""
    trace = go("x86-svm", "load", fail=fail).trace
    assert any(e[0] == "goto" for e in trace.events())
    assert told(trace) == []


def test_a_call_that_is_missing() -> None:
    """err_vfio without kvm_async_pf_deinit(): the next call comes too early (virt/kvm/kvm_main.c)."""
    trace = go("x86-svm", "load", fail="kvm_vfio_ops_init").trace
    mutated = changed(trace, 0, lambda events: drop_call(events, "kvm_irqfd_exit"))
    assert told(mutated) == [
        (
            "kvm_init:err_vfio",
            "after goto err_vfio kvm_init() does free_cpumask_var where kvm_irqfd_exit is due",
        )
    ]


def test_a_call_that_is_one_too_many() -> None:
    """kvm_vfio_ops_exit() belongs to err_virt, not to err_vfio (virt/kvm/kvm_main.c)."""
    trace = go("x86-svm", "load", fail="kvm_vfio_ops_init").trace

    def add(events: list[Event]) -> None:
        place = find(events, "goto", "kvm_init")
        at = events[place][1]
        events[place + 1 : place + 1] = [
            ("enter", at, "kvm_vfio_ops_exit", None, None),
            ("exit", at, "kvm_vfio_ops_exit", None, None),
        ]

    ((label, message),) = told(changed(trace, 0, add))
    assert label == "kvm_init:err_vfio"
    assert message == (
        "after goto err_vfio kvm_init() does kvm_vfio_ops_exit "
        "where debugfs_remove_recursive or kvm_async_pf_deinit is due"
    )


def test_calls_that_changed_places() -> None:
    """The order below a label counts."""
    trace = go("x86-svm", "load", fail="misc_register").trace

    def swap(events: list[Event]) -> None:
        place = find(events, "enter", "kvm_async_pf_deinit")
        events[place:place] = drop_call(events, "kvm_irqfd_exit")

    ((_, message),) = told(changed(trace, 0, swap))
    assert "does kvm_irqfd_exit where" in message


def test_the_end_is_missing() -> None:
    """A function that returns before all is undone is found."""
    trace = go("x86-svm", "load", fail="misc_register").trace
    mutated = changed(trace, 0, lambda events: drop_call(events, "kmem_cache_destroy", obj="kvm_vcpu"))
    ((_, message),) = told(mutated)
    assert message == (
        "after goto err_register kvm_init() does return where free_cpumask_var or kmem_cache_destroy is due"
    )


def test_another_label() -> None:
    """A jump to a label that the function does not have is found."""
    trace = go("x86-svm", "load", fail="misc_register").trace

    def rename(events: list[Event]) -> None:
        place = find(events, "goto", "kvm_init")
        kind, at, function, _, value = events[place]
        events[place] = (kind, at, function, {"label": "err_nowhere"}, value)

    assert told(changed(trace, 0, rename)) == [
        ("kvm_init:err_nowhere", "kvm_init() jumped to err_nowhere, but has no such label")
    ]


def test_a_goto_in_a_function_without_ladder() -> None:
    """A goto of a function that has no ladder in the text is found; of an unknown function it is not."""
    tape = Tape()
    for function in ("kvm_exit", "somebody_else"):
        tape.enter(function)
        tape.event("goto", function, -12, label="out")
        tape.leave(function)
    tape.step("unload")
    assert told(tape.trace()) == [("kvm_exit:out", "kvm_exit() jumped to out, but has no such label")]


def test_a_function_that_did_not_return() -> None:
    """In a machine that stopped nobody can say what would have come."""
    trace = go("x86-svm", "load", fail="misc_register").trace

    def stop(events: list[Event]) -> None:
        del events[find(events, "goto", "kvm_init") + 1 :]

    assert told(changed(trace, 0, stop)) == []


def test_a_real_kernel_shows_no_gotos() -> None:
    """The log of a kernel has no goto events: nothing to say."""
    assert told(kernel_trace("g_init_misc_register")) == []


@pytest.mark.parametrize(
    ("done", "callees", "differs"),
    [
        ((A, B), ("a", "b"), None),
        ((A, B), ("a",), ("b", "return")),
        ((A,), ("a", "b"), ("return", "b")),
        ((Loop((A,)), B), ("a", "a", "b"), None),
        ((Loop((A,)), B), ("b",), None),
        ((Loop((A,)), B), ("a", "c"), ("a or b", "c")),
        ((Branch(((A,), ())), B), ("b",), None),
        ((Branch(((), ())), B), ("b",), None),
        ((Branch(((A,), (C,))), B), ("c", "b"), None),
        ((Branch(((A,), (C,))), B), ("b",), ("a or c", "b")),
        ((Branch(((A, Leave()), ())), B), ("a",), None),
        ((Branch(((A, Leave()), ())), B), ("a", "b"), ("return", "b")),
        ((Block((Branch(((A, Leave()), ())), C)), B), ("a", "b"), None),
        ((Loop((Branch(((A, Leave(turn=True)), ())), C)), B), ("a", "a", "c", "b"), None),
        ((Call("exit", indirect=True),), ("svm_exit",), None),
        ((Call("exit", indirect=True),), ("svm_init",), ("exit", "svm_init")),
        ((Call("a", config="KVM_VFIO"), B), ("b",), None),
        ((), (), None),
    ],
)
def test_patterns(done: Done, callees: tuple[str, ...], differs: tuple[str, str] | None) -> None:
    """Loops repeat, branches choose, a return ends, a pointer matches by the end of the name."""
    assert Automaton(done).differs(callees) == differs
