# SPDX-License-Identifier: GPL-2.0-only
"""What is wrong in changed text: the rule's name, the place, and the way that leads there."""

from __future__ import annotations

from pathlib import Path

import pytest
from tree.facts import FACTS

from kvm_ref.tree.audit import Audit, Files
from kvm_ref.tree.bodies import Body, Difference, Item
from kvm_ref.tree.cases import Case
from kvm_ref.tree.check import Assumed, Held, Parted
from kvm_ref.tree.defects import Defect, of_difference, of_held

PLACE = "virt/kvm/x.c"


def defect(items: tuple[Item, ...], did: Item, due: Item) -> Defect:
    """Return the defect of text that does something else behind some calls of kvm_init()."""
    lines = tuple((PLACE, 10 + n) for n in range(len(items)))
    difference = Difference(PLACE, 20, did, due, lines)
    parted = Parted(Case(Body((*items, due), None), "kvm_irqfd_init", "load"), difference)
    return of_difference(Held("kvm_init", PLACE, 1, 1, 0, (parted,), (), ""), parted, FACTS)


@pytest.mark.parametrize(
    ("items", "did", "due", "rule"),
    [
        ((), ("goto", "a", None), ("goto", "b", None), "wrong-label"),
        ((), ("call", "free", None), ("goto", "b", None), "wrong-label"),
        ((), ("return", "", 0), ("unlock", "m", None), "lock-held"),
        ((), ("unlock", "m", None), ("return", "", None), "lock-held"),
        ((), ("return", "", 0), ("return", "", -12), "success-after-unwind"),
        ((), ("return", "", "?"), ("return", "", -12), "success-after-unwind"),
        ((), ("return", "", -5), ("return", "", -12), "differs"),
        ((), ("return", "", -5), ("return", "", 0), "differs"),
        ((("call", "free", None),), ("call", "free", None), ("return", "", None), "double-release"),
        ((), ("call", "free", None), ("return", "", None), "differs"),
        ((), ("return", "", None), ("call", "free", None), "leak"),
        ((), ("return", "", None), ("call", "tell", None), "differs"),
    ],
)
def test_the_rule_of_a_difference(items: tuple[Item, ...], did: Item, due: Item, rule: str) -> None:
    """What the text does, and what the model does there, say which rule is broken."""
    assert defect(items, did, due).rule == rule


def test_a_difference_tells_the_way() -> None:
    """The flow names what acquired, what failed and the jumps, each at its line; the message both sides."""
    items: tuple[Item, ...] = (
        ("lock", "m", None),
        ("call", "alloc", "ptr"),
        ("call", "tell", 1),
        ("call", "alloc", "NULL"),
        ("call", "init", -12),
        ("call", "make", "ERR_PTR(-2)"),
        ("goto", "out", None),
    )
    found = defect(items, ("return", "", 0), ("unlock", "m", None))
    assert found.message == "kvm_init() after goto out: the text returns 0, the model unlocks m"
    assert [(at.line, at.text) for at in found.flow] == [
        (10, "lock of m"),
        (11, "alloc()"),
        (13, "alloc() fails with NULL"),
        (14, "init() fails with -ENOMEM"),
        (15, "make() fails with ERR_PTR(-2)"),
        (16, "goto out"),
        (20, "the text returns 0"),
    ]
    assert found.fault == "kvm_irqfd_init"


def test_a_place_is_told_once() -> None:
    """Two runs that part at the same place are one defect."""
    parted = [
        Parted(
            Case(Body((), value), fault, "load"),
            Difference(PLACE, 20, ("return", "", 0), ("return", "", value), ()),
        )
        for fault, value in (("a", -12), ("b", -12), ("c", -5))
    ]
    held = Held("f", PLACE, 1, 3, 0, tuple(parted), (), "")
    assert [d.fault for d in of_held(held, FACTS)] == ["a"]


def audit(tmp_path: Path, text: str, name: str = "f") -> list[Defect]:
    path = tmp_path / "x.c"
    path.write_text(text)
    (one,) = Audit(Files([str(path)]), FACTS, Assumed({})).all([name])
    return list(one.defects)


def told(tmp_path: Path, text: str) -> list[tuple[str, int, str]]:
    return [(d.rule, d.at.line, d.message.replace("x.c:", "")) for d in audit(tmp_path, text)]


def test_a_leak_without_a_label(tmp_path: Path) -> None:
    """What is not given back before a return is told where it was acquired."""
    text = "int f(void)\n{\n\tvoid *p = alloc(1);\n\tif (x())\n\t\treturn -5;\n\tfree(p);\n\treturn 0;\n}\n"
    assert told(tmp_path, text) == [("leak", 3, "mem 3 is still held when f() fails")]


def test_a_double_release(tmp_path: Path) -> None:
    """What is freed twice."""
    text = "int f(void)\n{\n\tvoid *p = alloc(1);\n\tif (!p)\n\t\treturn -12;\n\tfree(p);\n\tfree(p);\n\treturn 0;\n}\n"
    assert told(tmp_path, text) == [("double-release", 8, "mem 3 is released a second time in f()")]


def test_a_lock_that_stays(tmp_path: Path) -> None:
    """A way out that forgets the unlock, through a label."""
    text = (
        "int f(void)\n{\n\tint r;\n\tvoid *p;\n\tmutex_lock(&m);\n\tp = alloc(1);\n\tif (!p) {\n\t\tr = -12;\n"
        "\t\tgoto out;\n\t}\n\tfree(p);\n\tmutex_unlock(&m);\n\treturn 0;\nout:\n\treturn r;\n}\n"
    )
    ((rule, line, _),) = told(tmp_path, text)
    assert (rule, line) == ("lock-held", 9)


def test_success_after_unwinding(tmp_path: Path) -> None:
    """A function that jumps with an error and returns 0."""
    text = (
        "int f(void)\n{\n\tint r = -12;\n\tvoid *p = alloc(1);\n\tif (!p)\n\t\tgoto out;\n\tfree(p);\n"
        "\treturn 0;\nout:\n\tr = 0;\n\treturn r;\n}\n"
    )
    ((rule, line, _),) = told(tmp_path, text)
    assert (rule, line) == ("success-after-unwind", 6)
