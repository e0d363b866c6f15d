# SPDX-License-Identifier: GPL-2.0-only
"""The judges of second attempts and of BUG(), on traces made by hand and on the model."""

from __future__ import annotations

import pytest
from reading import go
from tape import Tape, vocabulary

from kvm_ref.judges.bug import bug
from kvm_ref.judges.retry import retry

SVM = vocabulary()


def found(*steps: tuple[str, int | None]) -> list[tuple[int, str]]:
    """Return what is found in a trace of verbs and results; a fault falls into the first."""
    tape = Tape()
    tape.event("inject", "alloc_workqueue", 0)
    for verb, result in steps:
        tape.step(verb, result)
    return [(f.step, f.message) for f in retry(tape.trace(), SVM)]


@pytest.mark.parametrize(
    "steps",
    [
        [("load", -12), ("load", 0), ("unload", 0)],
        [("load", -12), ("foreign-on=1", 0), ("load", -5), ("foreign-off=1", 0), ("load", 0)],
        [("load", 0), ("load", -17), ("unload", 0), ("unload", -2)],
        [("load", 0), ("create-vm", 0), ("unload", -16), ("close-vm", 0), ("unload", 0)],
        [("load", 0), ("open-dev", 0), ("unload", -16), ("close-dev", 0), ("unload", 0)],
        [("load", -12), ("unload", -2)],
        [("load", 0), ("unload", -2)],  # built in
        [("load", None), ("load", -12)],
        [("create-vm", -2), ("close-vm", -9)],
    ],
)
def test_what_has_a_reason(steps: list[tuple[str, int | None]]) -> None:
    """Another hypervisor, a module that is loaded, in use, built in or not there, a machine that stopped."""
    assert found(*steps) == []


def test_what_has_none() -> None:
    """A load, or an unload of what nobody uses, that fails though nothing fails in it."""
    assert found(("load", -12), ("load", -16)) == [
        (1, "step 2 (load) gives -EBUSY, though nothing fails in it")
    ]
    assert found(("load", 0), ("unload", -16)) == [
        (1, "step 2 (unload) gives -EBUSY, though nothing fails in it")
    ]


def test_before_any_failure_nothing_is_a_second_attempt() -> None:
    """A first load may fail for whatever reason; a step of many verbs cannot be judged."""
    tape = Tape()
    tape.step("load", -19)
    tape.step("load", -19)
    assert retry(tape.trace(), SVM) == []
    tape.step("load", 0, ("unload", -16))
    assert retry(tape.trace(), SVM) == []


def test_a_real_one() -> None:
    """RISC-V's interrupt that a failed first load leaves keeps the second from loading (aia.c)."""
    done = go("riscv", "load", "load", fail="kvm_riscv_gstage_mode#2")
    assert [f.step for f in retry(done.trace, vocabulary("riscv"))] == [1]


def test_a_machine_that_stops() -> None:
    """A BUG() is told with its condition; a reboot is none."""
    done = go("x86-svm", "load", "hotplug-fail=1:kvm/cpu:online", "unload")
    assert [(f.step, f.message) for f in bug(done.trace, SVM)] == [
        (2, "step 3 (unload) ends in a BUG(): ret && !bringup")
    ]
    assert bug(go("x86-svm", "load", "reboot").trace, SVM) == []
    tape = Tape()
    tape.step("unload", None)
    assert [f.message for f in bug(tape.trace(), SVM)] == [
        "step 1 (unload) ends in a BUG(): no line of the log says where"
    ]
