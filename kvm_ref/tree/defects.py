# SPDX-License-Identifier: GPL-2.0-only
"""What is wrong in C text, each with a rule's name, the line, and the way that leads there.

A defect comes from a difference between the text and the model, or from what the judges find of a
way through the text.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import attrs

from kvm_ref.judges import Finding, judge_all
from kvm_ref.text import errno_name
from kvm_ref.trace import Event
from kvm_ref.tree.bodies import Difference, shown
from kvm_ref.tree.check import Held, Parted
from kvm_ref.tree.explore import Explored
from kvm_ref.tree.roles import Roles
from kvm_ref.vocabulary import Facts

# The names of the rules, and what each is about.
RULES = {
    "leak": "what was acquired is not released on a way out",
    "double-release": "something is released twice",
    "use-after-release": "something is used after it was released",
    "wrong-label": "a jump goes to another label than the one that undoes what was done",
    "lock-held": "a lock is held on a way out, or given back without being held",
    "success-after-unwind": "a function unwinds and reports success",
    "differs": "the text does something else than the model",
}
# Which judge finds what.
_JUDGES = {
    "leak": "leak",
    "double_release": "double-release",
    "use_after_release": "use-after-release",
    "lock_held": "lock-held",
    "error_set": "success-after-unwind",
}


@attrs.frozen
class At:
    """A place in the text, and what happens there."""

    path: str
    line: int
    text: str


@attrs.frozen
class Defect:
    """Something that is wrong.

    Attributes:
        rule: one of `RULES`.
        function: where it is wrong.
        at: the place.
        message: what is wrong, in one line.
        flow: the way there: what was acquired, what failed, the jump, what is missing.
        fault: the call that failed, as for ``--fail``, or "".
        commit: the upstream commit that makes the difference, or "".
    """

    rule: str
    function: str
    at: At
    message: str
    flow: tuple[At, ...] = ()
    fault: str = ""
    commit: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return the defect as the object that ``json.dump`` takes."""
        return attrs.asdict(self)


def of_held(held: Held, vocabulary: Mapping[str, Facts]) -> Iterator[Defect]:
    """Yield what is wrong in a function that was held against the model; each place once."""
    seen = set()
    for parted in held.parted:
        defect = of_difference(held, parted, vocabulary)
        if (defect.rule, defect.at) not in seen:
            seen.add((defect.rule, defect.at))
            yield defect
    rules = {rule for rule, _ in seen}
    for remark in held.remarks:
        # A difference of that kind says more.
        if remark.rule not in rules:
            at = At(remark.path, remark.line, remark.message)
            yield Defect(remark.rule, held.name, at, remark.message, (at,), "")


def of_difference(held: Held, parted: Parted, vocabulary: Mapping[str, Facts]) -> Defect:
    """Return the defect that a difference is."""
    difference, case = parted.difference, parted.case
    items = case.body.items[: difference.after]
    rule = _rule(difference, [name for kind, name, _ in items if kind == "call"], vocabulary)
    where = At(difference.path, difference.line, f"the text {difference.text}")
    after = f" after {_what(items[-1])}" if items else ""
    message = f"{held.name}(){after}: the text {difference.text}, the model {difference.model}"
    flow = tuple(
        At(path, line, _what(item))
        for item, (path, line) in zip(items, difference.lines, strict=True)
        if _matters(item, vocabulary)
    )
    return Defect(rule, held.name, where, message, (*flow, where), case.fault)


def _what(item: tuple[str, str, Any]) -> str:
    kind, name, value = item
    if kind != "call":
        return {"goto": f"goto {name}"}.get(kind, f"{kind} of {name}")
    if isinstance(value, int) and -4095 <= value < 0:
        return f"{name}() fails with {errno_name(value)}"
    if isinstance(value, str) and value != "ptr":
        return f"{name}() fails with {value}"
    return f"{name}()"


def _matters(item: tuple[str, str, Any], vocabulary: Mapping[str, Facts]) -> bool:
    kind, name, _ = item
    facts = vocabulary.get(name)
    return kind != "call" or "fails" in _what(item) or bool(facts and (facts.acquires or facts.releases))


def _rule(difference: Difference, before: list[str], vocabulary: Mapping[str, Facts]) -> str:
    (did, name, value), (due, wanted, result) = difference.did, difference.due
    releases = bool(due == "call" and wanted in vocabulary and vocabulary[wanted].releases)
    if due == "goto" or did == "goto":
        return "wrong-label"
    if due == "unlock" or did == "unlock":
        return "lock-held"
    if did == "return" and due == "return":
        failed = isinstance(result, int) and result < 0
        return "success-after-unwind" if failed and value in (0, "?", "ptr", "unset") else "differs"
    if did == "call" and name in before and name in vocabulary and vocabulary[name].releases:
        return "double-release"
    return "leak" if releases and did == "return" else "differs"


def of_ways(ways: Sequence[Explored], roles: Roles, function: str) -> Iterator[Defect]:
    """Yield what the judges find of all ways through a function."""
    ends, released = _ends(ways), _released(ways, roles)
    for explored in ways:
        way, events = explored.way, explored.way.trace.steps[0].events or []
        for finding in judge_all(way.trace, roles):
            rule = _JUDGES.get(finding.judge)
            kind, _, name = finding.resource.partition(":")
            # Who gives nothing of a kind back leaves that to the caller, who finds it in his structures.
            if rule == "leak" and (way.gave(name) or (name in way.kept and kind not in released)):
                continue
            # What others come to as well, without a jump, is no place where a function gives up.
            if rule == "success-after-unwind" and _place(events[-1]) in ends:
                continue
            if rule is not None:
                yield _of_finding(finding, rule, events, str(explored.fault or ""), function)


def _ends(ways: Sequence[Explored]) -> set[tuple[str, int]]:
    # Where the ways return on which nothing failed.
    every = (one.way.trace.steps[0].events or [] for one in ways)
    return {_place(events[-1]) for events in every if not any(e[0] in ("goto", "inject") for e in events)}


def _place(event: Event) -> tuple[str, int]:
    args = event[3] or {}
    return args["file"], args["line"]


def _released(ways: Sequence[Explored], roles: Roles) -> set[str]:
    # The kinds of resources that are released on some way.
    every = (event for one in ways for event in one.way.trace.steps[0].events or ())
    return {
        roles[name].releases for kind, _, name, args, _ in every if kind == "enter" and "obj" in (args or {})
    }


def _of_finding(finding: Finding, rule: str, events: list[Event], fault: str, function: str) -> Defect:
    kind, _, name = finding.resource.partition(":")
    flow = list(_flow(events, name))
    end = events[-1]
    assert end[3] is not None
    at = At(end[3]["file"], end[3]["line"], f"{function}() {shown(('return', '', end[4]))}")
    jumps = [e[3] for e in events if e[0] == "goto" and e[3] and f"{e[2]}:{e[3]['label']}" == finding.label]
    where = flow[0] if rule == "leak" and flow else at
    if jumps:
        where = At(jumps[-1]["file"], jumps[-1]["line"], f"goto {jumps[-1]['label']}")
    what = f"{kind} {name}".rstrip(" ?") if kind else "it"
    message = {
        "leak": f"{what} is still held when {function}() fails",
        "double-release": f"{what} is released a second time in {function}()",
        "use-after-release": f"{what} is used after it was released in {function}()",
    }.get(rule, finding.message)
    if finding.label:
        message += f", through {finding.label.partition(':')[2]}"
    return Defect(rule, function, where, message, (*flow, at), fault)


def _flow(events: list[Event], name: str) -> Iterator[At]:
    # Where the resource was acquired and released, what failed, and the jumps after that.
    for event, _, function, args, value in events:
        where = args or {}
        if event == "exit" and str(where.get("obj", "")) == name and name:
            yield At(where["file"], where["line"], f"{function}() acquires it")
        elif event == "enter" and name and str(where.get("obj", "")) == name:
            yield At(where["file"], where["line"], f"{function}() releases it")
        elif event == "inject":
            yield At(where["file"], where["line"], f"{function}() fails with {errno_name(value)}")
        elif event == "goto":
            yield At(where["file"], where["line"], f"goto {where['label']}")


def merged(defects: Iterator[Defect]) -> list[Defect]:
    """Return the defects without those that only another fault leads to, in the order of their places."""
    first: dict[tuple[str, str, At, str], Defect] = {}
    for defect in defects:
        first.setdefault((defect.rule, defect.function, defect.at, defect.message), defect)
    return sorted(first.values(), key=lambda d: (d.at.path, d.at.line, d.rule, d.message))
