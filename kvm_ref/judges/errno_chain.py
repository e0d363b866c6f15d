# SPDX-License-Identifier: GPL-2.0-only
"""The judge of error numbers: each comes from somewhere, and reaches the user unchanged.

A function fails with an errno of its own, or hands on that of the callee that failed last; after a
goto it returns what it jumped with. What a callback returns that a CPU's hotplug thread or an
interrupt runs is handed on to the task that waits. In the log of a real kernel a callee may be
invisible, so there only what must be equal is compared.
"""

from __future__ import annotations

from kvm_ref.judges.each_step import EachStep
from kvm_ref.judges.finding import Finding, user_of
from kvm_ref.judges.index import BEARING, ERRORS, Index, named, words_of
from kvm_ref.text import errno_name
from kvm_ref.trace import At, Event, Step, Trace


@EachStep
def errno_chain(trace: Trace, number: int, seen: Index) -> list[Finding]:
    """Find errors that come from nowhere, change on the way, or do not reach the user."""
    step = trace.steps[number]
    out = _result(step, number) if len(step.results) == 1 else []
    if seen.errors and (seen.gotos or not _plain(seen)):
        out += _Chain(seen, number, trace.observed is None).judged()
    return out


def _result(step: Step, number: int) -> list[Finding]:
    # The user gets what the last outermost call gave.
    events = step.events or []
    user = user_of(events)
    for kind, at, function, _, value in reversed(events):
        if kind == "exit" and not at.depth and at.task == user:
            if value in ERRORS and step.results[0] not in (value, None):
                return [
                    Finding(
                        judge="errno_chain",
                        message=f"{step.verbs[0]} gave {errno_name(step.results[0])}, "
                        f"but {function}() returned {errno_name(value)}",
                        step=number,
                    )
                ]
            break
    return []


def _plain(seen: Index) -> bool:
    # Whether every error is one of the function's own, and none was put in: then all is well.
    own = words_of(seen.vocabulary).own
    return all(e[0] == "exit" and e[4] in own.get(e[2], ()) for _, e in seen.errors)


class _Chain:
    """The errors of one step, in order, with their places."""

    def __init__(self, seen: Index, number: int, whole: bool) -> None:
        self.seen = seen
        self.vocabulary = seen.vocabulary
        self.words = words_of(seen.vocabulary)
        self.number = number
        self.whole = whole
        self.errors = seen.bearing

    def judged(self) -> list[Finding]:
        """Return the findings of this step."""
        out = []
        jumps = self.seen.failures()
        after = {id(jump.exit): jump for jump in jumps}
        at_jump = {id(jump.event): jump for jump in jumps}
        for nth, (_, event) in enumerate(self.errors):
            jump = after.get(id(event))
            if event[0] == "exit" and jump is None and isinstance(event[4], int):
                out += self._comes(nth, event[1].depth, "")
            elif id(event) in at_jump:
                out += self._comes(nth, event[1].depth - 1, at_jump[id(event)].label)
        for jump in jumps:
            out += self._kept(jump.event, jump.exit, jump.label)
        return out

    def _finding(self, function: str, label: str, message: str) -> Finding:
        name = f"{function}:{label}" if label else ""
        return Finding(judge="errno_chain", message=f"{function}() {message}", step=self.number, label=name)

    def _kept(self, jump: Event, leave: Event | None, label: str) -> list[Finding]:
        # A function returns what it jumped with; one that returns nothing, or only whether it
        # succeeded, cannot.
        function = jump[2]
        if leave is None or leave[4] is None or leave[4] == "NULL" or BEARING.get(leave[4]) == jump[4]:
            return []
        if function in self.words.strict or any(False in f.fails for f in named(self.vocabulary, function)):
            return []
        returned = errno_name(BEARING.get(leave[4], leave[4]))
        message = f"jumped to {label} with {errno_name(jump[4])}, but returned {returned}"
        return [self._finding(function, label, message)]

    def _comes(self, nth: int, depth: int, label: str) -> list[Finding]:
        # Whether an error that a function at `depth` returns or jumps with comes from somewhere.
        _, event = self.errors[nth]
        _, at, function, _, value = event
        if not label and nth:
            _, before = self.errors[nth - 1]
            if before[0] == "inject" and before[1] is at and before[2] == function:
                if before[4] == value:
                    return []
                message = f"returned {errno_name(value)}, but was made to fail with {errno_name(before[4])}"
                return [self._finding(function, label, message)]
        own = self.words.own.get(function)
        if own is None or value in own or not (label or self._bears(event)):
            return []
        strict = function in self.words.strict
        if not strict and self._hands_on(nth, event, depth):
            return []
        lent = [] if strict else self._lent(nth, event, depth)
        if value in lent or not (self.whole or strict):
            return []
        message = f"{'jumped' if label else 'failed'} with {errno_name(value)}, but "
        if own:
            message += f"its own are {', '.join(sorted(errno_name(e) for e in own))}"
        else:
            message += "it has none of its own"
        message += f" and its callee failed with {errno_name(lent[0])}" if lent else " and no callee failed"
        return [self._finding(function, label, message)]

    def _hands_on(self, nth: int, event: Event, depth: int) -> bool:
        # Whether the error is that of the call that failed last; it nearly always is.
        if not nth:
            return False
        place, callee = self.errors[nth - 1]
        return (
            callee[0] == "exit"
            and callee[4] == event[4]
            and self._bears(callee)
            and not self._begins(event, depth, place, self.errors[nth][0])
        )

    def _lent(self, nth: int, event: Event, depth: int) -> list[int]:
        # The errors that a function can hand on: those of its direct callees that failed, for it may clean
        # up with calls whose failure it ignores; and of the last that failed below a callee, which
        # may have told it by another way than its value. That of the last direct one comes first.
        at = event[1]
        out: list[int] = []
        below: list[int] = []
        end = self.errors[nth][0]
        for place, callee in reversed(self.errors[:nth]):
            if callee[0] != "exit" or not self._bears(callee):
                continue
            direct = _same(callee[1], at, depth + 1)
            if direct or not (out or below):
                if self._begins(event, depth, place, end):
                    break
                (out if direct else below).append(BEARING[callee[4]])
        return out + below

    def _bears(self, leave: Event) -> bool:
        # Whether what a call returned is an error. A function that has none of its own, and did not
        # hand one on, returned a number of another kind: kvm_add_user_return_msr() gives -1.
        _, _, function, args, value = leave
        own = self.words.own.get(function)
        return own is None or bool(own) or isinstance(value, str) or "line" in (args or {})

    def _begins(self, event: Event, depth: int, start: int, end: int) -> bool:
        # Whether the call that an error is of begins between two places.
        at, function = event[1], event[2]
        for other in self.seen.events[start:end]:
            if other[2] == function and other[0] == "enter" and _same(other[1], at, depth):
                return True
        return False


def _same(one: At, other: At, depth: int) -> bool:
    return one.depth == depth and one.task == other.task and one.cpu == other.cpu
