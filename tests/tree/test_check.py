# SPDX-License-Identifier: GPL-2.0-only
"""Functions that cannot be compared are errors, never passes."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from command_line import Command
from tree import kernel_source

from kvm_ref import backend as backends
from kvm_ref.tree import match
from kvm_ref.tree.check import Check, configuration
from kvm_ref.tree.config import Config
from kvm_ref.tree.evidence import Evidence
from kvm_ref.tree.report import text
from kvm_ref.tree.result import checked
from kvm_ref.tree.source import File, Tree

MAIN = "arch/loongarch/kvm/main.c"


class Changed(Tree):
    """A tree with one file changed in memory."""

    def __init__(self, path: str, change: Callable[[str], str]) -> None:
        super().__init__(kernel_source.kernel_tree())
        self._texts[path] = change(super().text(path).decode()).encode()


def check(tree: Tree) -> Check:
    backend = backends.load("loongarch")
    return Check(tree, backend, configuration(backend), Evidence(backend))


def test_a_function_that_cannot_be_read_is_an_error() -> None:
    """Where the grammar gives up: the line, and no case counts as equal."""
    tree = Changed(
        MAIN, lambda t: t.replace("r = kvm_loongarch_env_init();", "r = (kvm_loongarch_env_init(;")
    )
    one = checked(check(tree), ["kvm_loongarch_init"])
    (held,) = one.held
    assert (held.equal, one.equal) == (0, False)
    assert "cannot read kvm_loongarch_init()" in held.error
    assert any(
        "cannot read kvm_loongarch_init()" in line for line in text("linux", "6.12", [one], every=False)
    )


def test_a_function_that_is_gone_is_told() -> None:
    """A function that was renamed is missing; what called it differs."""
    tree = Changed(MAIN, lambda t: t.replace("kvm_loongarch_env_exit", "kvm_loongarch_env_fini"))
    one = checked(check(tree), ["kvm_loongarch_env_exit", "kvm_loongarch_init"])
    assert one.missing == ("kvm_loongarch_env_exit",)
    assert not one.equal
    assert any(
        "kvm_loongarch_env_exit() is not in this tree" in t for t in text("linux", "6.12", [one], every=False)
    )


def test_a_walk_that_is_given_up_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """More ways than can be tried: no case counts as equal."""
    monkeypatch.setattr(match, "_LIMIT", 5)
    (held,) = checked(check(Tree(kernel_source.kernel_tree())), ["kvm_loongarch_init"]).held
    assert held.equal == 0
    assert "more ways than can be tried" in held.error


def test_missing_lines_are_told_for_one_function(kvm_ref: Command) -> None:
    """With --function the jumps and returns are named that no run of the model takes."""
    done = kvm_ref(
        "tree", "check", str(kernel_source.kernel_tree()), "--backend", "s390", "--function", "kvm_s390_init"
    )
    assert any(line.startswith("        not taken: lines ") for line in done.lines)


@pytest.mark.parametrize("command", ["walk", "ladder"])
def test_an_unreadable_function_is_told_in_one_line(
    kvm_ref: Command, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    """Status 2, and the line of the text."""
    tree = Changed(
        "virt/kvm/kvm_main.c", lambda t: t.replace("r = kvm_irqfd_init();", "r = (kvm_irqfd_init(;")
    )
    monkeypatch.setattr("kvm_ref.tree.commands.Tree", lambda _: tree)
    done = kvm_ref("tree", command, "linux", "kvm_init")
    assert (done.status, done.err.count("\n")) == (2, 1)
    assert "cannot read kvm_init() at '= (kvm_irqfd_init(;'" in done.err


def test_a_loop_that_is_there_twice(kvm_ref: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every run agrees, but the tree is not equal: the function and both loops are told at their lines."""
    again = re.compile(r"\t+list_for_each_entry_continue\(.*?;\n", re.DOTALL)
    tree = Changed("drivers/base/syscore.c", lambda t: again.sub(lambda found: 2 * found[0], t))
    text = tree.text("drivers/base/syscore.c").decode()
    lines = [n for n, line in enumerate(text.split("\n"), 1) if "->resume(" in line]
    monkeypatch.setattr("kvm_ref.tree.commands.Tree", lambda _: tree)
    names = [word for name in ("syscore_suspend", "register_syscore") for word in ("--function", name)]
    done = kvm_ref("tree", "check", "linux", "--backend", "loongarch", *names)
    assert done.status == 1
    assert "syscore_suspend() calls resume() in one more loop" in done.out
    told = [line.partition(": differs: ")[0] for line in done.lines if ": differs: " in line]
    assert told == [f"drivers/base/syscore.c:{line}" for line in lines[:2]]


def test_configurations_share_files() -> None:
    """A file is read once for all configurations that give the same answers to what it asks."""
    tree = Tree(kernel_source.kernel_tree())
    one, two = (tree.file(MAIN, Config({"CONFIG_NOTHING": on})) for on in (True, False))
    assert one is two
    assert isinstance(one, File)
