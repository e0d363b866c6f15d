# SPDX-License-Identifier: GPL-2.0-only
"""Assertions about traces. One that fails shows the tree of calls, and where in it things differ.

They take a trace, or what bears one as `trace`, such as a run or a machine of the pytest plugin.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Protocol

from kvm_ref import backend as backends
from kvm_ref import report
from kvm_ref.compare import compare, scenario_of
from kvm_ref.judged import Judged
from kvm_ref.judges import Finding, judge_all
from kvm_ref.misuse import Misuse, nearest
from kvm_ref.text import numbered, verdict
from kvm_ref.trace import Event, Step, Trace
from kvm_ref.unwound import Unwinding, unwindings
from kvm_ref.vocabulary import Vocabulary

# Lines of the tree before and behind the one that is marked.
BEFORE, BEHIND = 8, 3


class Traced(Protocol):
    """What bears a trace."""

    @property
    def trace(self) -> Trace:
        """What happened."""


def assert_unwinds(of: Trace | Traced, expected: Sequence[str], *, function: str = "") -> None:
    """Check what is undone after a fault, in order.

    What counts are the calls that functions make themselves while the error goes through them, from
    the one in which the fault is, outwards: with a goto ladder, what stands at its labels. If
    `expected` holds a ``goto LABEL``, the jumps count too. Without a fault, what made a verb fail counts.

    Args:
        of: a trace, or what bears one.
        expected: the functions, by the names that they have in the C source.
        function: only what this function calls itself.

    Raises:
        AssertionError: something else is undone, another order is kept, or nothing failed.
        Misuse: these are no trace and no list.
    """
    __tracebackhide__ = True
    if isinstance(expected, str):
        raise Misuse(f"malformed expected={expected!r}: give a list of names")
    trace = _trace(of)
    found = list(unwindings(trace.steps))
    if not found:
        raise AssertionError("nothing unwinds: no fault fired and no verb failed")
    jumps = any(name.startswith("goto ") for name in expected)
    undone = [
        (way, one)
        for way in found
        for one in way.undone
        if (jumps or not one.name.startswith("goto ")) and function in ("", one.by)
    ]
    for n, (way, one) in enumerate(undone):
        wanted = expected[n] if n < len(expected) else None
        if one.name != wanted:
            want = f"expected {wanted}" if wanted else "expected nothing more"
            raise AssertionError(_message(f"{one.name} is undone, {want}", way, one.place, want))
    if len(undone) < len(expected):
        want = f"expected {expected[len(undone)]} before this"
        what = f"{expected[len(undone)]} is not undone{_uncalled(trace, function)}"
        raise AssertionError(_message(what, found[-1], found[-1].end, want))


def assert_clean(of: Trace | Traced, allow: Collection[str] = ()) -> None:
    """Check that no judge finds anything.

    Args:
        of: a trace, or what bears one.
        allow: findings to pass over: names of judges (``leak``), resources (``debugfs:kvm``), labels
            (``kvm_init:err_virt``), or commits that mend them (``b31e7c24b475``).

    Raises:
        AssertionError: there are findings; each is told in full.
    """
    __tracebackhide__ = True
    if isinstance(allow, str):
        allow = (allow,)
    findings = [f for f in _findings(of) if not allowed(f, allow)]
    if not findings:
        return
    lines = [f"{len(findings)} finding{'s' if len(findings) > 1 else ''}:"]
    for finding in findings:
        lines += report.explain(finding)
    trace = _trace(of)
    step = trace.steps[findings[0].step]
    lines += [
        "",
        f"== {verdict(step)}",
        *_marked(step.events or [], {_point(step, findings[0].label): "after this"}),
    ]
    raise AssertionError("\n".join(lines))


def assert_same(of: Trace | Traced, other: Trace | Traced) -> None:
    """Check that two traces tell the same, as ``kvm-ref compare`` does.

    Raises:
        AssertionError: they differ; the first difference is marked in the tree.
    """
    __tracebackhide__ = True
    first, second = _trace(of), _trace(other)
    found = compare(first, second)
    if found.difference is None:
        return
    where = _parting(first, second) if first.observed is second.observed is None else None
    if where is None:
        raise AssertionError("\n".join(report.comparison("the first", "the second", found)))
    number, place = where
    pair = [trace.steps[number] for trace in (first, second)]
    lines = [f"different: {found.difference.where}"]
    lines += [f"{sign} == {verdict(step)}" for sign, step in zip("-+", pair, strict=True)]
    events = pair[0].events or []
    shown = [line for n, line in _around(events, [place]) if n < place]
    lines += [f"  {line}" for line in shown]
    for sign, step in zip("-+", pair, strict=True):
        lines += [f"{sign} {line}" for line in _from(step.events or [], place)]
    raise AssertionError("\n".join(lines))


def allowed(finding: Finding, allow: Collection[str]) -> bool:
    """Say whether a finding is passed over: by its judge, resource or label, or the commit that mends it."""
    commit = finding.commit
    return not {finding.judge, finding.resource, finding.label}.isdisjoint(allow) or bool(
        commit
        and any(len(name) >= 7 and (commit.startswith(name) or name.startswith(commit)) for name in allow)
    )


def _trace(of: Trace | Traced) -> Trace:
    found = of if isinstance(of, Trace) else getattr(of, "trace", None)
    if not isinstance(found, Trace):
        raise Misuse(f"no trace, and nothing that bears one: {of!r:.60}")
    return found


def _uncalled(trace: Trace, function: str) -> str:
    # A function that was not called undoes nothing; perhaps its name is wrong.
    called = {event[2] for event in trace.events() if event[0] == "enter"}
    return f": {function}() is not called{nearest(function, called)}" if function not in {"", *called} else ""


def _findings(of: Trace | Traced) -> Sequence[Finding]:
    if isinstance(of, Judged):
        return of.findings
    trace = _trace(of)
    return judge_all(trace, Vocabulary.of(backends.load(scenario_of(trace).backend)))


def _point(step: Step, label: str) -> int:
    # The place that explains a finding: the jump to its label, the last jump or fault, or the end.
    events = step.events or []
    jumps = [
        n for n, e in enumerate(events) if e[0] == "goto" and f"{e[2]}:{(e[3] or {}).get('label')}" == label
    ]
    places = jumps or [n for n, e in enumerate(events) if e[0] in ("goto", "inject") and e[4] is not None]
    return places[-1] if places else len(events) - 1


def _parting(first: Trace, second: Trace) -> tuple[int, int] | None:
    # The step and the place in it where two traces part, if it is in the events.
    for number, (one, other) in enumerate(zip(first.steps, second.steps, strict=False)):
        events = zip(one.events or (), other.events or (), strict=False)
        places = (n for n, (a, b) in enumerate(events) if _seen(a) != _seen(b))
        shorter = min(len(one.events or ()), len(other.events or ()))
        place = next(places, shorter)
        if place < max(len(one.events or ()), len(other.events or ())):
            return number, place
    return None


def _seen(event: Event) -> tuple[object, ...]:
    kind, at, function, args, value = event
    return kind, at.task, at.cpu, at.depth, function, (args or {}).get("label"), value


def _message(what: str, way: Unwinding, place: int, note: str) -> str:
    events = way.step.events or []
    notes = {way.start: "the error begins here", place: note}
    return "\n".join([what, f"== {verdict(way.step)}", *_marked(events, notes)])


def _marked(events: Sequence[Event], notes: Mapping[int, str]) -> Iterator[str]:
    # The tree around some places, each marked and with its note.
    lines = list(_around(events, notes))
    for (begin, line), (end, _) in zip(lines, [*lines[1:], (len(events), "")], strict=True):
        here = [text for n, text in notes.items() if begin <= n < end]
        yield f">{line}{''.join(f'    <-- {text}' for text in here)}" if here else f" {line}"


def _around(events: Sequence[Event], places: Iterable[int]) -> Iterator[tuple[int, str]]:
    # The lines of the tree near some places, and those of the calls that enclose them; others are "...".
    wanted: set[int] = set()
    for place in places:
        wanted |= {*range(place - BEFORE, place + BEHIND + 1), *_enclosing(events, place)}
    lines = list(numbered(events))
    gap = False
    for (begin, line), (end, _) in zip(lines, [*lines[1:], (len(events), "")], strict=True):
        if wanted.isdisjoint(range(begin, end)):
            if not gap:
                yield begin, "   ..."
            gap = True
        else:
            yield begin, line
            gap = False


def _from(events: Sequence[Event], place: int) -> list[str]:
    # The few lines that begin with the one that a place is in.
    lines = list(numbered(events))
    first = max((n for n, (begin, _) in enumerate(lines) if begin <= place), default=0)
    return [line for _, line in lines[first : first + BEHIND]] if place < len(events) else []


def _enclosing(events: Sequence[Event], place: int) -> list[int]:
    stack: list[int] = []
    for n, event in enumerate(events[:place]):
        if event[0] == "enter":
            stack.append(n)
        elif event[0] == "exit" and stack:
            stack.pop()
    return stack
