# SPDX-License-Identifier: GPL-2.0-only
"""Which calls an event lies in. Few are asked for, so each is looked for when it is asked.

A task may run something for another one that waits for it; then the calls of the one that waits
enclose those of the other.
"""

from __future__ import annotations

import functools
from bisect import bisect_left
from collections.abc import Sequence

from kvm_ref.judges.index import Index, Placed, encloses
from kvm_ref.trace import Event, Step


class Nesting:
    """The calls of one step; `events` are the step's."""

    def __init__(self, step: Step) -> None:
        self.source = step.events
        self.events = step.events or []
        # Where the step begins as another one does, that one knows the calls.
        other, self._shared = step.alike or (None, 0)
        self._other = nesting(other) if other else None
        self._calls: dict[int, list[int]] = {}
        self._names: dict[int, str] = {}
        self._outermost: dict[str, list[int]] = {}

    @functools.cached_property
    def _places(self) -> dict[int, int]:
        # Where each event is, by which object it is.
        return {id(event): n for n, event in enumerate(self.events)}

    @functools.cached_property
    def _ids(self) -> list[int]:
        return list(map(id, self.events[self._shared :]))

    def place(self, event: Event) -> int:
        """Return the place of an event in its step; another one may be equal to it."""
        shared = self._other._places.get(id(event), self._shared) if self._other else self._shared
        return shared if shared < self._shared else self._shared + self._ids.index(id(event))

    def outermost(self, task: str) -> list[int]:
        """Return the places where a task's outermost calls began."""
        if task not in self._outermost:
            begun = self._other.outermost(task) if self._other else []
            rest = enumerate(self.events[self._shared :], self._shared)
            self._outermost[task] = [n for n in begun if n < self._shared] + [
                n for n, e in rest if not e[1].depth and e[0] == "enter" and e[1].task == task
            ]
        return self._outermost[task]

    def jumped(self, here: int, seen: Index) -> int:
        """Return the place where the call began that a ``goto`` event is of, or -1; `seen` is the step's index."""
        # A function that jumps is nearly always among those that the index does not pass over.
        picked = seen.picked[: bisect_left(seen.picked, (here,))]
        found = _began(picked, self.events[here])
        return _began(list(enumerate(self.events[:here])), self.events[here]) if found < 0 else found

    def calls(self, here: int) -> list[int]:
        """Return the places where the calls began that enclose an event, innermost first.

        The call that an ``enter`` or ``exit`` event is of is one of them.
        """
        if self._other and here < self._shared:
            return self._other.calls(here)
        if here not in self._calls:
            self._calls[here] = self._around(here)
        return self._calls[here]

    def _around(self, here: int) -> list[int]:
        out: list[int] = []
        n = here
        kind, at, *_ = self.events[here]
        depth, task, cpu = at.depth + (kind in ("enter", "exit")), at.task, at.cpu
        events = self.events
        while depth and n >= 0:
            event = events[n]
            if event[0] == "enter":
                at = event[1]
                if at.depth < depth and at.task == task and at.cpu == cpu:
                    if n < self._shared or n in self._calls:
                        # What encloses this call was looked for before, or by the other one.
                        return out + self.calls(n)
                    depth = at.depth
                    out.append(n)
            n -= 1
        waits = self._waiting(n) if n >= 0 else -1
        out += self.calls(waits) if waits >= 0 else []
        # The next that is asked for often lies in the same call.
        for nth in range(min(len(out), 2)):
            self._calls[out[nth]] = out[nth:]
        return out

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
        if self._other and here < self._shared:
            return self._other.names(here)
        if here not in self._names:
            names = [self.events[start][2] for start in self.calls(here)]
            if len(names) > 1 and self.events[here][0] in ("enter", "exit"):
                del names[0]
            self._names[here] = " < ".join(names)
        return self._names[here]


def _began(before: Sequence[Placed], jump: Event) -> int:
    # The place of the call that a ``goto`` is of, among events before it; or -1.
    _, inside, function, *_ = jump
    for n, event in reversed(before):
        if event[2] == function and event[0] == "enter" and encloses(event[1], inside):
            return n
    return -1


def nesting(step: Step) -> Nesting:
    """Return the calls of a step; its events must not be changed after that."""
    known = step.nested
    if isinstance(known, Nesting) and known.source is step.events:
        return known
    step.nested = made = Nesting(step)
    return made
