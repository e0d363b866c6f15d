# SPDX-License-Identifier: GPL-2.0-only
"""Snapshots of a machine: bytes that say all that decides what it does next.

Equal bytes, equal future; that is, of machines with the same settings, or that never ask for those
that differ. Neither the log nor the faults are in it. Classes, functions and tables of functions, of
which a snapshot would be full, are constants: they are looked up once, and a snapshot refers to them by
number.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Iterable
from enum import Enum
from operator import attrgetter
from types import FunctionType

from kvm_ref.kernel import LASTING, Kernel, Operations
from kvm_ref.slotted import Reducer, reducer, reducers

# The last protocol in which each object is numbered explicitly where it is written.
_PROTOCOL = 3
# What never changes.
_CONSTANT = (type, FunctionType, Operations, Enum, str)
_NAME = attrgetter("__qualname__")
_LASTING = attrgetter(*LASTING)


class Snapshots:
    """Takes snapshots of one kind of machine, and puts machines into their states.

    Args:
        constants: what to know by number; other objects are known by what they hold, or by name.
    """

    def __init__(self, constants: Iterable[object]) -> None:
        objects = list({id(obj): obj for obj in constants}.values())
        self._reducers, needed = reducers([obj for obj in objects if isinstance(obj, type)])
        objects += needed
        # Equal strings have one number: it makes no difference which of them a state holds.
        alike = {(type(obj), obj): obj for obj in objects}
        numbers = {key: n for n, key in enumerate(alike)}
        # What a pickler believes that it has written before, and what an unpickler has read.
        self._written = pickle.Pickler(io.BytesIO(), _PROTOCOL)
        self._written.memo = {id(obj): (numbers[type(obj), obj], obj) for obj in objects}
        self._read = _Reader(list(alike.values()))
        self._read.load()

    def take(self, k: Kernel) -> bytes:
        """Return the state of a machine."""
        out = io.BytesIO()
        pickler = pickle.Pickler(out, _PROTOCOL)
        pickler.memo = self._written.memo
        pickler.dispatch_table = self._reducers
        pickler.dump(_state(k))
        return out.getvalue()

    def restore(self, k: Kernel, snapshot: bytes) -> None:
        """Put a machine, one of the same backend and CPUs, into the state of a snapshot."""
        # In a frame, for it is read at once, not number by number.
        frame = pickle.FRAME + len(snapshot).to_bytes(8, "little")
        unpickler = pickle.Unpickler(io.BytesIO(frame + snapshot))
        unpickler.memo = self._read.memo
        statics, lasting = unpickler.load()
        k.statics = dict(zip(map(type, statics), statics, strict=True))
        for name, value in zip(LASTING, lasting, strict=True):
            setattr(k, name, value)


class _Reader(pickle.Unpickler):
    # Reads constants, and remembers each under its number.
    def __init__(self, constants: list[object]) -> None:
        numbers = [n.to_bytes(4, "little") for n in range(len(constants))]
        each = [pickle.BININT + n + pickle.BINPERSID + pickle.LONG_BINPUT + n + pickle.POP for n in numbers]
        super().__init__(io.BytesIO(b"".join(each) + pickle.NONE + pickle.STOP))
        self.persistent_load = constants.__getitem__  # type: ignore[method-assign]  # in C it is a field


def constants_of(k: Kernel) -> list[object]:
    """Return what the state of a machine refers to that never changes: classes, functions, strings and the like."""
    finder = pickle.Pickler(io.BytesIO(), _PROTOCOL)
    finder.dispatch_table = _Finding()
    finder.dump(_state(k))
    return [obj for _, obj in finder.memo.copy().values() if isinstance(obj, _CONSTANT)]


class _Finding(dict[type, Reducer]):
    # How to come to what instances hold, but not to the names of their slots, nor into what is constant.
    def __missing__(self, of: type) -> Reducer:
        reduced = None if issubclass(of, Operations) else reducer(of)
        if not reduced and not issubclass(of, Operations):
            raise KeyError(of)
        self[of] = found = lambda one: (object, (), (of, reduced(one)[1:3]) if reduced else None)
        return found


def _state(k: Kernel) -> object:
    # The class of each says which it is.
    return list(map(k.statics.__getitem__, sorted(k.statics, key=_NAME))), _LASTING(k)
