# SPDX-License-Identifier: GPL-2.0-only
"""Which labels and exits the traces of many runs reached, and which they did not.

Labels and exits are read from the text of the functions that were seen. A trace tells by which
line an error left a function; all returns without an error count as one exit, ``function:0``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from kvm_ref.judges.index import ERRORS, Index, indexes
from kvm_ref.trace import Event, Step, Trace
from kvm_ref.vocabulary import Facts, Vocabulary


class Reached:
    """What the traces that were added reached.

    Attributes:
        labels: how often each label was jumped to, by name: ``kvm_init:err_virt``.
    """

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._vocabulary = vocabulary
        self.labels: Counter[str] = Counter()
        self._seen: set[str] = set()
        self._succeeded: set[str] = set()
        # Errors that left a function: its name, the line, and the last call that failed before.
        self._left: Counter[tuple[str, int, str]] = Counter()

    def add(self, trace: Trace, indexed: Sequence[Index] | None = None) -> None:
        """Count what a trace reached; the log of a kernel cannot tell and counts nothing.

        `indexed` are the indexes of its steps, if they are known.
        """
        if trace.observed is not None:
            return
        indexed = indexes(trace, self._vocabulary) if indexed is None else indexed
        for step, seen in zip(trace.steps, indexed, strict=True):
            # Traces share steps: of one that was seen before, no more functions can be seen.
            if seen.counted_by is not self:
                self._see(step, seen)
            if seen.errors or seen.gotos:
                labels, left = _taken(seen)
                for label in labels:
                    self.labels[label] += 1
                for way in left:
                    self._left[way] += 1

    def _see(self, step: Step, seen: Index) -> None:
        seen.counted_by = self
        # Nor can they among the events with which it begins as another one that was.
        other, start = step.alike or (step, 0)
        counted = start if other.picked and other.picked.counted_by is self else 0
        names = {event[2] for event in (seen.events[counted:] if counted else seen.events)}
        self._seen |= names
        if None in step.results:
            # The machine stopped: what had begun did not all come back.
            names = {e[2] for e in step.events or () if e[0] == "exit"}
        # What is known to have succeeded need not be looked at again.
        names -= self._succeeded
        if names:
            # What failed in this step may also have succeeded in it.
            failed = names & {event[2] for _, event in seen.errors if event[0] == "exit"}
            self._succeeded |= names - failed
            if failed:
                self._succeeded |= _returned(seen.events[counted:], failed)

    def merge(self, other: Reached) -> None:
        """Add what another one counted."""
        self.labels.update(other.labels)
        self._left.update(other._left)
        self._seen |= other._seen
        self._succeeded |= other._succeeded

    @property
    def exits(self) -> dict[str, int]:
        """How often each exit with an error was taken that is no goto: ``kvm_init:-ENOMEM``."""
        out: Counter[str] = Counter()
        for (function, line, callee), times in self._left.items():
            facts = self._vocabulary.get(function)
            ways = _leaving(facts, line) if facts else []
            # A line with two calls has two exits.
            chosen = [name for name in ways if name.startswith(f"{function}:{callee}")]
            for name in (chosen or ways)[:1]:
                out[name] += times
        return dict(out)

    def names(self) -> set[str]:
        """Return the names of all labels and exits that were reached."""
        succeeded = [f"{f.name}:0" for f in self._functions() if f.name in self._succeeded]
        return {*self.labels, *self.exits, *succeeded}

    def unreached(self) -> list[str]:
        """Return the labels and exits that were not, of the functions that were seen in any trace."""
        reached = self.names()
        return [name for name in self.every() if name not in reached]

    def every(self) -> list[str]:
        """Return the labels and exits of the functions that were seen in any trace."""
        every: dict[str, None] = {}
        for facts in self._functions():
            every.update(dict.fromkeys(_labels(facts)))
            every.update(dict.fromkeys(way.name for way in facts.exits if way.kind != "goto"))
        return list(every)

    def _functions(self) -> Iterator[Facts]:
        return (facts for facts in self._vocabulary.values() if facts.name in self._seen)


# Labels that were jumped to, and ways on which errors left functions.
_Taken = tuple[list[str], list[tuple[str, int, str]]]


def _taken(seen: Index) -> _Taken:
    # What the jumps and the errors of a step took.
    if "reached" not in seen.found:
        labels = [f"{function}:{(args or {}).get('label')}" for _, (_, _, function, args, _) in seen.gotos]
        left = []
        before = ""
        for _, (kind, _, function, args, _) in seen.errors:
            if kind == "exit":
                if args and "line" in args:
                    left.append((function, args["line"], before))
                before = function
        seen.found["reached"] = (labels, left)
    taken: _Taken = seen.found["reached"]
    return taken


def _labels(facts: Facts) -> list[str]:
    ladder = facts.ladder
    return [f"{facts.name}:{label.name}" for label in ladder.labels] if ladder else []


def _leaving(facts: Facts, line: int) -> list[str]:
    # The exits by which an error can leave a function from a line.
    ways = [way for way in facts.exits if way.kind in ("raise", "call")]
    return [way.name for way in ways if any(first <= line <= last for first, last in way.lines)]


def _returned(events: Sequence[Event], functions: set[str]) -> set[str]:
    # Those of some functions that returned without an error.
    return {e[2] for e in events if e[2] in functions and e[0] == "exit" and e[4] not in ERRORS}
