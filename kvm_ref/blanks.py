# SPDX-License-Identifier: GPL-2.0-only
"""Blanks: variables whose values are left out of the state of a machine.

A module that stays loaded keeps its variables, and what one life left in them hardly ever matters to the
next one, which sets them before it asks for them. While a value is blank it is noticed if anybody
asks for it. What never does is the same whatever the value is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Never, TypeVar

import attrs

from kvm_ref.kernel import Kernel, Statics
from kvm_ref.linux.module import Modules
from kvm_ref.linux.percpu import PerCpu
from kvm_ref.slotted import slots_of

T = TypeVar("T")


class _Partial(PerCpu[Any]):
    # A per-CPU variable that is blank but for the CPUs that were given a value.
    __slots__ = ()


# What can be done with a per-CPU variable but for one CPU that has a value.
_ASKS = {"__missing__", *vars(dict)} - {*vars(object), "__getitem__", "__setitem__"}
_NONE = object()


@attrs.frozen(eq=False, repr=False)
class _Place:
    # A variable that may be blank: the class that holds it, the names of members down to it, and its own.
    of: type[Statics]
    way: tuple[str, ...]
    name: str

    def found(self, k: Kernel) -> tuple[Any, Any]:
        # What has the name, or None, and the value; _NONE if that is blank or not there.
        holder: Any = k.statics.get(self.of)
        for name in self.way:
            holder = getattr(holder, name, None)
        return holder, getattr(holder, self.name, _NONE)


class Blanks:
    """The variables of modules by which one state of a machine differs from another.

    Args:
        k, other: the machine in the two states.
    """

    def __init__(self, k: Kernel, other: Kernel) -> None:
        self._own = [of for of in k.statics if of.module in other[Modules].loaded]
        seen = {id(k[of]) for of in self._own}
        self._places = [
            _Place(of, tuple(way), name)
            for of in self._own
            for *way, name in _differing(k[of], other[of], seen)
        ]
        self._asking: dict[type, type] = {}
        self._asked = False

    def make(self, k: Kernel) -> bool:
        """Make these variables blank, and say whether there are any."""
        for of in self._own:
            if of.module in k[Modules].loaded:
                # They are there, though nobody may have asked for them yet.
                k[of]
        made = False
        for place in self._places:
            holder, value = place.found(k)
            if isinstance(value, PerCpu):
                value.clear()
                _turn(value, _Partial)
            elif value is not _NONE:
                delattr(holder, place.name)
            made = made or value is not _NONE
        return made

    def run(self, k: Kernel, does: Callable[[], T]) -> tuple[T | None, bool]:
        """Run something on a machine with blanks.

        Returns:
            What it gives, or None if it asked for a blank; and whether there is any blank still.
        """
        self._asked = False
        blank = []
        turned = {}
        for place in self._places:
            holder, value = place.found(k)
            one = value if isinstance(value, _Partial) else holder if value is _NONE else None
            if one is not None:
                blank.append((place, one))
                turned[id(one)] = one, type(one)
        for one, of in turned.values():
            _turn(one, self._asking_of(of))
        done: T | None = None
        try:
            done = does()
        except AttributeError:
            if not self._asked:
                raise
        finally:
            for one, of in turned.values():
                _turn(one, of)
        if self._asked:
            return None, True
        left = [place for place, one in blank if _left(k, place, one)]
        return done, bool(left)

    def _asking_of(self, of: type) -> type:
        # The same class, but that who asks for what is blank is noticed.
        if of in self._asking:
            return self._asking[of]

        def asked(*args: object) -> Never:
            self._asked = True
            raise AttributeError("this value is blank")

        def lacks(holder: object, name: str) -> Never:
            if name in (slots_of(of) or ()):
                asked()
            raise AttributeError(name=name, obj=holder)

        methods = dict.fromkeys(_ASKS, asked) if of is _Partial else {"__getattr__": lacks}
        made = self._asking[of] = type(of.__name__, (of,), {"__slots__": (), **methods})
        return made


def _left(k: Kernel, place: _Place, one: Any) -> bool:
    # Whether something of a blank is left in the machine.
    if place.of not in k.statics:
        return False
    if not isinstance(one, _Partial):
        return getattr(one, place.name, _NONE) is _NONE
    if one.keys() >= set(k.possible):
        _turn(one, PerCpu)
    return isinstance(one, _Partial)


def _turn(one: Any, of: type) -> None:
    one.__class__ = of


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
