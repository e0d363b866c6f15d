# SPDX-License-Identifier: GPL-2.0-only
"""The judge of locks."""

from __future__ import annotations

from reading import go
from tape import Tape, changed, find, kernel_trace, vocabulary

from kvm_ref.judges.lock_held import lock_held
from kvm_ref.trace import Event, Trace

SVM = vocabulary()


def told(trace: Trace) -> list[tuple[str, str, str]]:
    return [(f.resource, f.message, f.acquired) for f in lock_held(trace, SVM)]


def test_clean_runs() -> None:
    """Locks are balanced in good runs, in bad runs, and in logs without locks."""
    assert told(go("x86-svm", "load", "unload").trace) == []
    assert told(go("x86-svm", "load", fail="cpuhp_issue_call").trace) == []
    assert told(kernel_trace("g_init_misc_register")) == []


def test_it_judges_a_step_again_if_asked_again() -> None:
    """Asking twice gives the same answer, clean or not."""
    trace = go("x86-svm", "load").trace
    assert told(trace) == told(trace) == []

    def forget(events: list[Event]) -> None:
        del events[find(events, "unlock", "kvm_usage_lock")]

    bad = changed(trace, 0, forget)
    assert told(bad) == told(bad) != []


def test_a_lock_that_stays_held() -> None:
    """A missing unlock is found at the end of the verb, with who took it."""
    trace = go("x86-svm", "load", "unload").trace

    def forget(events: list[Event]) -> None:
        del events[find(events, "unlock", "kvm_usage_lock")]

    assert told(changed(trace, 1, forget)) == [
        (
            "lock:kvm_usage_lock",
            "rmmod still holds kvm_usage_lock at the end of step 2 (unload)",
            "kvm_disable_virtualization < kvm_uninit_virtualization < kvm_exit < svm_exit, step 2 (unload)",
        )
    ]


def test_a_lock_that_stays_held_on_an_error_path() -> None:
    """The label is that of the function that took the lock and had jumped since."""
    trace = go("x86-svm", "load", fail="misc_minor_alloc").trace

    def forget(events: list[Event]) -> None:
        del events[find(events, "unlock", "misc_mtx")]

    (finding,) = lock_held(changed(trace, 0, forget), SVM)
    assert finding.label == "misc_register:out"


def test_an_unlock_without_lock() -> None:
    """A missing lock is found at the unlock."""
    trace = go("x86-svm", "load").trace

    def forget(events: list[Event]) -> None:
        del events[find(events, "lock", "misc_mtx")]

    ((resource, message, _),) = told(changed(trace, 0, forget))
    assert (resource, message) == ("lock:misc_mtx", "modprobe unlocks misc_mtx without holding it")


def test_a_lock_that_is_taken_twice() -> None:
    """A task that takes a mutex twice waits for itself; another task only waits."""
    tape = Tape()
    tape.enter("misc_register")
    tape.event("lock", "misc_mtx")
    tape.event("lock", "misc_mtx", task="udevd")
    tape.event("unlock", "misc_mtx", task="udevd")
    tape.event("lock", "misc_mtx")
    tape.event("unlock", "misc_mtx")
    tape.leave("misc_register", 0)
    tape.step("load")
    assert told(tape.trace()) == [
        (
            "lock:misc_mtx",
            "modprobe takes misc_mtx twice, again in misc_register, step 1 (load)",
            "misc_register, step 1 (load)",
        )
    ]


def test_a_machine_that_stopped() -> None:
    """A machine that stopped in a bug holds what it held, and that is no finding."""
    tape = Tape()
    tape.event("lock", "misc_mtx")
    tape.step("load", None)
    assert told(tape.trace()) == []
