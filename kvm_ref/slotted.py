# SPDX-License-Identifier: GPL-2.0-only
"""How a snapshot holds an instance of a class that has slots: by their values, in order.

`pickle` makes a dictionary of each instance, with the names of its slots; that would take twice the
time of a snapshot. As there is one order for each class, functions are made for it from source text.
"""

from __future__ import annotations

import copyreg
import functools
from collections.abc import Callable, Iterable
from types import CodeType, FunctionType
from typing import Any

from kvm_ref.kernel import Resource

Reducer = Callable[[Any], tuple[Any, ...]]

# Classes with as many slots share what the compiler made; PLACE1 and so on stand for their names. An
# instance that lacks one of its attributes is left to pickle. What others refer to may come back to the
# instance, so it is there first and then filled; a resource that has but its id is made of that at once.
_SOURCE = """
def fill(instance, values):
    ({places},) = values

def reduced(instance):
    try:
        return NEW, CLASS, ({places},), None, None, fill
    except AttributeError:
        return instance.__reduce_ex__(2)
"""
_RESOURCE = """
def make(id):
    instance = CREATE(CLASS)
    instance.id = id
    return instance

def reduced(instance):
    try:
        return make, (instance.id,)
    except AttributeError:
        return instance.__reduce_ex__(2)
"""
# What a class must not have of its own.
_OWN = (
    "__new__",
    "__reduce__",
    "__reduce_ex__",
    "__getstate__",
    "__setstate__",
    "__setattr__",
    "__getnewargs__",
)


def slots_of(of: type) -> list[str] | None:
    """Return the names of a class's slots, or None if its instances hold anything besides."""
    if any(getattr(of, name, None) is not getattr(object, name, None) for name in _OWN):
        return None
    names: list[str] = []
    for base in reversed(of.__mro__[:-1]):
        slots = base.__dict__.get("__slots__")
        if slots is None:
            return None
        names += (slots,) if isinstance(slots, str) else slots
    return None if any(name.startswith("__") for name in names) else names


def reducers(classes: Iterable[type]) -> tuple[dict[type, Reducer], list[object]]:
    """Return how to take instances of these classes apart, and what is needed to put them together.

    The first is a `pickle.Pickler.dispatch_table`; what is needed must be known to who unpickles.
    """
    table: dict[type, Reducer] = {}
    needed: list[object] = []
    for of in classes:
        made = _made(of)
        if made:
            table[of] = made["reduced"]
            needed.append(made["needed"])
    return table, needed


def reducer(of: type) -> Reducer | None:
    """Return how to take an instance of a class apart, or None if that is left to pickle."""
    made = _made(of)
    return made["reduced"] if made else None


@functools.cache
def _made(of: type) -> dict[str, Any] | None:
    # The functions for a class; backends have many in common.
    names = slots_of(of)
    if not names:
        return None
    if issubclass(of, Resource) and names == ["id"]:
        made: dict[str, Any] = {"CLASS": of, "CREATE": object.__new__}
    else:
        # What pickle writes as an opcode of its own; no stub of the standard library names it.
        made = {"CLASS": (of,), "NEW": copyreg.__newobj__}  # type: ignore[attr-defined]
    stand_in = {f"PLACE{n}": name for n, name in enumerate(names, 1)}
    for code in _codes(_RESOURCE if "CREATE" in made else _SOURCE, len(names)):
        spelt = code.replace(co_names=tuple(stand_in.get(name, name) for name in code.co_names))
        made[code.co_name] = FunctionType(spelt, made)
    made["needed"] = made.get("make") or made["fill"]
    return made


@functools.cache
def _codes(source: str, count: int) -> list[CodeType]:
    # The code of both functions for a class with so many slots.
    places = ", ".join(f"instance.PLACE{n}" for n in range(1, count + 1))
    code = compile(source.format(places=places), "<slotted>", "exec")
    return [one for one in code.co_consts if isinstance(one, CodeType)]
