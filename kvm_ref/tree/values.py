# SPDX-License-Identifier: GPL-2.0-only
"""What a walk of C text knows of a value, and where it keeps it.

A value is a number, a pointer that is not NULL, an error pointer, or not known. Memory is a
dictionary from addresses to values; an address is text: ``kvm_usage_count`` for a global variable,
``2:r`` for a local one of the second call, ``kvm_dev.minor`` for a member, ``*2:kvm.users`` for a member of
what an unknown pointer points to. A pointer that nobody set is thus given a target when it is first
looked through, always the same, so that what is stored there is found again.

What was once decided of a condition that cannot be known holds until one of its variables is set.
"""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from kvm_ref.errno import Errno


@attrs.frozen
class Pointer:
    """A pointer that is not NULL, and the address that it points to."""

    target: str


@attrs.frozen
class Error:
    """What ERR_PTR(-errno) makes; `errno` is positive."""

    errno: int


@attrs.frozen
class Unset:
    """What a local variable holds that nobody has set: anything, but no error that somebody chose."""


UNSET = Unset()
# None: not known.
Value = int | Pointer | Error | Unset | None

CONSTANTS: dict[str, Value] = {
    **{name: int(errno) for name, errno in Errno.__members__.items()},
    "NULL": 0,
    "false": 0,
    "true": 1,
}


def settled(value: Value) -> Value:
    """Return a value for reckoning with: of what nobody set nothing is known."""
    return None if isinstance(value, Unset) else value


def truth(value: Value) -> bool | None:
    """Say whether C takes a value for true; None if that is not known."""
    if value is None or isinstance(value, Unset):
        return None
    return value != 0 if isinstance(value, int) else True


class Memory:
    """What is known of variables, and what was decided of conditions.

    Args:
        initial: what global variables start with; it is shared, and not changed.
    """

    __slots__ = ("decided", "initial", "values")

    def __init__(self, initial: Mapping[str, Value] | None = None) -> None:
        self.initial: Mapping[str, Value] = initial or {}
        self.values: dict[str, Value] = {}
        self.decided: dict[str, bool] = {}

    def copy(self) -> Memory:
        """Return a memory of its own with the same contents."""
        other = Memory(self.initial)
        other.values = self.values.copy()
        other.decided = self.decided.copy()
        return other

    def get(self, address: str) -> Value:
        """Return what is stored at an address, None if that is not known."""
        if "[?]" in address:
            return None
        if address in self.values:
            return self.values[address]
        return self.initial.get(address)

    def store(self, address: str, value: Value) -> None:
        """Store a value; what was known of members of the old one is forgotten with it."""
        self.forget(address)
        if "[" in address:
            self._other_elements(address)
        if "[?]" not in address and (value is not None or address in self.initial):
            self.values[address] = value

    def _other_elements(self, address: str) -> None:
        # An element whose index is not a number may be any of them, and any of them may be it.
        base, _, rest = address.partition("[")
        index = rest.partition("]")[0]
        other = [key for key in self.values if key.startswith(f"{base}[")]
        for key in other:
            own = key[len(base) + 1 :].partition("]")[0]
            if own != index and not (own.isdigit() and index.isdigit()):
                del self.values[key]

    def forget(self, address: str) -> None:
        """Forget what is stored at an address, below it and through it, and what was decided by it."""
        # No address has a newline in it: one search looks through all.
        if address in "\n".join(self.values):
            self.values = {
                key: v for key, v in self.values.items() if address not in key or not _depends(key, address)
            }
        if address in self.initial:
            self.values[address] = None
        if self.decided and address in "\n".join(self.decided):
            self.decided = {key: d for key, d in self.decided.items() if address not in key}

    def forget_structures(self) -> None:
        """Forget what was decided of members of structures, which another task may have set."""
        self.decided = {key: known for key, known in self.decided.items() if "->" not in key}

    def drop(self, prefix: str) -> None:
        """Forget the local variables of a call that returns."""
        self.values = {key: v for key, v in self.values.items() if not key.startswith(prefix)}
        if self.decided:
            self.decided = {key: d for key, d in self.decided.items() if prefix not in key}

    def known(self) -> tuple[object, ...]:
        """Return all that is known, as something that can be compared."""
        return frozenset(self.values.items()), frozenset(self.decided.items())


def _depends(key: str, address: str) -> bool:
    # Whether an address is another one, lies below it or where it points to, or has it as its index.
    plain = address.lstrip("*")
    stars = address[: len(address) - len(plain)]
    own = key[len(stars) :].lstrip("*") if key.startswith(stars) else ""
    return own == plain or own.startswith((f"{plain}.", f"{plain}[")) or f"[{address}]" in key
