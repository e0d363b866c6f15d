# SPDX-License-Identifier: GPL-2.0-only
"""What functions do in the steps of a model's runs: the bodies of their calls, each kept once."""

from __future__ import annotations

from itertools import islice
from typing import Any

import attrs

from kvm_ref.trace import At, Step
from kvm_ref.tree.bodies import About, Body, Item
from kvm_ref.tree.locks import name_of

# A call that is open: its name, where it is, its arguments, and what was done in it; None if it was made to
# fail and did not run.
_Open = tuple[str, At, dict[str, Any] | None, list[Item] | None]


@attrs.frozen
class Case:
    """A body, and the first run that shows it: the fault as text, and the verb."""

    body: Body
    fault: str
    verb: str


class Cases:
    """The bodies of the functions that steps show.

    Attributes:
        found: for each function the different things that it does.
        locks: the names of all locks that were taken.
    """

    def __init__(self) -> None:
        self.found: dict[str, dict[tuple[Any, ...], Case]] = {}
        self.locks: set[str] = set()
        # The step without a fault that the last one with a fault is like, how far it was followed, and the
        # calls that are open there.
        self._like: Step | None = None
        self._at = 0
        self._open: list[_Open] = []

    def add(self, step: Step, fault: str) -> None:
        """Add the calls of a step; `fault` says what fails in its run."""
        stack: list[_Open] = []
        start = 0
        if step.alike:
            # Calls that end before the fault are those of the run without it, and seen once.
            clean, start = step.alike
            if clean is not self._like or start < self._at:
                self._like, self._at, self._open = clean, 0, []
            self._follow(step, self._at, start, self._open, fault)
            self._at = start
            stack = [
                (name, at, args, None if items is None else items[:]) for name, at, args, items in self._open
            ]
        self._follow(step, start, len(step.events or ()), stack, fault)

    def _follow(self, step: Step, start: int, end: int, stack: list[_Open], fault: str) -> None:
        # Go through some of a step's events, from where the calls of the stack are open.
        found, locks = self.found, self.locks
        for kind, at, name, args, value in islice(step.events or (), start, end):
            if kind == "enter":
                stack.append((name, at, args, []))
            elif kind == "exit":
                _, _, given, items = stack.pop()
                if name == "cpuhp_cb":
                    # Two tracepoints, not a call: what is between them the function around them does.
                    if items and stack:
                        _into(stack).extend(items)
                    continue
                if items is not None:
                    seen = found.get(name)
                    if seen is None:
                        seen = found[name] = {}
                    body = (tuple(items), value)
                    if body not in seen:
                        seen[body] = Case(Body(*body), fault, step.verbs[0])
                if stack:
                    # What another task does meanwhile is not called by this one.
                    _, around, _, outer = stack[-1]
                    here = around.inner is at or (around.task == at.task and around.cpu == at.cpu)
                    if here and outer is not None:
                        known = given is not None or args is not None
                        outer.append(_call(name, value, given, args) if known else ("call", name, value))
            elif kind == "inject":
                stack[-1] = (*stack[-1][:3], None)
            elif kind == "goto":
                _into(stack).append(("goto", str((args or {}).get("label")), None))
            elif kind == "lock" or kind == "unlock":
                # The text has the lock of whatever variable points to the structure.
                lock = name_of(name)
                locks.add(lock)
                if stack:
                    _into(stack).append((kind, lock, None))


def _call(name: str, value: Any, given: dict[str, Any] | None, got: dict[str, Any] | None) -> Item:
    # What is released or used is named when the call begins, what is acquired when it ends.
    for named in (got, given):
        what = (named.get("obj") or named.get("uses")) if named else None
        if what is not None:
            return About.of(name, value, what)
    return ("call", name, value)


def _into(stack: list[_Open]) -> list[Item]:
    # Where what the innermost call does is written down.
    items = stack[-1][3]
    return [] if items is None else items
