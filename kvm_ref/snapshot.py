# SPDX-License-Identifier: GPL-2.0-only
"""Snapshots of a machine: bytes that say all that decides what it does next.

Equal bytes, equal future; that is, of machines with the same settings, or that never ask for those
that differ. Neither the log nor the faults are in it. Classes and functions, of which a snapshot
would be full, are constants: they are looked up once, and a snapshot refers to them by number.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Iterable
from types import FunctionType

from kvm_ref.kernel import LASTING, Kernel


class Snapshots:
    """Takes snapshots of one kind of machine, and puts machines into their states.

    Args:
        constants: classes and functions to know by number; others are known by name.
    """

    def __init__(self, constants: Iterable[object]) -> None:
        self._constants = list(dict.fromkeys(constants))
        # What a pickler believes that it has written before, and what an unpickler must have read.
        self._written = {id(obj): (n, obj) for n, obj in enumerate(self._constants)}
        self._before = b"".join(
            pickle.BININT2 + n.to_bytes(2, "little") + pickle.BINPERSID + pickle.MEMOIZE + pickle.POP
            for n in range(len(self._constants))
        )

    def take(self, k: Kernel) -> bytes:
        """Return the state of a machine."""
        out = io.BytesIO()
        pickler = pickle.Pickler(out, 5)
        pickler.memo = self._written
        pickler.dump(_state(k))
        return out.getvalue()

    def restore(self, k: Kernel, snapshot: bytes) -> None:
        """Put a machine, one of the same backend and CPUs, into the state of a snapshot."""
        statics, lasting = _Reader(self._constants, self._before + snapshot).load()
        k.clear()
        k.update(statics)
        for name, value in zip(LASTING, lasting, strict=True):
            setattr(k, name, value)


class _Reader(pickle.Unpickler):
    def __init__(self, constants: list[object], text: bytes) -> None:
        super().__init__(io.BytesIO(text))
        self.persistent_load = constants.__getitem__  # type: ignore[method-assign]  # in C it is a field


class _Finder(pickle.Pickler):
    def __init__(self) -> None:
        super().__init__(io.BytesIO(), 5)
        self.found: list[object] = []

    def persistent_id(self, obj: object) -> None:
        if isinstance(obj, (type, FunctionType)):
            self.found.append(obj)


def constants_of(k: Kernel) -> list[object]:
    """Return the classes and functions that the state of a machine refers to."""
    finder = _Finder()
    finder.dump(_state(k))
    return finder.found


def _state(k: Kernel) -> object:
    statics = sorted(k.items(), key=lambda item: item[0].__qualname__)
    return statics, [getattr(k, name) for name in LASTING]
