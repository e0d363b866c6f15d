# SPDX-License-Identifier: GPL-2.0-only
"""What a judge finds, and the words for where in a trace something happened."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs

from kvm_ref.judges.index import Index, encloses, place_of
from kvm_ref.trace import At, Event, Trace


@attrs.frozen
class Finding:
    """Something that is not as it should be.

    Attributes:
        judge: which judge says so.
        message: what is wrong, in one line.
        step: the step of the trace in which it went wrong, counted from 0.
        label: the goto label that the function at fault unwound through ("kvm_init:err_virt"), or "".
        resource: what it is about, as "kind:id", or "".
        acquired: the calls in which the resource was acquired, innermost first, and the step.
        fault: the fault that was put in, as text, if the one who judges knows it.
        commit: the upstream commit that mends it, if known.
        command: a command that shows it again.
    """

    judge: str
    message: str
    step: int
    label: str = ""
    resource: str = ""
    acquired: str = ""
    fault: str = ""
    commit: str = ""
    command: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return the finding as the object that ``json.dump`` takes."""
        return attrs.asdict(self)


def verbs_of(trace: Trace, step: int) -> str:
    """Name a step for a reader: ``step 2 (unload)``."""
    return f"step {step + 1} ({' '.join(trace.steps[step].verbs)})"


def user_of(events: Sequence[Event]) -> str:
    """Return the task that carries out a step: the first that is no hotplug thread and no interrupt."""
    tasks = (at.task for _, at, *_ in events)
    return next((t for t in tasks if t != "ipi" and not t.startswith("cpuhp/")), "")


class Place:
    """Where in a trace an event is: the calls around it, and the labels that they jumped to."""

    def __init__(self, trace: Trace, step: int, event: Event) -> None:
        self.events = trace.steps[step].events or []
        self.step = verbs_of(trace, step)
        self.here = place_of(self.events, event)
        self.calls = calls_around(self.events, self.here)

    def __str__(self) -> str:
        """Name the calls, innermost first: ``kvm_init_debug < kvm_init < svm_init, step 1 (load)``.

        A call that the event itself is of is left out, unless it is the only one.
        """
        names = [call[2] for _, call in self.calls]
        if len(names) > 1 and self.events[self.here][0] in ("enter", "exit"):
            del names[0]
        return ", ".join(filter(None, (" < ".join(names), self.step)))

    def label(self, seen: Index, *, later: bool = False) -> str:
        """Return the label that a call here had jumped to by then, or jumped to `later`, or "".

        The innermost call that jumped counts, and its last jump.
        """
        jumps = seen.jumps()
        for start, call in self.calls if jumps else ():
            for jump in reversed(jumps):
                if jump.event[2] != call[2] or not encloses(call[1], jump.event[1]):
                    continue
                before = start < jump.place < self.here
                if before or (later and jump.place > self.here and not self._over(call[1], jump.place)):
                    return f"{call[2]}:{jump.label}"
        return ""

    def _over(self, at: At, place: int) -> bool:
        # Whether the call at `at` that runs here has returned before `place`.
        return any(e[1] is at and e[0] == "exit" for e in self.events[self.here : place])


def calls_around(events: Sequence[Event], here: int) -> list[tuple[int, Event]]:
    """Return the calls that enclose an event, innermost first, as (place, ``enter`` event).

    The call that an ``enter`` or ``exit`` event is of is one of them. When a task runs something for
    another one that waits, the calls of that one follow.
    """
    out: list[tuple[int, Event]] = []
    kind, at, *_ = events[here]
    depth = at.depth + (kind in ("enter", "exit"))
    for n in range(here, -1, -1):
        event = events[n]
        if depth == 0:
            waits = _waiting(events, n)
            return out + (calls_around(events, waits) if waits >= 0 else [])
        if event[0] == "enter":
            other = event[1]
            if other.depth < depth and other.task == at.task and other.cpu == at.cpu:
                depth = other.depth
                out.append((n, event))
    return out


def _waiting(events: Sequence[Event], here: int) -> int:
    # Where the call began that is innermost before a task begins something, or -1: the nearest that
    # is not over.
    over: set[tuple[str, int, int]] = set()
    for n in range(here, -1, -1):
        kind, at, *_ = events[n]
        if kind == "exit":
            over.add((at.task, at.cpu, at.depth))
        elif kind == "enter" and (at.task, at.cpu, at.depth) not in over:
            return n
        else:
            over.discard((at.task, at.cpu, at.depth))
    return -1
