# SPDX-License-Identifier: GPL-2.0-only
"""The judge of publication, on traces made by hand and on the model."""

from __future__ import annotations

from reading import go
from tape import Tape, changed, drop_call, find, vocabulary

from kvm_ref.judges.publication import publication

SVM = vocabulary()


def found(tape: Tape) -> list[tuple[str, str]]:
    return [(f.resource, f.message) for f in publication(tape.trace(), SVM)]


def test_the_node_is_last_and_first() -> None:
    """kvm_init() registers the device last of all, and kvm_exit() withdraws it first (kvm_main.c)."""
    trace = go("x86-svm", "load", "unload", cpus=2).trace
    assert publication(trace, SVM) == []

    def late(events: list[object]) -> None:
        gone = drop_call(events, "kvm_vfio_ops_exit")  # type: ignore[arg-type]
        start = find(events, "enter", "misc_deregister")  # type: ignore[arg-type]
        events[start:start] = gone

    (finding,) = publication(changed(trace, 1, late), SVM)  # type: ignore[arg-type]
    assert finding.resource == "device_ops:4"
    assert "released while /dev/kvm was still there" in finding.message


def test_what_a_load_acquires_too_late() -> None:
    """After misc_register() the load acquires nothing."""
    tape = Tape()
    tape.call("misc_register", 0, got="kvm")
    tape.call("alloc_workqueue", "ptr", got="wq")
    tape.step("load")
    ((resource, message),) = found(tape)
    assert resource == "workqueue:wq"
    assert (
        message == "workqueue:wq is acquired after /dev/kvm was published, in alloc_workqueue, step 1 (load)"
    )


def test_what_is_not_judged() -> None:
    """Neither a failed load, nor other verbs, nor one that publishes nothing."""
    tape = Tape()
    for verb, result in (("load", -12), ("create-vm", 0)):
        tape.call("misc_register", 0, got="kvm")
        tape.call("alloc_workqueue", "ptr", got="wq")
        tape.step(verb, result)
    tape.call("alloc_workqueue", "ptr", got="wq")
    tape.step("load")
    tape.step("load", 0, ("unload", 0))
    assert found(tape) == []
