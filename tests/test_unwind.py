# SPDX-License-Identifier: GPL-2.0-only
"""The goto ladder falls through as in C."""

from __future__ import annotations

import gc
import weakref

import pytest
from bare_machine import bare, errno_of

from kvm_ref.errno import EBUSY, EIO, KernelError
from kvm_ref.kernel import Kernel
from kvm_ref.unwind import NoError, ladder


def climb(k: Kernel, ran: list[str], fails_at: str) -> str:
    def step(name: str) -> None:
        ran.append(name)
        if name == fails_at:
            raise KernelError(EIO)

    with ladder(k) as goto:
        step("first")
        with goto("err_a"):
            step("a")
        with goto("err_b"):
            step("b")
        with goto("out"):
            step("c")
        step("last")

    if goto.reached("err_b"):
        ran.append("undo a")
    goto.reached("err_nothing")
    if goto.reached("err_a"):
        ran.append("undo first")
    goto.reached("out")
    ran.append("always")
    if goto.failed:
        raise goto.error
    return "done"


@pytest.mark.parametrize(
    ("fails_at", "then"),
    [
        ("a", ["undo first", "always"]),
        ("b", ["undo a", "undo first", "always"]),
        ("c", ["always"]),
    ],
)
def test_a_jump_falls_through_all_labels_below(fails_at: str, then: list[str]) -> None:
    """Control comes to the label and every one behind it, to none before it."""
    ran: list[str] = []
    assert errno_of(lambda: climb(bare(), ran, fails_at)) == EIO
    assert ran[ran.index(fails_at) + 1 :] == then


def test_the_good_path_passes_only_unconditional_labels() -> None:
    """Without a jump no conditional label is reached; code behind a bare label runs."""
    ran: list[str] = []
    assert climb(bare(), ran, "") == "done"
    assert ran == ["first", "a", "b", "c", "last", "always"]


@pytest.mark.parametrize("fails_at", ["first", "last"])
def test_an_error_outside_a_goto_leaves_the_function(fails_at: str) -> None:
    """What is not guarded by a goto is `return r` in C: nothing is undone."""
    ran: list[str] = []
    assert errno_of(lambda: climb(bare(), ran, fails_at)) == EIO
    assert ran[-1] == fails_at


def test_a_jump_without_an_error() -> None:
    """The rest of the ladder is passed over, labels fall through, and nothing has failed."""
    k = bare()
    ran: list[str] = []
    with ladder(k) as goto:
        with goto("out"):
            raise NoError
        ran.append("passed over")
    if goto.reached("err"):
        ran.append("above")
    if goto.reached("out"):
        ran.append("out")
    assert (ran, goto.failed) == (["out"], False)
    assert [(kind, args, value) for kind, _, _, args, value in k.events] == [("goto", {"label": "out"}, None)]


def test_a_jump_leaves_an_event_with_function_label_and_error() -> None:
    """The trace's goto event says where, whither and why."""
    k = bare()
    errno_of(lambda: climb(k, [], "b"))
    assert [(kind, name, args, value) for kind, _, name, args, value in k.events] == [
        ("goto", "climb", {"label": "err_b"}, -5)
    ]


def test_other_exceptions_are_no_jumps() -> None:
    """Only kernel errors are caught: a bug in the model is seen."""
    k = bare()
    with pytest.raises(ZeroDivisionError), ladder(k) as goto, goto("err"):
        raise ZeroDivisionError
    assert k.events == []


def test_a_machine_is_freed_without_the_collector() -> None:
    """An error that unwound leaves no cycle behind, so a run costs no memory afterwards."""

    class Mark:
        pass

    def unwind() -> weakref.ref[Mark]:
        mark = Mark()
        k = bare()

        def fails() -> None:
            held = mark
            with ladder(k) as goto, goto("err"):
                raise KernelError(EBUSY)
            assert held
            raise goto.error

        assert errno_of(fails) == EBUSY
        return weakref.ref(mark)

    gc.disable()
    try:
        assert unwind()() is None
    finally:
        gc.enable()
