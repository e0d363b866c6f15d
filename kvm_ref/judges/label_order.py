# SPDX-License-Identifier: GPL-2.0-only
"""The judge of labels: after a goto a function does what stands below the label, and nothing else.

What stands there is read from the function's own text. It is a pattern, for a loop may run any
number of times and a branch may be taken or not; it is compiled to a small automaton.
"""

from __future__ import annotations

import functools

from kvm_ref.calls import Block, Branch, Call, Done, Loop, calls_of
from kvm_ref.judges.each_step import EachStep
from kvm_ref.judges.finding import Finding
from kvm_ref.judges.index import Index, named
from kvm_ref.trace import Trace
from kvm_ref.vocabulary import Facts, Vocabulary

# The end of an automaton, and of a list of callees.
END = "return"


class Automaton:
    """What may follow what: from each state the calls that can come, and the states after them.

    Args:
        done: what is done, as it stands in the text.
        options: the Kconfig options that are known to be set; calls that depend on others may be missing.
    """

    def __init__(self, done: Done, options: frozenset[str] = frozenset()) -> None:
        self.options = options
        # Of each state: the calls that lead out of it, and the states that it is as good as.
        self.calls: list[list[tuple[Call, int]]] = [[]]
        self.same: list[list[int]] = [[]]
        self.start = self._new()
        self._add(done, self.start, 0, 0, 0)

    def _new(self) -> int:
        self.calls.append([])
        self.same.append([])
        return len(self.calls) - 1

    def _add(self, done: Done, start: int, end: int, leave: int, turn: int) -> None:
        # Lay `done` from one state to another; a Leave goes to `leave`, or with `turn` to `turn`.
        for part in done:
            after = self._new()
            match part:
                case Call():
                    self.calls[start].append((part, after))
                    if part.config and part.config not in self.options:
                        self.same[start].append(after)
                case Loop(body):
                    self.same[start].append(after)
                    self._add(body, after, after, leave, after)
                case Branch(ways):
                    for way in ways:
                        self._add(way, start, after, leave, turn)
                case Block(body):
                    self._add(body, start, after, after, after)
                case _:
                    self.same[start].append(turn if part.turn else leave)
                    return
            start = after
        self.same[start].append(end)

    def _closed(self, states: set[int]) -> set[int]:
        todo = list(states)
        while todo:
            for state in self.same[todo.pop()]:
                if state not in states:
                    states.add(state)
                    todo.append(state)
        return states

    def differs(self, callees: tuple[str, ...]) -> tuple[str, str] | None:
        """Return what was expected and what was found where `callees` first differ, or None."""
        states = self._closed({self.start})
        for found in callees:
            after = {state for call, state in self._ways(states) if _is(call, found)}
            if not after:
                return self._expected(states), found
            states = self._closed(after)
        return None if 0 in states else (self._expected(states), END)

    def _ways(self, states: set[int]) -> list[tuple[Call, int]]:
        return [way for state in states for way in self.calls[state]]

    def _expected(self, states: set[int]) -> str:
        names = {call.name for call, _ in self._ways(states)} | ({END} if 0 in states else set())
        return " or ".join(sorted(names))


def _is(call: Call, name: str) -> bool:
    return name.endswith(call.name) if call.indirect else name == call.name


@functools.lru_cache(maxsize=4096)
def _differs(
    facts: Facts, label: str, callees: tuple[str, ...], options: frozenset[str]
) -> tuple[str, str] | None:
    # What differs, of a jump that was judged before; there are few that are not alike.
    return _automaton(facts, label, options).differs(callees)


@functools.lru_cache(maxsize=1024)
def _automaton(facts: Facts, label: str, options: frozenset[str]) -> Automaton:
    ladder = facts.ladder
    assert ladder is not None
    return Automaton(ladder.fall(label), options)


@functools.lru_cache(maxsize=1024)
def _has(facts: Facts, label: str) -> bool:
    return facts.ladder is not None and label in [one.name for one in facts.ladder.labels]


@functools.lru_cache(maxsize=1024)
def _asked(facts: Facts, label: str) -> frozenset[str]:
    # The Kconfig options that decide what stands below a label.
    ladder = facts.ladder
    assert ladder is not None
    return frozenset(call.config for call in calls_of(ladder.fall(label)) if call.config)


@functools.lru_cache(maxsize=32)
def _depending(vocabulary: Vocabulary) -> dict[str, set[str]]:
    # By Kconfig option the functions that depend on it.
    out: dict[str, set[str]] = {}
    for facts in vocabulary.values():
        out.setdefault(facts.config, set()).add(facts.name)
    return out


def _set(seen: Index, options: frozenset[str]) -> frozenset[str]:
    # The options that are known to be set: a function that depends on them left a trace.
    depending = _depending(seen.vocabulary)
    return frozenset(o for o in options if not depending.get(o, set()).isdisjoint(seen.functions()))


@EachStep
def label_order(trace: Trace, number: int, seen: Index) -> list[Finding]:
    """Find gotos after which a function did not do what stands below the label."""
    out = []
    for jump in seen.jumps():
        function = jump.event[2]
        label = f"{function}:{jump.label}"
        for facts in named(seen.vocabulary, function):
            if not _has(facts, jump.label):
                message = f"{function}() jumped to {jump.label}, but has no such label"
            elif jump.exit is None:
                continue
            else:
                # What is right where all options are set is right wherever.
                options = _asked(facts, jump.label)
                if _differs(facts, jump.label, jump.callees, options) is None:
                    continue
                differs = _differs(facts, jump.label, jump.callees, _set(seen, options))
                if differs is None:
                    continue
                expected, found = differs
                message = f"after goto {jump.label} {function}() does {found} where {expected} is due"
            out.append(Finding(judge="label_order", message=message, step=number, label=label))
    return out
