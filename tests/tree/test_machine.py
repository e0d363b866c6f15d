# SPDX-License-Identifier: GPL-2.0-only
"""The machine that walks operations: states, frames, and the error that a function has in hand."""

from __future__ import annotations

from typing import Any

import pytest
from tree.snippets import body, code

from kvm_ref.tree.machine import Machine, State
from kvm_ref.tree.operations import Call, Code
from kvm_ref.tree.values import Error, Memory, Pointer, Value


def state(code: Code, *args: Value) -> State:
    """Return a state in which a function was just entered."""
    found = State([], Memory())
    found.enter(code, args, "")
    return found


@pytest.mark.parametrize(
    ("statements", "a", "errno"),
    [
        ("return a;", -12, -12),
        ("return a;", Error(5), -5),
        ("return a;", 0, None),
        ("return a;", 3, None),
        ("return a;", None, None),
        ("return a;", Pointer("x"), None),
        ("return ERR_PTR(a);", -12, -12),
        ("return b;", -12, None),
        ("if (b) return b; return a;", -12, -12),
    ],
)
def test_the_error_in_hand(statements: str, a: Value, errno: int | None) -> None:
    """It is what one of the variables holds that the function returns somewhere."""
    assert Machine().error(state(body(statements), a)) == errno


def test_two_ways_do_not_disturb_each_other() -> None:
    """What one state stores, and where it goes, is not seen by the other."""
    one = state(body("return a;"), 1)
    one.top.turns[0] = 1
    other = one.fork()
    other.memory.store("0:a", 2)
    other.top.at = 5
    other.top.turns[0] = 2
    other.enter(code("int g(int c) { }", "g"), (7, 8), "0:r")
    assert (one.memory.get("0:a"), other.memory.get("0:a"), other.memory.get("1:c")) == (1, 2, 7)
    assert (one.top.at, one.top.turns, len(one.frames), len(other.frames)) == (0, {0: 1}, 1, 2)


def test_what_a_call_returns_is_kept_where_it_is_to_go() -> None:
    """The variables of the call are gone with it; the outermost call returns to nobody."""
    found = state(body("return g(a);"), 1)
    (call,) = (op for op in found.top.code.operations if isinstance(op, Call))
    machine = Machine()
    assert found.values(call) == (1,)
    result = machine.result(found, call)
    found.enter(code("int g(int c) { }", "g"), found.values(call), result)
    machine.leave(found, 4)
    assert found.memory.values == {"0:a": 1, result: 4}
    machine.leave(found, 5)
    assert (found.memory.values, found.frames) == ({}, [])


@pytest.mark.parametrize(
    ("method", "count"),
    [("idle", 1), ("called", 2), ("jumped", 3), ("returned", 3), ("back", 2), ("looped", 3), ("turned", 3)],
)
def test_what_a_walk_must_say_itself(method: str, count: int) -> None:
    """The machine knows C, and nothing of what calls do or how often a loop turns."""
    arguments: list[Any] = [None] * count
    with pytest.raises(NotImplementedError):
        getattr(Machine(), method)(*arguments)
