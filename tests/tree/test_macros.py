# SPDX-License-Identifier: GPL-2.0-only
"""Macros with arguments, read as functions."""

from __future__ import annotations

from pathlib import Path

import pytest
from tree.snippets import program, ways

from kvm_ref.tree.config import Config
from kvm_ref.tree.macros import leaves, macros
from kvm_ref.tree.parse import parse
from kvm_ref.tree.source import File
from kvm_ref.tree.statements import lower
from kvm_ref.tree.values import Value


def run(text: str, *args: Value, **returns: Value) -> list[str]:
    """Run the only macro of a text."""
    (macro,) = macros(File("a.h", text.encode(), Config({}))).values()
    return ways(lower(parse(macro), Config({})), *args, **returns)


@pytest.mark.parametrize(
    ("text", "runs"),
    [
        ("#define m(a) g(a)", "g(7) return 1"),
        ("#define m(a) g(a);", "g(7) return 1"),
        ("#\tdefine\tm(a, b)\t(g(b) + (a))", "g(8) return 8"),
        ("#define m() g()", "g() return 1"),
        ("#define m(a) \\\n\tg(a, \\\n\t  2)", "g(7, 2) return 1"),
        ("#define m(a) \\\r\n\tg(a)", "g(7) return 1"),
        ("#define m(a) g(a) /* h(a) */", "g(7) return 1"),
        ("#define m(a) g(a) // h(a)", "g(7) return 1"),
        ("#define m(a) /* two\n lines */ g(a)", "g(7) return 1"),
        ("#define m(a) do { g(a); h(); } while (0)", "g(7) h() return"),
        ("#define m(a) \\\ndo { \\\n\tg(a); /* x */ \\\n\th(); \\\n} while (0)", "g(7) h() return"),
        ("#define m(a) if (a) g(a); else h()", "g(7) return"),
        ("#define m(a) ({ int x = g(a); x; })", "g(7) return 1"),
        ("#define m(a, b) ((a) ? (a)->ops->open(b) : 0)", "->open(8) return ?"),
        ("  # define m(a) (a && g(a))", "g(7) return 1"),
    ],
)
def test_a_macro_does_what_its_text_says(text: str, runs: str) -> None:
    """An expression is what it returns, and a statement what it does; lines and comments do not matter."""
    assert run(f"int x;\n{text}\nint y;\n", 7, 8, g=1) == [runs]


@pytest.mark.parametrize(
    "text",
    [
        "#define m(a) (a + 1)",
        "#define m(a)",
        "#define m g(1)",
        "#define m(a) g(#a)",
        "#define m(a) a##_g(1)",
        "#define m(a...) g(a)",
        "#define m(f, ...) g(f, __VA_ARGS__)",
        "int m(int a);",
    ],
)
def test_what_is_no_function(text: str) -> None:
    """What calls nothing, takes no arguments or any number, or pastes names, is left alone."""
    assert macros(File("a.h", f"{text}\n".encode(), Config({}))) == {}


@pytest.mark.parametrize(
    ("text", "does"),
    [
        ("do { if (a) return g(b); } while (0)", True),
        ("do { if (a) goto out; g(b); } while (0)", True),
        ("do { if (a) \\\n\t\tgoto own; \\\n\tg(b); \\\n\town: h(b); } while (0)", False),
        ("do { g(returned, gotos); } while (0)", False),
    ],
)
def test_which_macros_leave_their_caller(text: str, does: bool) -> None:
    """Those that return, or jump to a label that is not their own."""
    (macro,) = macros(File("a.h", f"#define m(a, b) {text}\n".encode(), Config({}))).values()
    assert leaves(macro) == does


def test_where_a_macro_is() -> None:
    """A macro has the file and the line of its definition."""
    found = macros(File("a.h", b"\n\n#define m(a, b) g(a)\n#define n(c) h(c)\n", Config({})))
    assert [(f.name, f.path, f.line, f.params, f.returns) for f in found.values()] == [
        ("m", "a.h", 3, ("a", "b"), "long"),
        ("n", "a.h", 4, ("c",), "long"),
    ]
    assert found["m"].raw == b"#define m(a, b) g(a)"


def test_lines_within_a_macro_are_those_of_the_file(tmp_path: Path) -> None:
    """What a macro calls on its third line is told to be there."""
    text = "int x;\n#define m(a) do {\t\\\n\tg(a);\t\\\n\th(a);\t\\\n} while (0)\n"
    code = program(tmp_path, {"a.h": text}).code("m")
    assert code
    assert [(op.line) for op in code.operations if hasattr(op, "name")] == [3, 4]


def test_of_two_macros_the_active_one_is_taken() -> None:
    """A macro that the configuration leaves out is not read."""
    text = b"#ifdef CONFIG_A\n#define m(a) g(a)\n#else\n#define m(a) h(a)\n#endif\n"
    for on, name in ((True, "g"), (False, "h")):
        (macro,) = macros(File("a.h", text, Config({"CONFIG_A": on}))).values()
        assert lower(parse(macro), Config({})).calls() == {name}


def test_a_file_is_looked_through_once() -> None:
    """Whoever asks again is told the same."""
    file = File("a.h", b"#define m(a) g(a)\n", Config({}))
    assert macros(file) is macros(file)
