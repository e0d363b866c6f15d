# SPDX-License-Identifier: GPL-2.0-only
"""A call that is about another resource than the model's is told, as far as that can be known."""

from __future__ import annotations

from pathlib import Path

import pytest
from tree.facts import FACTS
from tree.snippets import program

from kvm_ref.tree.bodies import About, Body, Item
from kvm_ref.tree.match import Agreement, Match
from kvm_ref.tree.program import Interest


def held(root: Path, statements: str, items: list[Item]) -> str:
    """Hold f() with these statements, from line 5 on, against a body; return where they part, and how."""
    text = f"struct s one;\nstruct s two;\nvoid f(struct t *t)\n{{\n{statements}\n}}\n"
    made = program(root, {"virt/kvm/x.c": text})
    code = made.code("f")
    assert code is not None, made.errors
    none: frozenset[str] = frozenset()
    found = Match(Interest(made, FACTS), code, Body(tuple(items), None), none, none, none).run()
    return "agree" if isinstance(found, Agreement) else f"{found.line}: {found.text} / {found.model}"


def released(*names: str) -> list[Item]:
    return [About.of("fini", 0, name) for name in names]


@pytest.mark.parametrize(
    ("statements", "items", "says"),
    [
        # Members are known by their names.
        ("fini(&t->a);\nfini(&t->b);", released("struct t.a", "struct t.b"), "agree"),
        ("fini(&t->b);\nfini(&t->a);", released("struct t.a", "struct t.b"), "5: calls fini(&t->b) / calls fini(struct t.a)"),
        # So are variables, where another call is given the model's.
        ("fini(&one);\nfini(&two);", released("one", "two"), "agree"),
        ("fini(&two);\nfini(&one);", released("one", "two"), "5: calls fini(&two) / calls fini(one)"),
        ("fini(&two);", released("one"), "agree"),
        # What a call returned is known by that call.
        (
            "void *p = alloc(1);\nvoid *q = alloc(2);\nfree(q);\nfree(p);",
            [
                *(About.of("alloc", "ptr", name) for name in ("m", "m#2")),
                *(About.of("free", None, name) for name in ("m#2", "m")),
            ],
            "agree",
        ),
        (
            "void *p = alloc(1);\nvoid *q = alloc(2);\nfree(p);\nfree(q);",
            [
                *(About.of("alloc", "ptr", name) for name in ("m", "m#2")),
                *(About.of("free", None, name) for name in ("m#2", "m")),
            ],
            "7: calls free(p) / calls free(m#2)",
        ),
    ],
)  # fmt: skip
def test_which_resource(tmp_path: Path, statements: str, items: list[Item], says: str) -> None:
    """The first call that is about something else is told, with what both are about."""
    assert held(tmp_path, statements, items) == says
