# SPDX-License-Identifier: GPL-2.0-only
"""Which labels and exits were reached."""

from __future__ import annotations

import pickle

from reading import go
from tape import Tape, kernel_trace, vocabulary

from kvm_ref.judges.reached import Reached
from kvm_ref.trace import Trace

SVM = vocabulary()


def reached(*traces: Trace) -> Reached:
    out = Reached(SVM)
    for trace in traces:
        out.add(trace)
    return out


def test_labels_and_exits_of_failed_loads() -> None:
    """Labels are counted from gotos, exits from the line by which the error left."""
    found = reached(
        go("x86-svm", "load", fail="misc_register").trace,
        go("x86-svm", "load", fail="misc_register").trace,
        go("x86-svm", "load", fail="kmem_cache_create_usercopy#2").trace,
        go("x86-svm", "load", fail="kvm_x86_vendor_init").trace,
    )
    assert found.labels == {
        "kvm_init:err_register": 2,
        "svm_init:err_kvm_init": 3,
        # Where cpuhp_remove_state_nocalls() goes on.
        "__cpuhp_remove_state_cpuslocked:remove": 3,
    }
    exits = {name: times for name, times in found.exits.items() if "_init:" in name}
    assert exits == {"kvm_init:-ENOMEM": 1, "svm_init:kvm_x86_vendor_init": 1}


def test_what_was_never_reached() -> None:
    """Of kvm_init() a clean run reaches success only (virt/kvm/kvm_main.c has 6 labels and -ENOMEM)."""
    found = reached(go("x86-svm", "load").trace)
    assert "kvm_init:0" in found.names()
    assert [name for name in found.unreached() if name.startswith("kvm_init:")] == [
        "kvm_init:err_register",
        "kvm_init:err_virt",
        "kvm_init:err_vfio",
        "kvm_init:err_async_pf",
        "kvm_init:err_irqfd",
        "kvm_init:err_cpu_kick_mask",
        "kvm_init:-ENOMEM",
    ]
    assert not any(name.startswith("kvm_exit:") for name in found.unreached())


def test_success_in_a_step_that_has_a_failure() -> None:
    """A function that failed for one CPU and succeeded for another reached both exits."""
    found = reached(go("x86-svm", "load", fail="svm_cpu_init#2").trace)
    assert "svm_cpu_init:0" in found.names()
    assert "svm_hardware_setup:0" in found.unreached()


def test_a_line_with_two_calls() -> None:
    """The callee that failed tells which exit of a line it was; a line unknown to the text is none."""
    facts = SVM["svm_init"]
    (way,) = [w for w in facts.exits if w.name == "svm_init:kvm_x86_vendor_init"]
    tape = Tape()
    for line in (way.lines[0][0], 1):
        tape.enter("svm_init")
        tape.call("kvm_x86_vendor_init", -12)
        tape.leave("svm_init", -12, line=line)
    tape.enter("no_such_function")
    tape.leave("no_such_function", -12, line=3)
    tape.step("load", -12)
    assert reached(tape.trace()).exits == {"svm_init:kvm_x86_vendor_init": 1}


def test_a_machine_that_stopped() -> None:
    """Where the machine stopped, nobody succeeded."""
    tape = Tape()
    tape.enter("svm_init")
    tape.step("load", None)
    assert "svm_init:0" in reached(tape.trace()).unreached()


def test_steps_that_runs_share() -> None:
    """A step that two traces share counts for both."""
    trace = go("x86-svm", "load", fail="misc_register").trace
    assert reached(trace, trace).labels["kvm_init:err_register"] == 2


def test_the_log_of_a_kernel_counts_nothing() -> None:
    """A log has no labels and no lines."""
    found = reached(kernel_trace("g_init_misc_register"))
    assert (found.labels, found.exits, found.unreached()) == ({}, {}, [])


def test_parts_come_together() -> None:
    """What other processes counted can be sent and merged."""
    one = reached(go("x86-svm", "load", fail="misc_register").trace)
    other = pickle.loads(pickle.dumps(reached(go("x86-svm", "load", fail="kvm_irqfd_init").trace)))
    other.merge(one)
    assert other.labels == {
        "kvm_init:err_register": 1,
        "kvm_init:err_irqfd": 1,
        "svm_init:err_kvm_init": 2,
        "__cpuhp_remove_state_cpuslocked:remove": 2,
    }
    both = reached(
        go("x86-svm", "load", fail="misc_register").trace, go("x86-svm", "load", fail="kvm_irqfd_init").trace
    )
    assert other.unreached() == both.unreached()
    assert other.names() == both.names()


def test_what_came_back_before_the_machine_stopped() -> None:
    """In a step that ends the machine the calls that were over have succeeded."""
    reached = Reached(SVM)
    reached.add(go("x86-svm", "load", "reboot").trace)
    assert {"syscore_shutdown:0", "kvm_shutdown:0"} <= reached.names()
    assert "kernel_restart:0" not in reached.names()
