# SPDX-License-Identifier: GPL-2.0-only
"""The judge of error labels, on traces made by hand."""

from __future__ import annotations

import pytest
from tape import Tape, vocabulary

from kvm_ref.judges.error_set import error_set

SVM = vocabulary()


def found(jumped: object, returned: object, function: str = "kvm_init") -> list[tuple[str, str]]:
    tape = Tape()
    tape.enter(function)
    tape.event("goto", function, jumped, label="err_virt")
    tape.leave(function, returned)
    tape.step("load")
    return [(f.label, f.message) for f in error_set(tape.trace(), SVM)]


def test_a_jump_with_an_error_that_is_returned() -> None:
    """What C does as a rule is no finding."""
    assert found(-5, -5) == []


def test_a_jump_past_what_need_not_be_done() -> None:
    """Where nothing is wrong a jump bears no value, and the function succeeds."""
    assert found(None, 0) == []


@pytest.mark.parametrize("value", [0, 3])
def test_a_jump_without_an_error(value: object) -> None:
    """Whoever unwinds has an error set."""
    assert found(value, -5) == [
        ("kvm_init:err_virt", f"kvm_init() jumps to err_virt without an error: {value}")
    ]


def test_success_after_unwinding() -> None:
    """A ladder that unwound does not return 0."""
    assert found(-5, 0) == [("kvm_init:err_virt", "kvm_init() returns 0 after it jumped to err_virt")]


def test_a_bool_that_is_false() -> None:
    """is_sev_snp_initialized() (arch/x86/kvm/svm/sev.c) jumps with an error, and what it returns is no errno."""
    assert found(-5, 0, "is_sev_snp_initialized") == []


def test_a_jump_that_is_not_over() -> None:
    """In a trace that ends before the function does, only the jump is judged."""
    tape = Tape()
    tape.enter("kvm_init")
    tape.event("goto", "kvm_init", -5, label="err_virt")
    tape.step("load")
    assert error_set(tape.trace(), SVM) == []
