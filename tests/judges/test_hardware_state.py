# SPDX-License-Identifier: GPL-2.0-only
"""The judge of registers."""

from __future__ import annotations

import pytest
from reading import go
from tape import Tape, changed, find, kernel_trace, revalue, vocabulary

from kvm_ref.judges.hardware_state import hardware_state
from kvm_ref.trace import Event, Trace

SVM = vocabulary()


def told(trace: Trace) -> list[tuple[int, str, str]]:
    return [(f.step, f.resource, f.message) for f in hardware_state(trace, SVM)]


@pytest.mark.parametrize("fail", ["", "misc_register", "svm_enable_virtualization_cpu@1", "kvm_init"])
def test_the_model_puts_registers_back(fail: str) -> None:
    """After a failed load, and after unloads, SVM is off again on each CPU."""
    assert told(go("x86-svm", "load", "unload", "load", "unload", fail=fail).trace) == []


def test_registers_are_not_put_back_while_loaded() -> None:
    """While the module is in, registers hold what it wrote."""
    assert told(go("x86-svm", "load", "load").trace) == []


def last_write(events: list[Event], register: str, cpu: int) -> int:
    return max(n for n, e in enumerate(events) if e[0] == "write" and e[2] == register and e[1].cpu == cpu)


def test_a_write_that_is_missing_at_unload() -> None:
    """Without the write that turns SVM off, CPU 1 is left with EFER.SVME set."""
    trace = go("x86-svm", "load", "unload").trace

    def forget(events: list[Event]) -> None:
        del events[last_write(events, "MSR_EFER", 1)]

    ((step, register, message),) = told(changed(trace, 1, forget))
    assert (step, register) == (1, "register:MSR_EFER@1")
    assert message.startswith(
        "MSR_EFER of CPU 1 is 0x1d01 after unload, but was 0xd01 before KVM first wrote it"
    )
    assert "written last in svm_enable_virtualization_cpu < " in message


def test_a_wrong_value_after_a_failed_load() -> None:
    """After a failed load each register holds what it held before; the label is that of the last writer."""
    trace = go("x86-svm", "load", fail="misc_register").trace

    def change(events: list[Event]) -> None:
        revalue(events, last_write(events, "MSR_VM_HSAVE_PA", 0), 7)

    (finding,) = hardware_state(changed(trace, 0, change), SVM)
    assert finding.resource == "register:MSR_VM_HSAVE_PA@0"
    assert finding.label == "kvm_init:err_register"
    assert finding.message.startswith(
        "MSR_VM_HSAVE_PA of CPU 0 is 0x7 after load, but was 0x0 before load failed"
    )


def test_it_is_told_once() -> None:
    """A register that was left wrong once is no news after the next unload."""
    trace = go("x86-svm", "load", "unload", "load", "unload").trace

    def change(events: list[Event]) -> None:
        revalue(events, last_write(events, "MSR_VM_HSAVE_PA", 0), 7)

    assert [step for step, *_ in told(changed(changed(trace, 1, change), 3, change))] == [1]


def test_another_hypervisor() -> None:
    """What another hypervisor sets is its own; KVM must leave it, and clear only what KVM set."""
    assert told(go("x86-svm", "foreign-on=1", "load", "unload").trace) == []
    assert (
        told(go("x86-svm", "load", "unload", "foreign-on=1", "load", "foreign-off=1", "load", "unload").trace)
        == []
    )


def test_kvm_takes_a_cpu_from_another_hypervisor() -> None:
    """A failed load that clears what another hypervisor had set is found."""
    trace = go("x86-svm", "foreign-on=1", "load").trace

    def steal(events: list[Event]) -> None:
        at = events[find(events, "exit", "svm_init")][1]
        where = type(at)(at.task, 1, at.depth + 1)
        events.insert(len(events) - 1, ("write", where, "MSR_EFER", {"was": 0x1000}, 0))

    assert [register for _, register, _ in told(changed(trace, 1, steal))] == ["register:MSR_EFER@1"]


def test_verbs_in_one_step() -> None:
    """Of several verbs in a step only an unload at its end is judged; a machine that stopped is not."""
    for verbs, results, expected in (
        (("load", "unload"), (0, 0), 1),
        (("load", "unload"), (0, -11), 0),
        (("unload", "load"), (0, 0), 0),
    ):
        tape = Tape()
        tape.event("write", "MSR_EFER", 5, was=0)
        tape.step(verbs[0], results[0], (verbs[1], results[1]))
        assert len(told(tape.trace())) == expected
    tape = Tape()
    tape.event("write", "MSR_EFER", 5, was=0)
    tape.step("load", None)
    assert told(tape.trace()) == []


def test_values_that_are_not_known() -> None:
    """A value need not be a number; a register of which nobody says what it held is not judged."""
    tape = Tape()
    tape.event("write", "MSR_EFER", "x", task="foreign", was="w")
    tape.event("write", "CR4", "x", task="foreign")
    tape.step("foreign-on=0")
    tape.event("write", "MSR_EFER", "y")
    tape.event("write", "CR4", "y")
    tape.step("unload")
    ((_, _, message),) = told(tape.trace())
    assert message.startswith("MSR_EFER of CPU 0 is y after unload, but was x")


def test_a_real_kernel_shows_no_writes() -> None:
    """The log of a kernel has no write events: nothing to say."""
    assert told(kernel_trace("load_default")) == []


def test_a_register_of_which_nothing_is_known() -> None:
    """Where nothing tells what a register held, nothing is due."""
    tape = Tape()
    tape.event("write", "MSR_EFER", 5)
    tape.event("write", "MSR_VM_HSAVE_PA", 0, was=0)
    tape.step("load", -5)
    assert told(tape.trace()) == []
