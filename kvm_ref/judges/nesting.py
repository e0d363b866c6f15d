# SPDX-License-Identifier: GPL-2.0-only
"""Which calls an event lies in. Few are asked for, so each is looked for when it is asked.

A task may run something for another one that waits for it; then the calls of the one that waits
enclose those of the other.
"""

from __future__ import annotations

from kvm_ref.judges.index import place_of
from kvm_ref.trace import Event, Step


class Nesting:
    """The calls of one step; `events` are the step's."""

    def __init__(self, events: list[Event]) -> None:
        self.events = events
        self._calls: dict[int, list[int]] = {}
        self._names: dict[int, str] = {}

    def place(self, event: Event) -> int:
        """Return the place of an event in its step; another one may be equal to it."""
        return place_of(self.events, event)

    def outermost(self, task: str) -> list[int]:
        """Return the places where a task's outermost calls began."""
        return [
            n for n, e in enumerate(self.events) if e[0] == "enter" and not e[1].depth and e[1].task == task
        ]

    def within(self, here: int, start: int) -> bool:
        """Say whether an event, not of a call, lies directly in the call that began at `start`."""
        events = self.events
        at = events[here][1]
        outer = events[start][1]
        if outer.depth != at.depth - 1 or outer.task != at.task or outer.cpu != at.cpu or start > here:
            return False
        return not any(event[1] is outer for event in events[start + 1 : here])

    def calls(self, here: int) -> list[int]:
        """Return the places where the calls began that enclose an event, innermost first.

        The call that an ``enter`` or ``exit`` event is of is one of them.
        """
        if here not in self._calls:
            self._calls[here] = self._around(here)
        return self._calls[here]

    def _around(self, here: int) -> list[int]:
        out: list[int] = []
        n = here
        kind, at, *_ = self.events[here]
        depth, task, cpu = at.depth + (kind in ("enter", "exit")), at.task, at.cpu
        while depth and n >= 0:
            event = self.events[n]
            if event[0] == "enter" and event[1].depth < depth:
                at = event[1]
                if at.task == task and at.cpu == cpu:
                    depth = at.depth
                    out.append(n)
            n -= 1
        waits = self._waiting(n) if n >= 0 else -1
        return out + (self.calls(waits) if waits >= 0 else [])

    def _waiting(self, here: int) -> int:
        # Where the call began that is innermost before a task begins something, or -1: the nearest
        # that is not over.
        over: set[tuple[str, int, int]] = set()
        for n in range(here, -1, -1):
            kind, at, *_ = self.events[n]
            if kind == "exit":
                over.add((at.task, at.cpu, at.depth))
            elif kind == "enter":
                if (at.task, at.cpu, at.depth) not in over:
                    return n
                over.discard((at.task, at.cpu, at.depth))
        return -1

    def names(self, here: int) -> str:
        """Name the calls, innermost first: ``kvm_init_debug < kvm_init < svm_init``.

        A call that the event itself is of is left out, unless it is the only one.
        """
        if here not in self._names:
            names = [self.events[start][2] for start in self.calls(here)]
            if len(names) > 1 and self.events[here][0] in ("enter", "exit"):
                del names[0]
            self._names[here] = " < ".join(names)
        return self._names[here]


def nesting(step: Step) -> Nesting:
    """Return the calls of a step; its events must not be changed after that."""
    known = step.nested
    if isinstance(known, Nesting) and known.events is step.events:
        return known
    step.nested = made = Nesting(step.events or [])
    return made
