# SPDX-License-Identifier: GPL-2.0-only
"""The unwind of one run as a tree of calls, from the fault to the end of the run.

Runs have most of what comes after a fault in common. Nodes that are equal are one object, so that a
matrix holds each of them once.
"""

from __future__ import annotations

from typing import Any

import attrs

from kvm_ref.judges.index import Index, index, resource_of
from kvm_ref.plans import Plan
from kvm_ref.text import arguments, errno_name, injected
from kvm_ref.trace import Event, Step, Trace
from kvm_ref.vocabulary import Vocabulary

# Kind, text, what was returned, task, CPU, what was acquired (+) or released (-), and the nodes within.
# The kinds are those of events, but "call" for enter and exit; "step" for a verb that a fault fell into,
# "later" for one after it; "skip" for what came before the fault.
Node = tuple[str, str, str, str, int, str, tuple[Any, ...]]


@attrs.define
class _Open:
    # A call that is not over, and what is in it. Calls before the fault are counted, and not kept.
    enter: Event | None
    inner: list[Node]
    skipped: int = 0


class Trees:
    """Makes the trees of many runs."""

    def __init__(self) -> None:
        # Nodes within are known by which object they are: to compare them again would go through all.
        self._known: dict[tuple[object, ...], Node] = {}

    def _node(
        self, kind: str, text: str, result: str, task: str, cpu: int, deed: str, inner: list[Node]
    ) -> Node:
        key = (kind, text, result, task, cpu, deed, *map(id, inner))
        node = self._known.get(key)
        if node is None:
            node = self._known[key] = (kind, text, result, task, cpu, deed, tuple(inner))
        return node

    def of(self, plan: Plan, trace: Trace, vocabulary: Vocabulary) -> tuple[Node, ...]:
        """Return a node for each verb from that on which the first fault fell into."""
        out = []
        for number, step in enumerate(trace.steps[plan.number :], plan.number):
            seen = index(step, vocabulary)
            struck = number in plan.local or number == plan.number
            key = (self, struck)
            if key not in seen.found:
                seen.found[key] = self._step(step, seen, struck)
            out.append(seen.found[key])
        return tuple(out)

    def _step(self, step: Step, seen: Index, struck: bool) -> Node:
        verb, result = " ".join(step.verbs), errno_name(step.results[-1])
        inner = self._inner(step.events or [], seen, _start(seen) if struck else 0)
        return self._node("step" if struck else "later", verb, result, "", -1, "", inner)

    def _inner(self, events: list[Event], seen: Index, start: int) -> list[Node]:
        deeds: dict[int, str] = {}
        for _, deed, key, event, _ in seen.deeds:
            if deed != "use":
                sign = "+" if deed == "acquire" else "-"
                deeds[id(event)] = f"{sign}{resource_of(key)}"
        outermost = _Open(None, [])
        # Other tasks run while their caller waits, so one stack holds the calls of all.
        stack = [outermost]
        for n, event in enumerate(events):
            if event[0] == "enter":
                stack.append(_Open(event, []))
            elif event[0] == "exit":
                done = stack.pop()
                if n < start:
                    stack[-1].skipped += 1
                else:
                    stack[-1].inner.append(self._call(done, event, deeds))
            elif n >= start:
                stack[-1].inner.append(self._node(*_words(event), *_where(event), "", []))
        while len(stack) > 1:
            # The machine stopped in it.
            stack[-2].inner.append(self._call(stack.pop(), None, deeds))
        return self._whole(outermost)

    def _whole(self, done: _Open) -> list[Node]:
        if not done.skipped:
            return done.inner
        calls = "1 call" if done.skipped == 1 else f"{done.skipped} calls"
        return [self._node("skip", f"{calls} before", "", "", -1, "", []), *done.inner]

    def _call(self, done: _Open, leave: Event | None, deeds: dict[int, str]) -> Node:
        enter = done.enter
        assert enter is not None
        text = f"{enter[2]}({arguments(enter[3])})"
        result = "?" if leave is None else "" if leave[4] is None else errno_name(leave[4])
        deed = deeds.get(id(enter)) or deeds.get(id(leave)) or ""
        return self._node("call", text, result, *_where(enter), deed, self._whole(done))


def _start(seen: Index) -> int:
    # Where the fault strikes; where another hypervisor is the fault, where it is first told of.
    struck = [n for n, event in enumerate(seen.events) if event[0] == "inject"]
    return (struck or [n for n, _ in seen.errors] or [0])[0]


def _where(event: Event) -> tuple[str, int]:
    return event[1].task, event[1].cpu


def _words(event: Event) -> tuple[str, str, str]:
    # The kind, the text and the result of an event that is not of a call.
    kind, _, function, args, value = event
    if kind == "inject":
        return kind, injected(function, value), ""
    if kind == "goto":
        return kind, str((args or {}).get("label")), "" if value is None else errno_name(value)
    if kind == "write":
        return kind, f"{function} = {value:#x}", f"was {(args or {}).get('was', 0):#x}"
    if kind == "warn":
        return kind, f"WARN_ON in {function}: {value}", ""
    return kind, f"{kind} {function}", ""
