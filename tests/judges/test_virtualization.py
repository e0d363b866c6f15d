# SPDX-License-Identifier: GPL-2.0-only
"""The judge of virtualization, on traces made by hand and on the model."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
from reading import go
from tape import Tape, changed, drop_call, kernel_trace, vocabulary

from kvm_ref.judges.virtualization import virtualization
from kvm_ref.trace import Trace

SVM = vocabulary()
ON, OFF = "kvm_arch_enable_virtualization_cpu", "kvm_arch_disable_virtualization_cpu"


def made(tape: Tape, **params: Any) -> Trace:
    """Return a tape's trace, of a machine with the CPUs 0 and 1."""
    return attrs.evolve(tape.trace(), machine={"online": "0-1"}, params=params)


def found(tape: Tape, **params: Any) -> list[tuple[str, str]]:
    return [(f.resource, f.message) for f in virtualization(made(tape, **params), SVM)]


def loaded(tape: Tape) -> None:
    tape.enter("kvm_init_virtualization")
    tape.enter("kvm_enable_virtualization")
    for cpu in (0, 1):
        tape.enter(ON, cpu=cpu)
        tape.leave(ON, 0, cpu=cpu)
    tape.leave("kvm_enable_virtualization", 0)
    tape.leave("kvm_init_virtualization", 0)


@pytest.mark.parametrize("enable", ["0", "1"])
def test_the_model_keeps_the_rule(enable: str) -> None:
    """Through VMs, hotplug, suspend and reboot nothing is found."""
    verbs = (
        "load",
        "create-vm",
        "create-vm",
        "offline=1",
        "suspend",
        "close-vm",
        "online=1",
        "close-vm",
        "reboot",
    )
    trace = go("x86-svm", *verbs, cpus=3, params={"enable_virt_at_load": enable}).trace
    assert trace.steps[-1].results == [None]
    assert virtualization(trace, SVM) == []


def test_a_cpu_that_is_missed() -> None:
    """A CPU that is enabled nowhere, and one that stays enabled, are named once."""
    trace = go("x86-svm", "load", "unload", "load", cpus=2).trace
    less = changed(trace, 0, lambda events: drop_call(events, "kvm_online_cpu", 2))
    (finding,) = virtualization(less, SVM)
    assert finding.resource == "cpu:1"
    assert finding.message == (
        "virtualization is off on CPU 1, running, with a usage count of 1 after step 1 (load)"
    )
    more = changed(trace, 1, lambda events: drop_call(events, "kvm_offline_cpu", 1))
    (finding,) = virtualization(more, SVM)
    assert finding.message == (
        "virtualization is on on CPU 0, running, with a usage count of 0 after step 2 (unload)"
    )


def test_a_count_that_is_wrong() -> None:
    """The usage count is that of the VMs, plus one if it was enabled at load."""
    tape = Tape()
    loaded(tape)
    tape.step("load")
    tape.step("create-vm")
    assert found(tape, enable_virt_at_load=True) == [
        ("usage", "the usage count is 1, not 2, with 1 VMs after step 2 (create-vm)")
    ]
    tape.step("close-vm=0")
    tape.call("kvm_disable_virtualization")
    tape.call("kvm_uninit_virtualization")
    for cpu in (0, 1):
        tape.enter(OFF, cpu=cpu)
        tape.leave(OFF, cpu=cpu)
    tape.step("unload")
    assert len(found(tape, enable_virt_at_load=True)) == 1


def test_after_a_shutdown_no_cpu_is_on() -> None:
    """kvm_shutdown() leaves the usage count alone, but no CPU enabled."""
    tape = Tape()
    loaded(tape)
    tape.step("load")
    tape.enter("kvm_shutdown")
    tape.enter(OFF)
    tape.leave(OFF)
    tape.leave("kvm_shutdown")
    tape.step("reboot", None)
    assert found(tape, enable_virt_at_load=True) == [
        ("cpu:1", "virtualization is on on CPU 1, though the machine has shut down, after step 2 (reboot)")
    ]


def test_an_offline_cpu_is_to_be_off() -> None:
    """A CPU that went down with virtualization on is told as offline."""
    tape = Tape()
    loaded(tape)
    tape.step("load")
    tape.enter("_cpu_down", cpu=0, task="shell")
    tape.events[-1] = (*tape.events[-1][:3], {"cpu": 1}, None)
    tape.leave("_cpu_down", 0, task="shell")
    tape.step("offline=1")
    assert found(tape, enable_virt_at_load=True) == [
        ("cpu:1", "virtualization is on on CPU 1, offline, with a usage count of 1 after step 2 (offline=1)")
    ]


def test_verbs_that_fail_count_for_nothing() -> None:
    """A VM that was not made is none, and one that was not closed is one still."""
    trace = go("x86-svm", "load", "create-vm", "create-vm", "close-vm=7", fail="init_srcu_struct").trace
    assert [step.results for step in trace.steps] == [[0], [-12], [0], [-9]]
    assert virtualization(trace, SVM) == []


def test_what_cannot_be_judged() -> None:
    """The log of a kernel shows too little; after a BUG nothing is said."""
    assert virtualization(kernel_trace("load_default"), SVM) == []
    tape = Tape()
    loaded(tape)
    tape.step("load", None)
    assert found(tape) == []


def test_what_is_found_is_told_once() -> None:
    """A CPU that stays wrong through many verbs is one finding."""
    trace = go("x86-svm", "load", "create-vm", "close-vm", cpus=2).trace
    less = changed(trace, 0, lambda events: drop_call(events, "kvm_online_cpu", 2))
    assert [(f.step, f.resource) for f in virtualization(less, SVM)] == [(0, "cpu:1")]
