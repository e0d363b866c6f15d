# SPDX-License-Identifier: GPL-2.0-only
"""The audit says nothing of code that is right, in the ways in which the kernel writes it."""

from __future__ import annotations

from pathlib import Path

import pytest

from kvm_ref.tree.audit import Audit, Audited, Files
from kvm_ref.tree.check import Assumed
from kvm_ref.tree.commands import _facts

HEAD = "int f(struct dev *dev, bool global)\n{\n\tint err = 0;\n\tstruct s *p;\n\n"


def audited(root: Path, text: str) -> dict[str, Audited]:
    path = root / "x.c"
    path.write_text(text)
    return {one.name: one for one in Audit(Files([str(path)]), _facts(), Assumed({})).all()}


def told(root: Path, text: str, name: str = "f") -> list[str]:
    """Return what is told of a function, as ``RULE LINE: MESSAGE``."""
    defects = audited(root, text)[name].defects
    return [f"{one.rule} {one.at.line}: {one.message}" for one in defects]


def body(statements: str) -> str:
    return HEAD + statements + "\n}\n"


LATER = "if (misc_register(&m)) {\n\terr = -EIO;\n\tgoto out;\n}\nreturn 0;\nout:\n"


@pytest.mark.parametrize(
    "text",
    [
        # Freed at the end of the block, or taken from there.
        "struct s *q __free(kfree) = kzalloc(1, 2);\nif (!q)\n\treturn -ENOMEM;\nreturn misc_register(&m);",
        "struct s *q __free(kfree) = kzalloc(1, 2);\nif (!q)\n\treturn -ENOMEM;\n"
        "if (misc_register(&m))\n\treturn -EIO;\ndev->q = no_free_ptr(q);\nreturn 0;",
        # A count of references, a list or a queue keeps it.
        "p = kzalloc(1, 2);\nif (!p)\n\treturn -ENOMEM;\ndevice_initialize(&p->dev);\n"
        + LATER + "put_device(&p->dev);\nreturn err;",
        "p = kzalloc(1, 2);\nif (!p)\n\treturn -ENOMEM;\nlist_add(&p->list, &all);\n" + LATER + "return err;",
        "p = kzalloc(1, 2);\nif (!p)\n\treturn -ENOMEM;\nhold(p);\n" + LATER + "return err;",
        # A lock that is taken, or not.
        "if (!mutex_trylock(&dev->l))\n\treturn -EBUSY;\np = kzalloc(1, 2);\nmutex_unlock(&dev->l);\n"
        "kfree(p);\nreturn 0;",
        "if (mmap_write_lock_killable(mm))\n\treturn -EINTR;\np = kzalloc(1, 2);\nmmap_write_unlock(mm);\n"
        "kfree(p);\nreturn 0;",
        # It is freed in another way.
        "p = kzalloc(1, 2);\nif (!p)\n\treturn -ENOMEM;\n" + LATER + "kfree_rcu(p, rcu);\nreturn err;",
        "p = debugfs_create_dir(1, NULL);\n" + LATER + "debugfs_remove(p);\nreturn err;",
        # The caller finds it, and gives it back.
        "dev->p = kzalloc(1, 2);\nif (!dev->p)\n\treturn -ENOMEM;\n" + LATER + "return err;",
        # An error that was left is none for a jump to where all end.
        "err = -EINVAL;\np = kzalloc(1, 2);\nif (!p)\n\treturn err;\nif (dev->x)\n\tgoto skip;\nuse(dev);\n"
        "skip:\nkfree(p);\nreturn 0;",
        # Two functions decide by the same.
        "err = take(dev, global);\nif (err)\n\treturn err;\np = kzalloc(1, 2);\nif (!p) {\n\terr = -ENOMEM;\n"
        "\tgoto out;\n}\nkfree(p);\nout:\ngive(dev, global);\nreturn err;",
        "err = take(dev, dev->n > 3);\nif (err)\n\treturn err;\np = kzalloc(1, 2);\nif (!p) {\n"
        "\terr = -ENOMEM;\n\tgoto out;\n}\nkfree(p);\nout:\ngive(dev, dev->n > 3);\nreturn err;",
    ],
)  # fmt: skip
def test_what_is_right(tmp_path: Path, text: str) -> None:
    """Nothing is told of a function that leaves things as it should."""
    helpers = (
        "static int take(struct dev *dev, bool all)\n{\n\tif (all)\n\t\tmutex_lock(&every);\n"
        "\tmutex_lock(&dev->l);\n\treturn 0;\n}\n"
        "static void give(struct dev *dev, bool all)\n{\n\tmutex_unlock(&dev->l);\n"
        "\tif (all)\n\t\tmutex_unlock(&every);\n}\n"
        "static void hold(struct s *p)\n{\n\tkobject_init(&p->kobj, &type);\n}\n"
    )
    assert told(tmp_path, helpers + body(text)) == []


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (
            "struct s *q __free(kfree) = kzalloc(1, 2);\nif (!q)\n\treturn -ENOMEM;\nif (misc_register(&m)) {\n"
            "\tkfree(q);\n\treturn -EIO;\n}\nreturn 0;",
            ["double-release 11: kmalloc x.c:6 is released a second time in f()"],
        ),
        (
            "p = kzalloc(1, 2);\nif (!p)\n\treturn -ENOMEM;\nlist_add(&p->list, &all);\nlist_del(&p->list);\n"
            + LATER + "return err;",
            ["leak 13: kmalloc x.c:6 is still held when f() fails, through out"],
        ),
        # Who gives some of it back has to give back all.
        (
            "dev->p = kzalloc(1, 2);\nif (!dev->p)\n\treturn -ENOMEM;\ndev->q = kzalloc(1, 2);\n"
            "if (!dev->q) {\n\tkfree(dev->p);\n\treturn -ENOMEM;\n}\n" + LATER + "return err;",
            [
                "leak 16: kmalloc x.c:6 is still held when f() fails, through out",
                "leak 16: kmalloc x.c:9 is still held when f() fails, through out",
            ],
        ),
        # A jump to where only failures end.
        (
            "p = kzalloc(1, 2);\nif (!p)\n\treturn -ENOMEM;\n" + LATER + "kfree(p);\nerr = 0;\nreturn err;",
            ["success-after-unwind 11: f() returns 0 after it jumped to out, through out"],
        ),
    ],
)  # fmt: skip
def test_what_is_wrong(tmp_path: Path, text: str, says: list[str]) -> None:
    """What looks alike and is wrong is told."""
    assert told(tmp_path, body(text)) == says


def test_what_a_caller_gave_is_his_to_give_back(tmp_path: Path) -> None:
    """A counter in a structure of the caller stays with it when a later step fails."""
    text = "init_srcu_struct(&dev->srcu);\nreturn misc_register(&m);"
    assert told(tmp_path, body(text)) == []


def test_what_cannot_be_read_is_told_without_being_asked_for(tmp_path: Path) -> None:
    """A function that acquires something, by its looks, and that is nested too deeply, is an error."""
    deep = "(" * 2000 + "1" + ")" * 2000
    found = audited(tmp_path, f"int f(void)\n{{\n\tvoid *p = kmalloc(1, 2);\n\treturn {deep};\n}}\n")
    assert found["f"].error == f"{tmp_path}/x.c:1: cannot read f(): it is nested too deeply"
