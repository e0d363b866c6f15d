# SPDX-License-Identifier: GPL-2.0-only
"""Traces for tests: made by hand, event by event, or changed by hand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import attrs

from kvm_ref import backend as backends
from kvm_ref.trace import At, Event, Step, Trace, load
from kvm_ref.vocabulary import Vocabulary

DATA = Path(__file__).parent / "data"


def vocabulary(backend: str = "x86-svm") -> Vocabulary:
    """Return a backend's vocabulary."""
    return Vocabulary.of(backends.load(backend))


def kernel_trace(name: str) -> Trace:
    """Read a trace of a real kernel."""
    return load((DATA / f"{name}.json").read_text(), name)


class Tape:
    """A trace in the making: calls of one task nest by themselves."""

    def __init__(self, *, observed: Sequence[str] | None = None) -> None:
        self.observed = None if observed is None else list(observed)
        self.steps: list[Step] = []
        self.events: list[Event] = []
        self._places: dict[tuple[str, int, int], At] = {}
        self._depth: dict[tuple[str, int], int] = {}

    def _at(self, task: str, cpu: int, change: int = 0) -> At:
        depth = self._depth.get((task, cpu), 0) + min(change, 0)
        self._depth[task, cpu] = depth + max(change, 0)
        return self._places.setdefault((task, cpu, depth), At(task, cpu, depth))

    def enter(self, function: str, *, task: str = "modprobe", cpu: int = 0, **args: Any) -> None:
        """Begin a call."""
        self.events.append(("enter", self._at(task, cpu, 1), function, args or None, None))

    def leave(
        self, function: str, value: Any = None, *, task: str = "modprobe", cpu: int = 0, **args: Any
    ) -> None:
        """End a call."""
        self.events.append(("exit", self._at(task, cpu, -1), function, args or None, value))

    def call(self, function: str, value: Any = None, got: str | None = None, **args: Any) -> None:
        """Make a call without inner events; `got` is what it acquired."""
        self.enter(function, **args)
        got_args: dict[str, Any] = {"obj": got} if got else {}
        self.leave(function, value, **got_args)

    def event(
        self, kind: str, what: str, value: Any = None, *, task: str = "modprobe", cpu: int = 0, **args: Any
    ) -> None:
        """Add an event that is no call."""
        self.events.append((kind, self._at(task, cpu), what, args or None, value))

    def step(self, verb: str, result: int | None = 0, *more: tuple[str, int]) -> None:
        """End a step; `more` are further verbs of it and their results."""
        verbs = [verb, *(v for v, _ in more)]
        self.steps.append(Step(verbs, [result, *(r for _, r in more)], self.events))
        self.events = []

    def unrecorded(self, verb: str, result: int = 0) -> None:
        """Add a step of which no events are known."""
        self.steps.append(Step([verb], [result], None))

    def trace(self) -> Trace:
        """Return the trace."""
        kind = "model" if self.observed is None else "kernel"
        return Trace(
            source={"kind": kind, "kernel": "6.12.117", "backend": "x86-svm"},
            machine={"cpus": 2, "features": {}},
            params={},
            faults=[],
            steps=self.steps,
            observed=self.observed,
        )


def changed(trace: Trace, step: int, change: Callable[[list[Event]], object]) -> Trace:
    """Return a copy of a trace in which the events of one step were changed."""
    steps = [Step(list(s.verbs), list(s.results), list(s.events or [])) for s in trace.steps]
    change(steps[step].events or [])
    return attrs.evolve(trace, steps=steps)


def find(events: Sequence[Event], kind: str, function: str, nth: int = 1, **args: Any) -> int:
    """Return the place of the nth such event with such arguments."""
    for n, event in enumerate(events):
        if event[:1] == (kind,) and event[2] == function and args.items() <= (event[3] or {}).items():
            nth -= 1
            if nth == 0:
                return n
    raise AssertionError(f"no such {kind} of {function}")


def drop_call(events: list[Event], function: str, nth: int = 1, **args: Any) -> list[Event]:
    """Take a call with all in it out of a list of events, and return it."""
    start = find(events, "enter", function, nth, **args)
    at = events[start][1]
    end = next(n for n in range(start + 1, len(events)) if events[n][0] == "exit" and events[n][1] is at)
    gone = events[start : end + 1]
    del events[start : end + 1]
    return gone


def revalue(events: list[Event], place: int, value: Any) -> None:
    """Change the value of an event."""
    kind, at, function, args, _ = events[place]
    events[place] = (kind, at, function, args, value)
