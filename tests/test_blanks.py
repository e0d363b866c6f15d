# SPDX-License-Identifier: GPL-2.0-only
"""A value that is left out is missed by who asks for it, and by nobody else."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from bare_machine import Bare, bare

from kvm_ref.blanks import Blanks
from kvm_ref.kernel import Kernel, Statics
from kvm_ref.linux.module import Modules
from kvm_ref.linux.percpu import PerCpu


class part:
    """A struct within the variables of a file."""

    __slots__ = ("other", "owner", "whole")

    def __init__(self) -> None:
        self.owner = ""
        self.whole: Core | None = None
        self.other: part | None = None


class Core(Statics):
    """The variables of a module that stays loaded."""

    __slots__ = ("left", "member", "own", "same")
    module = "core"

    def __init__(self) -> None:
        self.left = 0
        self.same = "same"
        self.member = part()
        self.member.whole = self
        self.member.other = self.member
        self.own: PerCpu[int] = PerCpu(-1)


class Unused(Statics):
    """Variables for which nobody has asked yet."""

    __slots__ = ()
    module = "core"


def machine(left: int = 0, owner: str = "", own: dict[int, int] | None = None) -> Kernel:
    """Return a machine with the module loaded."""
    k = bare(2)
    k[Modules].loaded.append("core")
    k[Core].left = left
    k[Core].member.owner = owner
    k[Core].own.update(own or {})
    return k


def blanks() -> Blanks:
    """Return the variables by which these two differ: all three, but not what is the same."""
    old = machine(7, "old", {0: 1})
    old[Unused].at_boot(old)
    return Blanks(old, machine())


def fill(k: Kernel) -> str:
    """Set each variable before asking for it."""
    g = k[Core]
    g.left = 1
    g.member.owner = "new"
    for cpu in k.possible:
        g.own[cpu] = cpu
    return f"{g.left} {g.member.owner} {g.own[0]} {g.own[1]} {g.same}"


def test_who_sets_them_first_does_not_miss_them() -> None:
    """What is done is the same whatever the values were, and none is blank afterwards."""
    k = machine(9, "older", {1: 5})
    some = blanks()
    assert some.make(k) is True
    assert some.run(k, lambda: fill(k)) == ("1 new 0 1 same", False)
    assert type(k[Core]) is Core
    assert type(k[Core].member) is part
    assert type(k[Core].own) is PerCpu
    # A machine in which nothing is blank is no other than before.
    assert some.run(k, lambda: k[Core].left) == (1, False)


def test_what_nobody_has_asked_for_yet_is_there() -> None:
    """Else a machine on which somebody had would not be like one on which nobody had."""
    k = machine()
    blanks().make(k)
    assert Unused in k.statics


@pytest.mark.parametrize(
    "asks",
    [
        lambda g: g.left,
        lambda g: g.member.owner,
        lambda g: g.own[1],
        lambda g: g.own.get(0),
        lambda g: list(g.own),
        lambda g: 1 in g.own,
        lambda g: bool(g.own),
        lambda g: g.own.items(),
        lambda g: g.own.clear(),
        # Who looks away when it is missing has asked all the same.
        lambda g: getattr(g, "left", None),
        lambda g: hasattr(g.member, "owner"),
    ],
)
def test_who_asks_for_one_is_noticed(asks: Callable[[Core], object]) -> None:
    """What comes of it counts for nothing."""
    k = machine(9, "older", {1: 5})
    some = blanks()
    some.make(k)
    assert some.run(k, lambda: asks(k[Core])) == (None, True)


def test_asking_for_what_is_not_blank() -> None:
    """Others may be asked for, and what is not there at all is missing as ever."""
    k = machine(9)
    some = blanks()
    some.make(k)
    assert some.run(k, lambda: (k[Core].same, k[Core].own.initial)) == (("same", -1), True)
    assert some.run(k, lambda: getattr(k[Core], "none", "none")) == ("none", True)
    with pytest.raises(AttributeError):
        some.run(k, lambda: k[Core].none)  # type: ignore[attr-defined]
    assert type(k[Core]) is Core


def test_what_is_not_set_stays_blank() -> None:
    """Also where only some CPUs were given a value."""
    k = machine(9)
    some = blanks()
    some.make(k)
    assert some.run(k, lambda: setattr(k[Core], "left", 1)) == (None, True)
    assert some.run(k, lambda: setattr(k[Core].member, "owner", "new")) == (None, True)
    assert some.run(k, lambda: k[Core].own.__setitem__(0, 3)) == (None, True)
    assert some.run(k, lambda: k[Core].own[0]) == (3, True)
    assert some.run(k, lambda: k[Core].own[1]) == (None, True)
    assert some.run(k, lambda: k[Core].own.__setitem__(1, 4)) == (None, False)
    assert k[Core].own == {0: 3, 1: 4}


def test_a_module_that_goes_takes_its_blanks_along() -> None:
    """Nothing is left of them; and of a module that is not loaded there are none."""
    k = machine(9)
    some = blanks()
    some.make(k)

    def unload() -> None:
        k[Modules].loaded.remove("core")
        k.statics.pop(Core, None)

    assert some.run(k, unload) == (None, False)
    assert some.make(k) is False
    assert Core not in k.statics


def test_two_machines_that_do_not_differ() -> None:
    """A value that was written and is the initial one makes no difference; nothing is blank then."""
    k = machine(own={1: -1})
    some = Blanks(machine(own={0: -1}), machine())
    assert some.make(k) is False
    assert k[Core].own == {1: -1}
    assert isinstance(k.arch, Bare)
