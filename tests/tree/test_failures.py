# SPDX-License-Identifier: GPL-2.0-only
"""Each call's failure must lead where the model's does, whether a run comes to that call or not."""

from __future__ import annotations

from pathlib import Path

import pytest
from tree.facts import FACTS
from tree.snippets import items_of, program

from kvm_ref.tree.bodies import Body
from kvm_ref.tree.failures import astray
from kvm_ref.tree.program import Interest

# What follows a failure in the model: number() and alloc() each lead to a label, start() out of the function.
BODIES = (
    ("number=-5 goto:bad", -5),
    ("number alloc=NULL goto:worse use", -12),
    ("number alloc=ptr start=-16", -16),
    ("number alloc=ptr start", 0),
)


def told(root: Path, statements: str) -> list[str]:
    """Return what is told of f() with these statements, from line 3 on: ``LINE RULE: MESSAGE``."""
    made = program(root, {"virt/kvm/x.c": f"int f(struct s *s)\n{{\n{statements}\n}}\n"})
    code = made.code("f")
    assert code is not None, made.errors
    bodies = [Body(items_of(items), value) for items, value in BODIES]
    return [f"{one.line} {one.rule}: {one.message}" for one in astray(code, bodies, Interest(made, FACTS))]


GOOD = """int r;
r = number();
if (r)
	goto bad;
if (!alloc(1)) {
	r = -12;
	goto worse;
}
return start(s);
worse:
use(s);
bad:
return r;"""


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("", "", []),
        (
            "\tgoto bad;\nif",
            "\tgoto worse;\nif",
            ["6 wrong-label: f(): when number() fails, the text jumps to worse, the model jumps to bad"],
        ),
        (
            "\tgoto bad;\nif",
            "\treturn r;\nif",
            ["6 wrong-label: f(): when number() fails, the text returns -EIO, the model jumps to bad"],
        ),
        (
            "\tr = -12;\n",
            "\t;\n",
            [
                "15 success-after-unwind: f(): when alloc() fails, the text returns 0, the model jumps to worse"
            ],
        ),
        # A second call, to which no run of the model comes.
        (
            "return start(s);",
            "if (s->x) {\nr = number();\nif (r)\n\tgoto worse;\n}\nreturn start(s);",
            ["14 wrong-label: f(): when number() fails, the text jumps to worse, the model jumps to bad"],
        ),
        # Control does not come to a call behind a return.
        ("bad:\nreturn r;", "bad:\nreturn r;\nr = number();\nif (r)\n\tgoto worse;\nreturn r;", []),
        # What is returned is not known, or is asked about again.
        ("\tgoto bad;\nif", "\tgoto bad;\nr = plain();\nif", []),
        ("if (r)\n\tgoto bad;", "if (r && s->x)\n\tgoto worse;", []),
    ],
)
def test_where_failures_lead(tmp_path: Path, old: str, new: str, expected: list[str]) -> None:
    """A wrong label, a return in place of one, and an error that is lost are told at their lines."""
    assert old in GOOD
    assert told(tmp_path, GOOD.replace(old, new, 1) if old else GOOD) == expected
