# SPDX-License-Identifier: GPL-2.0-only
"""Blanks: variables whose values are left out of the state of a machine.

A module that stays loaded keeps its variables, and what one life left in them hardly ever matters to the
next one, which sets them before it asks for them. With a blank in its place a value cannot be asked
for: who tries gets an AttributeError. Who does not does the same whatever the value is.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Never

import attrs

from kvm_ref.kernel import Kernel, Statics
from kvm_ref.linux.module import Modules
from kvm_ref.linux.percpu import PerCpu
from kvm_ref.slotted import slots_of


class _Blank(PerCpu[Any]):
    # A per-CPU variable of which only those CPUs have a value that were given one.
    __slots__ = ()

    def __missing__(self, cpu: int) -> Never:
        raise AttributeError(f"the value of CPU {cpu} is blank")


@attrs.frozen
class _Place:
    # A variable that may be blank: the class that holds it, and the names of members down to it.
    of: type[Statics]
    names: tuple[str, ...]

    def holder(self, k: Kernel) -> Any:
        # What has the last name, or None.
        holder: Any = k.get(self.of)
        for name in self.names[:-1]:
            holder = getattr(holder, name, None)
        return holder


class Blanks:
    """The variables of modules by which one state of a machine differs from another.

    Args:
        k, other: the machine in the two states.
    """

    def __init__(self, k: Kernel, other: Kernel) -> None:
        self._own = [of for of in k if of.module in other[Modules].loaded]
        seen: set[int] = set()
        self._places = [
            _Place(of, names) for of in self._own for names in _differing(k[of], other[of], seen)
        ]

    def make(self, k: Kernel) -> bool:
        """Leave out their values, and say whether there was any."""
        for of in self._own:
            if of.module in k[Modules].loaded:
                # The variables are there, though nobody may have asked for them yet.
                k[of]
        made = False
        for place in self._places:
            holder = place.holder(k)
            value = getattr(holder, place.names[-1], None)
            if isinstance(value, PerCpu):
                value.clear()
                value.__class__ = _Blank
            elif holder is not None:
                delattr(holder, place.names[-1])
            made = made or holder is not None
        return made

    def left(self, k: Kernel) -> bool:
        """Say whether any value is left out still."""
        for place in self._places:
            holder = place.holder(k)
            value = getattr(holder, place.names[-1], _Blank) if holder is not None else None
            if isinstance(value, _Blank) and value.keys() >= set(k.possible):
                value.__class__ = PerCpu
            elif value is _Blank or isinstance(value, _Blank):
                return True
        return False


def _differing(one: object, other: object, seen: set[int]) -> Iterator[tuple[str, ...]]:
    # The names of members by which two of a kind differ, and of their members; of one that can be
    # come at in several ways, once.
    for name in slots_of(type(one)) or ():
        a, b = getattr(one, name), getattr(other, name)
        if type(a) is type(b) and slots_of(type(a)):
            if id(a) not in seen:
                seen.add(id(a))
                yield from ((name, *names) for names in _differing(a, b, seen))
        elif type(a) is not type(b) or (_own(a) != _own(b) if isinstance(a, PerCpu) else a != b):
            yield (name,)


def _own(variable: PerCpu[Any]) -> dict[int, Any]:
    # What CPUs have that is not the initial value.
    return {cpu: value for cpu, value in variable.items() if value != variable.initial}
