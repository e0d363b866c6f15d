# SPDX-License-Identifier: GPL-2.0-only
"""What is undone after a failure: the calls that functions make while an error goes through them.

A call fails, and so does who made it, up to where an error is dealt with. Each of these, from the
innermost, may call something between the failure and its own return: with a goto ladder, that is what
stands at the labels, but functions without a goto unwind as well.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import attrs

from kvm_ref.judges.index import ERRORS
from kvm_ref.trace import Event, Step


@attrs.frozen
class Undone:
    """A call that undoes something, or a goto.

    Attributes:
        name: the function, or ``goto LABEL``.
        by: the function that calls or jumps.
        place: where it is among the events of its step.
    """

    name: str
    by: str
    place: int


@attrs.frozen
class Unwinding:
    """An error on its way up.

    Attributes:
        step: the step that it is in.
        start: the place of what failed first.
        end: the place where the last function that failed returns.
        undone: the calls and gotos on the way, in order.
    """

    step: Step
    start: int
    end: int
    undone: tuple[Undone, ...]


@attrs.frozen
class _Call:
    # A call: the places of its beginning and end, the calls around it, and whether it failed.
    begin: int
    end: int
    outer: tuple[int, ...]
    failed: bool


def _failed(event: Event) -> bool:
    value = event[4]
    return value in ERRORS or value == "NULL" or (isinstance(value, str) and value.startswith("ERR_PTR"))


def _calls(events: Sequence[Event]) -> dict[int, _Call]:
    # The calls of a step by where they begin. One stack holds those of all tasks: who has another task
    # run something waits for it.
    stack: list[int] = []
    out: dict[int, _Call] = {}
    for n, event in enumerate(events):
        if event[0] == "enter":
            stack.append(n)
        elif event[0] == "exit" and stack:
            begin = stack.pop()
            out[begin] = _Call(begin, n, tuple(stack), _failed(event))
    return out


def unwindings(steps: Sequence[Step]) -> Iterator[Unwinding]:
    """Yield what each injected fault sets off; without any, what made a verb fail.

    An error that is dealt with on the way, or that reaches nobody, is followed as far as it goes.
    """
    struck = [(step, n) for step in steps for n, e in enumerate(step.events or ()) if e[0] == "inject"]
    if struck:
        for step, n in struck:
            yield _from(step, n, _calls(step.events or ()))
        return
    for step in steps:
        if any(result not in (0, None) for result in step.results):
            calls = _calls(step.events or ())
            failed = [
                c for c in calls.values() if c.failed and all(calls[o].failed for o in c.outer if o in calls)
            ]
            if failed:
                yield _from(step, min(failed, key=lambda call: call.end).end, calls)


def _from(step: Step, start: int, calls: dict[int, _Call]) -> Unwinding:
    events = step.events or []
    # From the call that failed outwards, as long as each one fails. Calls that the machine stopped in
    # have no end.
    inner = calls.get(_innermost(calls, start))
    way = [inner] if inner else []
    for outer in reversed(inner.outer if inner else ()):
        if outer not in calls or not calls[outer].failed:
            break
        way.append(calls[outer])
    undone: list[Undone] = []
    failed = start
    for call in way:
        by = events[call.begin][2]
        for n in range(failed + 1, call.end):
            event = events[n]
            if event[0] == "goto" and _innermost(calls, n) == call.begin:
                undone.append(Undone(f"goto {(event[3] or {}).get('label')}", by, n))
            elif n in calls and calls[n].outer[-1:] == (call.begin,):
                undone.append(Undone(event[2], by, n))
        failed = call.end
    return Unwinding(step, start, failed, tuple(undone))


def _innermost(calls: dict[int, _Call], place: int) -> int:
    # Where the call begins that a place lies in, or ends with.
    return max((begin for begin, call in calls.items() if begin < place <= call.end), default=-1)
