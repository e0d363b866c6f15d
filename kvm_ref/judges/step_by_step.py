# SPDX-License-Identifier: GPL-2.0-only
"""Judges that go through a trace step by step, and carry along what they know by then.

What such a judge finds in a step follows from that step, and from where the judges stand before it: what
is held, and what each of them knows. Runs share steps, and most of them come to stand where others
have stood. So what is found in a step is kept with it, by where the judges stood; it need be looked for
only once.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any, Generic, NamedTuple, TypeVar

from kvm_ref.judges.each_step import EachStep
from kvm_ref.judges.finding import Finding
from kvm_ref.judges.index import Index, Key, indexes
from kvm_ref.judges.ledger import NOTHING, Account, Ledger
from kvm_ref.judges.net import Life, lives
from kvm_ref.trace import Step, Trace
from kvm_ref.vocabulary import Vocabulary

S = TypeVar("S")
# So much is kept of one step, and of all places to stand; what comes again comes early.
_KEPT = 256


class Moment(NamedTuple):
    """One step of a trace, and what a judge may ask besides.

    Attributes:
        trace: the trace; of the steps that are still to come nothing may be asked.
        number, step, seen: the step, which it is, and its index.
        before: what was held before it.
        account: what it did to that.
        book: knows the steps before it.
    """

    trace: Trace
    number: int
    step: Step
    seen: Index
    before: Mapping[Key, Life]
    account: Account
    book: Ledger


class StepByStep(Generic[S]):
    """A judge of this kind.

    Args:
        name: the judge's.
        begin: what it knows before the first step.
        look: looks at a step, knowing this; returns what it knows afterwards, and what it found.
        settled: returns a value that says all that it knows and may ask for again, or None if there
            is no such value: what it knows names events, which are other ones in another run. By
            default that is what it knows.
    """

    def __init__(
        self,
        name: str,
        begin: S,
        look: Callable[[S, Moment], tuple[S, list[Finding]]],
        settled: Callable[[S], Hashable | None] | None = None,
    ) -> None:
        self.__name__ = name
        self.__doc__ = look.__doc__
        self.begin = begin
        self.look = look
        self.settled: Callable[[S], Any] = settled or _itself

    def __call__(self, trace: Trace, vocabulary: Vocabulary) -> list[Finding]:
        """Return what is found in the trace."""
        found = walk(trace, indexes(trace, vocabulary), vocabulary, (self,))
        return [f for some in found for f in some[self]]


def _itself(knows: S) -> S:
    return knows


# What is found in a step, by judge.
Found = dict[Any, list[Finding]]


class Standing:
    """Where judges stand: what is held, and what each of them knows. Equal ones are one, if all is settled."""

    __slots__ = ("held", "known", "others")

    def __init__(
        self, held: dict[Key, Life], known: tuple[Any, ...], others: dict[Hashable, Standing]
    ) -> None:
        self.held = held
        self.known = known
        self.others = others


def _standing(
    judges: Sequence[StepByStep[Any]],
    held: dict[Key, Life],
    known: tuple[Any, ...],
    others: dict[Hashable, Standing],
) -> Standing:
    settled = [judge.settled(knows) for judge, knows in zip(judges, known, strict=True)]
    if None in settled:
        return Standing(held, known, others)
    try:
        # An event is kept as long as what holds it, so that nothing else can have its id.
        key = (*settled, *((k, since, id(e)) for life in held.values() for k, since, e, _ in lives(life)))
        there = others.get(key)
    except TypeError:
        # A trace from elsewhere may hold lists where the model has numbers.
        return Standing(held, known, others)
    if there is None:
        if len(others) >= _KEPT:
            others.clear()
        there = others[key] = Standing(held, known, others)
    return there


@functools.lru_cache(maxsize=16)
def _begun(judges: tuple[StepByStep[Any], ...], model: bool) -> Standing:
    # Where all traces that tell everything begin: those of the model, or others.
    return _standing(judges, NOTHING, tuple(judge.begin for judge in judges), {})


def walk(
    trace: Trace,
    seen: Sequence[Index],
    vocabulary: Vocabulary,
    judges: tuple[StepByStep[Any], ...],
    each: Sequence[EachStep] = (),
) -> list[Found]:
    """Return what these judges, and those that look at `each` step alone, find where they find anything."""
    book = None
    if trace.observed is None:
        standing = _begun(judges, trace.source.get("kind") == "model")
    else:
        # What may happen unseen is not the same in other traces.
        standing = Standing(NOTHING, tuple(judge.begin for judge in judges), {})
    out = []
    for number, one in enumerate(seen):
        come = one.come.get((number, standing))
        if come is None:
            book = book or Ledger(trace, vocabulary, seen)
            come = _come(trace, number, book, judges, standing)
            if each:
                come[1].update(_alone(trace, number, one, each))
        standing, found = come
        if found:
            out.append(found)
    return out


def _alone(trace: Trace, number: int, seen: Index, each: Sequence[EachStep]) -> Found:
    # What is found in a step alone: wherever the judges stand, it is looked at once.
    whole = trace.observed is None
    found = seen.alone.get((number, whole))
    if found is None:
        found = seen.alone[number, whole] = {}
        for judge in each:
            some = judge.look(trace, number, seen)
            if some:
                found[judge] = some
    return found


def _come(
    trace: Trace, number: int, book: Ledger, judges: tuple[StepByStep[Any], ...], was: Standing
) -> tuple[Standing, Found]:
    # Where judges come to stand by a step, and what they find in it.
    seen = book.indexes[number]
    account = book.account(number, was.held)
    at = Moment(trace, number, trace.steps[number], seen, was.held, account, book)
    found: Found = {}
    known = []
    moved = account.held is not was.held
    for judge, knows in zip(judges, was.known, strict=True):
        now, some = judge.look(knows, at)
        known.append(now)
        moved = moved or now is not knows
        if some:
            found[judge] = some
    come = _standing(judges, account.held, tuple(known), was.others) if moved else was, found
    # How something was released before may be asked of any earlier step.
    if not (account.stale or account.used):
        if len(seen.come) >= _KEPT:
            seen.come.clear()
        seen.come[number, was] = come
    return come
