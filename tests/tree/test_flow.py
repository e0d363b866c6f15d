# SPDX-License-Identifier: GPL-2.0-only
"""Conditions that make no difference: which they are, and what is known behind them."""

from __future__ import annotations

import pytest
from tree.snippets import Run, body

from kvm_ref.tree.expressions import Variable
from kvm_ref.tree.flow import after, idle
from kvm_ref.tree.operations import Asm, Branch, Call, Code, Goto, Jump, Loop, Operation, Return, Turn


def matters(op: Operation) -> bool:
    """Take calls of g() for what is of interest."""
    return isinstance(op, Call) and op.name == "g"


def skipped(code: Code) -> list[str]:
    """Return the texts of the conditions that make no difference."""
    found = idle(code, matters)
    return [op.text for at, op in enumerate(code.operations) if at in found and isinstance(op, Branch)]


@pytest.mark.parametrize(
    ("statements", "texts"),
    [
        ("if (a) h(); g(); return 0;", ["a"]),
        ("if (a) h(); else k(); g(); return 0;", ["a"]),
        ("if (a) g(); return 0;", []),
        ("if (a) h(); else g(); return 0;", []),
        ("if (a) return 1; g(); return 0;", []),
        ("if (a) goto out; g(); out: return 0;", []),
        ('if (a) asm goto("" : : : : out); out: return 0;', []),
        ('if (a) asm("nop"); g(); return 0;', ["a"]),
        ("if (a && b) h(); g(); return 0;", ["a", "b"]),
        ("if (a || b) g(); return 0;", []),
        ("if (a) { if (b) h(); g(); } return 0;", ["b"]),
        ("if (a) { if (b) h(); } g(); return 0;", ["a", "b"]),
        ("b = a ? 1 : 2; g(); return b;", ["a"]),
        ("switch (a) { case 1: h(); break; default: k(); } g(); return 0;", ["case 1"]),
        ("switch (a) { case 1: g(); break; default: k(); } return 0;", []),
        ("if (a) while (1) h(); g(); return 0;", ["a"]),
        ("while (a) { g(); } return 0;", []),
        ("while (a) { h(); } return 0;", []),
        ("while (g()) { if (a) h(); } return 0;", ["a"]),
        ("if (a) for_each_cpu(b, m) h(); g(); return 0;", ["a"]),
        ("if (a) for_each_cpu(b, m) g(); return 0;", []),
        ("for (;;) { if (a) break; }", []),
        ("for (;;) { if (a) h(); }", ["a"]),
    ],
)
def test_conditions_that_make_no_difference(statements: str, texts: list[str]) -> None:
    """They are those between which and where both ways meet nothing happens, and nothing turns or leaves."""
    assert skipped(body(statements)) == texts


@pytest.mark.parametrize(
    ("statements", "places"),
    [
        ("if (a) b = 1; g(); return b;", ["b"]),
        ("if (a) b = 1; else a = 2; g(); return b;", ["a", "b"]),
        ("if (a) h(&b, a); g(); return b;", ["b"]),
        ("if (a) for_each_cpu(b, m) h(); g(); return b;", ["b"]),
        ("if (a) for_each_thing(1) h(); g(); return b;", []),
        ("if (a) ; g(); return b;", []),
    ],
)
def test_what_is_set_between_is_told(statements: str, places: list[str]) -> None:
    """All that one of the ways may set is known to be unknown where they meet."""
    (found,) = idle(body(statements), matters).values()
    assert sorted(p.name for p in found.places if isinstance(p, Variable)) == places


def test_a_condition_that_makes_no_difference_is_not_tried_both_ways() -> None:
    """The walk goes on where both ways meet, and forgets what one of them set."""
    code = body("b = 1; if (a) { b = 2; h(); } g(b); if (a) g(2); return b;")
    assert sorted(Run({}, idle(code, matters)).ways(code)) == [
        "g(?) g(2) return ?",
        "g(?) return ?",
    ]
    assert Run({}, idle(code, matters)).ways(code, 0) == ["g(1) return 1"]


def test_where_control_goes() -> None:
    """Each kind of operation has the operations that may follow it."""
    code = body('x: if (a) goto x; while (a) g(); for_each_cpu(a, m) g(); asm goto("" : : : : x); return 0;')
    operations = code.operations
    nexts: dict[type[object], set[int]] = {}
    for at, op in enumerate(operations):
        steps = {n - at for n in after(operations, at)}
        nexts.setdefault(type(op), set()).update({1} & steps)
        if isinstance(op, (Jump, Goto)):
            assert after(operations, at) == (op.to.at,)
        elif isinstance(op, Branch):
            assert after(operations, at) == (op.yes.at, op.no.at)
        elif isinstance(op, (Loop, Turn)):
            assert after(operations, at) == (at + 1, op.leave.at)
        elif isinstance(op, Asm):
            assert after(operations, at) == (at + 1, op.labels[0][1].at)
    assert {kind for kind, found in nexts.items() if 1 in found} == {Call, Branch, Loop, Turn, Asm}
    assert [after(operations, at) for at, op in enumerate(operations) if isinstance(op, Return)] == [(), ()]
