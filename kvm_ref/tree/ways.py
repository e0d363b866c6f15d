# SPDX-License-Identifier: GPL-2.0-only
"""A way through a function of C text: what happened on it so far, and as a trace."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from kvm_ref.trace import At, Event, Trace
from kvm_ref.tree.expressions import Place
from kvm_ref.tree.machine import Frame, State
from kvm_ref.tree.values import Error, Memory, Pointer, Value, settled

# A condition of the text: file, line and text.
Condition = tuple[str, int, str]


@attrs.frozen
class Way:
    """One way through a function.

    Attributes:
        trace: what happens on it; one step, whose verb is the function.
        assumed: the conditions that cannot be known, and what they were taken to be, in order.
        fired: whether the call that was to fail was on it.
        kept: the resources that are found through pointers that came from somewhere else.
        given: addresses in what somebody else keeps from then on.
    """

    trace: Trace
    assumed: tuple[tuple[Condition, bool], ...]
    fired: bool
    kept: frozenset[str] = frozenset()
    given: frozenset[str] = frozenset()

    def gave(self, resource: str) -> bool:
        """Say whether somebody else keeps a resource, or a part of it."""
        return any(one == resource or one.startswith((f"{resource}.", f"{resource}[")) for one in self.given)


class WalkState(State):
    """A way so far: the events, the conditions that were assumed, and how often each call was made."""

    __slots__ = ("assumed", "events", "fired", "given", "hits", "kept", "shown")

    def __init__(self, frames: list[Frame], memory: Memory) -> None:
        super().__init__(frames, memory)
        self.events: list[Event] = []
        self.assumed: tuple[tuple[Condition, bool], ...] = ()
        self.hits: dict[str, int] = {}
        self.fired = False
        # What is found through pointers that came from somewhere else, and what somebody else keeps.
        self.kept: frozenset[str] = frozenset()
        self.given: frozenset[str] = frozenset()
        # The functions that are being walked and the place of what happens in each.
        self.shown: tuple[At, ...] = ()

    def fork(self) -> WalkState:
        other = super().fork()
        assert isinstance(other, WalkState)
        other.events, other.hits = self.events.copy(), self.hits.copy()
        other.assumed, other.fired, other.shown = self.assumed, self.fired, self.shown
        other.kept, other.given = self.kept, self.given
        return other

    def store(self, place: Place, value: Value) -> None:
        super().store(place, value)
        if isinstance(value, Pointer) and place.address(self.memory, self.top.prefix).startswith("*"):
            self.kept |= {value.target}

    def emit(self, kind: str, at: At, name: str, line: int, args: Mapping[str, Any], value: Any) -> None:
        """Add an event."""
        path = self.frames[-1].code.path if self.frames else ""
        obj = str(args.get("obj", ""))
        if obj[:1] == "*" and "." in obj:
            self.kept |= {obj}
        self.events.append((kind, at, name, {**args, "line": line, "file": path}, value))


def shown(value: Value) -> Any:
    """Return a value as a trace shows it."""
    if isinstance(value, Pointer):
        return "ptr"
    if isinstance(value, Error):
        return f"ERR_PTR({-value.errno})"
    return settled(value)
