# SPDX-License-Identifier: GPL-2.0-only
"""The judge of error numbers."""

from __future__ import annotations

import pytest
from reading import go
from tape import DATA, Tape, changed, find, kernel_trace, revalue, vocabulary

from kvm_ref.judges.errno_chain import errno_chain
from kvm_ref.trace import Trace

SVM = vocabulary()
LOGS = sorted(path.stem for path in DATA.glob("*.json"))


def told(trace: Trace) -> list[tuple[str, str]]:
    return [(f.label, f.message) for f in errno_chain(trace, SVM)]


@pytest.mark.parametrize(
    "fail",
    [
        "",
        "misc_register",
        "misc_register=EINTR",
        "svm_enable_virtualization_cpu@1",
        "svm_check_processor_compat@1=EAGAIN",
        "device_create_with_groups=EMFILE",
        "wrmsrl_safe",
        "kvm_register_device_ops=EMFILE",
        "cpuhp_invoke_callback@1=EINTR",
    ],
)
def test_the_model_hands_errors_on(fail: str) -> None:
    """Errors of the model come from somewhere: own ones, callees', those of other CPUs."""
    assert told(go("x86-svm", "load", "unload", fail=fail).trace) == []


@pytest.mark.parametrize("name", LOGS)
def test_a_real_kernel_hands_errors_on(name: str) -> None:
    """In the logs of a real kernel the user gets what the last call gave."""
    assert told(kernel_trace(name)) == []


@pytest.mark.parametrize(
    ("result", "found"),
    [
        (-12, [("", "load gave -ENOMEM, but svm_init() returned -EBUSY")]),
        (0, [("", "load gave 0, but svm_init() returned -EBUSY")]),
        (None, []),
    ],
)
def test_the_user_gets_another_result(result: int | None, found: list[tuple[str, str]]) -> None:
    """The result of a verb is what its last outermost call returned."""
    trace = go("x86-svm", "load", fail="misc_register").trace
    trace.steps[0].results[0] = result
    assert told(trace) == found


def test_what_a_kernel_log_says_of_the_user() -> None:
    """The same is judged in the log of a real kernel."""
    trace = kernel_trace("g_init_misc_register")
    trace.steps[1].results[0] = -5
    assert told(trace) == [("", "load gave -EIO, but svm_init() returned -EBUSY")]


def test_the_result_of_several_verbs() -> None:
    """Where several verbs are in one step, nobody knows which call is whose."""
    tape = Tape()
    tape.enter("svm_init")
    tape.leave("svm_init", -95)
    tape.step("load", -95, ("load", 0))
    assert told(tape.trace()) == []


def test_a_function_returns_another_error_than_it_jumped_with() -> None:
    """What a goto carries is what the function returns (kvm_init: r)."""
    trace = go("x86-svm", "load", fail="misc_register").trace
    mutated = changed(trace, 0, lambda events: revalue(events, find(events, "exit", "kvm_init"), -12))
    assert told(mutated) == [
        (
            "svm_init:err_kvm_init",
            "svm_init() jumped with -EBUSY, but its own are -EOPNOTSUPP and its callee failed with -ENOMEM",
        ),
        ("kvm_init:err_register", "kvm_init() jumped to err_register with -EBUSY, but returned -ENOMEM"),
    ]  # fmt: skip


def test_a_function_that_jumped_succeeds() -> None:
    """A function that jumped does not return 0."""
    trace = go("x86-svm", "load", fail="misc_register").trace
    mutated = changed(trace, 0, lambda events: revalue(events, find(events, "exit", "kvm_init"), 0))
    assert ("kvm_init:err_register", "kvm_init() jumped to err_register with -EBUSY, but returned 0") in told(
        mutated
    )


def test_an_error_from_nowhere() -> None:
    """A function that gives -EINTR, which is not its own, while no callee failed."""
    trace = go("x86-svm", "load", fail="kvm_is_svm_supported").trace
    mutated = changed(trace, 0, lambda events: revalue(events, find(events, "exit", "svm_init"), -4))
    mutated.steps[0].results[0] = -4
    assert told(mutated) == [
        ("", "svm_init() failed with -EINTR, but its own are -EOPNOTSUPP and no callee failed")
    ]


def test_an_error_that_changes_on_the_way() -> None:
    """A caller that hands on an error hands on that of the callee that failed last."""
    trace = go("x86-svm", "load", fail="cpuhp_issue_call#3=EINTR").trace
    place = find(trace.steps[0].events or [], "exit", "kvm_init_virtualization")
    mutated = changed(trace, 0, lambda events: revalue(events, place, -22))
    assert told(mutated)[0] == (
        "",
        "kvm_init_virtualization() failed with -EINVAL, but its own are -EBUSY "
        "and its callee failed with -EINTR",
    )


def test_an_error_of_an_earlier_call() -> None:
    """What a callee of an earlier call of the same function failed with does not count."""
    tape = Tape()
    tape.enter("svm_init")
    tape.enter("kvm_x86_check_cpu_compat")
    tape.call("kvm_x86_check_processor_compatibility", -5)
    tape.leave("kvm_x86_check_cpu_compat", None)
    tape.enter("kvm_x86_check_cpu_compat")
    tape.leave("kvm_x86_check_cpu_compat", -5, line=1)
    tape.leave("svm_init", 0)
    tape.step("load")
    assert told(tape.trace()) == [
        ("", "kvm_x86_check_cpu_compat() failed with -EIO, but it has none of its own and no callee failed")
    ]


def test_a_fault_that_gives_something_else() -> None:
    """A call that was made to fail returns what it was made to."""
    trace = go("x86-svm", "load", fail="misc_register").trace
    mutated = changed(trace, 0, lambda events: revalue(events, find(events, "exit", "misc_register"), -12))
    assert ("", "misc_register() returned -ENOMEM, but was made to fail with -EBUSY") in told(mutated)


def test_a_function_that_gives_only_its_own() -> None:
    """kvm_enable_virtualization_cpu() makes -EIO of any error (virt/kvm/kvm_main.c)."""
    for observed in (None, ["kvm_enable_virtualization_cpu", "svm_enable_virtualization_cpu"]):
        tape = Tape(observed=observed)
        tape.enter("kvm_enable_virtualization_cpu")
        tape.call("svm_enable_virtualization_cpu", -16)
        tape.leave("kvm_enable_virtualization_cpu", -16, line=1)
        tape.step("load", -16)
        assert told(tape.trace()) == [
            (
                "",
                "kvm_enable_virtualization_cpu() failed with -EBUSY, "
                "but its own are -EIO and no callee failed",
            )
        ]


def test_a_log_that_does_not_show_the_callee() -> None:
    """In a log an error may come from a callee that it does not show."""
    tape = Tape(observed=["svm_init"])
    tape.enter("svm_init")
    tape.leave("svm_init", -4)
    tape.step("load", -4)
    assert told(tape.trace()) == []


def test_numbers_that_are_no_errors() -> None:
    """kvm_add_user_return_msr() gives -1 for "no slot" (arch/x86/kvm/x86.c), which is no error."""
    tape = Tape()
    tape.enter("svm_init")
    tape.enter("somebody_else")
    tape.leave("somebody_else", -4)
    tape.enter("kvm_probe_user_return_msr")
    tape.event("goto", "kvm_probe_user_return_msr", -5, label="out")
    tape.leave("kvm_probe_user_return_msr", -5, line=1)
    tape.call("kvm_add_user_return_msr", -1)
    tape.leave("svm_init", -5, line=1)
    tape.step("load", -5)
    assert told(tape.trace()) == []


def test_gotos_of_functions_that_return_no_error() -> None:
    """A function that returns nothing, NULL or false cannot return what it jumped with."""
    for value in (None, "NULL"):
        tape = Tape()
        tape.enter("kvm_exit")
        tape.event("goto", "kvm_exit", -12, label="out")
        tape.leave("kvm_exit", value)
        tape.enter("cpu_has")
        tape.event("goto", "cpu_has", -12, label="out")
        tape.leave("cpu_has", 0)
        tape.enter("kvm_online_cpu")
        tape.step("unload")
        messages = [message for _, message in told(tape.trace())]
        assert messages == [
            "kvm_exit() jumped with -ENOMEM, but it has none of its own and no callee failed",
            "cpu_has() jumped with -ENOMEM, but it has none of its own and no callee failed",
        ]


def test_error_pointers_lend_their_error() -> None:
    """misc_register() hands on what device_create_with_groups() encoded (drivers/char/misc.c)."""
    trace = go("x86-svm", "load", fail="device_create_with_groups=EMFILE").trace
    place = find(trace.steps[0].events or [], "exit", "device_create_with_groups")
    mutated = changed(trace, 0, lambda events: revalue(events, place, "ERR_PTR(-12)"))
    assert told(mutated)[0] == (
        "misc_register:out",
        "misc_register() jumped with -EMFILE, but its own are -EBUSY and its callee failed with -ENOMEM",
    )


def test_an_error_that_outlives_the_clean_up() -> None:
    """What a function met first may be what it returns, although its clean-up fails with another."""
    done = go("mips", "load", fail="register_die_notifier kvm_init")
    assert done.trace.steps[0].results == [-12]
    assert errno_chain(done.trace, vocabulary("mips")) == []
