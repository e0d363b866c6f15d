# SPDX-License-Identifier: GPL-2.0-only
"""A loop that is there twice is told; two that only look alike are not."""

from __future__ import annotations

from pathlib import Path

import pytest
from tree.snippets import Text, items_of

from kvm_ref.tree.bodies import Body
from kvm_ref.tree.needless import Without, needless


def told(root: Path, statements: str, *bodies: str) -> list[tuple[int, str]]:
    """Hold f() with these statements, from line 3 on, against bodies; return the lines and remarks."""
    text = Text(root, f"int f(struct s *s)\n{{\n{statements}\nreturn 0;\n}}\n")
    code = text.program.code("f")
    assert code is not None, text.program.errors
    every = [Body(items_of(items), 0) for items in bodies]
    args = (text.locks, text.optional, text.labels)
    found = needless(code, every, lambda body: Without(text.interest, code, body, *args), text.interest.known)
    return [(one.line, one.message) for one in found]


LIST = "list_for_each_entry(x, &xs, node)\n\tg(x);\n"


@pytest.mark.parametrize(
    ("statements", "bodies", "lines"),
    [
        (LIST, ["g g", "g"], []),
        (LIST + LIST, ["g g", "g"], [4, 6]),
        # What is between them is a reason to go through the list again.
        (LIST + "h(s);\n" + LIST, ["g h g"], []),
        (LIST + LIST.replace("&xs", "&ys"), ["g g"], []),
        ("for (i = 0; i < count(s); i++) g(i);\n" * 2, ["g g"], [3, 4]),
        ("for (i = 0; i < count(s); i++) g(i);\nfor (i = 0; i < number(s); i++) g(i);", ["g g"], []),
        # Twice in one loop is not in two loops.
        (LIST.replace("g(x);", "{ g(x); g(x); }"), ["g g"], []),
        # Nobody makes such a call.
        ((LIST + LIST).replace("g(x)", "h(x)"), [""], []),
        # What the model does not show is not looked at.
        ((LIST + LIST).replace("g(x)", "k(x)") + "g(s);\n", ["g"], []),
    ],
)
def test_loops(tmp_path: Path, statements: str, bodies: list[str], lines: list[int]) -> None:
    """Both of two equal loops are told at their call, because either of them could go."""
    found = told(tmp_path, statements, *bodies)
    assert found == [(line, "f() calls g() in one more loop") for line in lines]


def test_calls_through_a_pointer(tmp_path: Path) -> None:
    """A call through a pointer is known by the member that holds it."""
    loop = "list_for_each_entry(x, &xs, node)\n\tx->ops->resume(x);\n"
    table = "static struct ops table = { .resume = g };\n"
    text = Text(
        tmp_path,
        f"int g(void *x) {{ return 0; }}\n{table}int f(struct s *s)\n{{\n{loop}{loop}return 0;\n}}\n",
    )
    code = text.program.code("f")
    assert code is not None
    args = (text.locks, text.optional, text.labels)
    bodies = [Body(items_of("g"), 0)]
    found = needless(
        code, bodies, lambda body: Without(text.interest, code, body, *args), text.interest.known
    )
    assert [(one.line, one.rule, one.message) for one in found] == [
        (6, "differs", "f() calls resume() in one more loop"),
        (8, "differs", "f() calls resume() in one more loop"),
    ]
