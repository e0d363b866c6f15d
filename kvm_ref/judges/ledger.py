# SPDX-License-Identifier: GPL-2.0-only
"""The ledger of a trace: who acquired what, and who released it, from the first step to the last.

The model tells which resource each call is about. The log of a real kernel does not always, and it
sees some functions only; where it cannot know, the ledger gives the benefit of the doubt:

- a release of something unnamed may be of anything of that kind;
- what is acquired or released by functions that the log cannot see is not judged;
- after a step that was not recorded nothing is known of what came before.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

from kvm_ref.judges.index import Deed, Index, Key
from kvm_ref.judges.net import Life, net_of
from kvm_ref.trace import Event, Trace
from kvm_ref.vocabulary import Vocabulary

# A release: of what, in which step, by which event.
Release = tuple[Life, int, Event]

# Where every trace begins.
NOTHING: dict[Key, Life] = {}


class Account:
    """What one step did to what was held before it.

    Attributes:
        held: what is held after it, in order of acquisition. Do not change it.
        stale: releases of what was not held: event, what it was, and how it was released before, if it was.
        used: uses of what was not held any more, likewise.
    """

    __slots__ = ("held", "stale", "used")

    def __init__(self, held: dict[Key, Life]) -> None:
        self.held = held
        self.stale: list[tuple[Event, Key, Release | None]] = []
        self.used: list[tuple[Event, Key, Release]] = []


class Ledger:
    """What became of every resource.

    Attributes:
        indexes: the index of each step.
        unseen_release, unseen_acquire: the kinds of resource that may be released, or acquired,
            without the trace showing it.
    """

    def __init__(self, trace: Trace, vocabulary: Vocabulary, seen: Sequence[Index]) -> None:
        self.indexes = seen
        self.whole = trace.observed is None and trace.source.get("kind") == "model"
        self.unseen_release, self.unseen_acquire = _unseen(trace, vocabulary)

    @functools.cached_property
    def after(self) -> list[dict[Key, Life]]:
        """For each step what is held at its end, in order of acquisition. Do not change it."""
        out = []
        held = NOTHING
        for number in range(len(self.indexes)):
            held = self.account(number, held).held
            out.append(held)
        return out

    def account(self, number: int, held: dict[Key, Life]) -> Account:
        """Go through a step, before which this was held."""
        seen = self.indexes[number]
        account = Account(NOTHING if self._unrecorded(seen) else held)
        if seen.deeds:
            # A log does not tell of all that must be held, so there it is done deed by deed.
            net = net_of(seen) if self.whole else None
            after = net.after(number, account.held) if net else None
            if after is None:
                after = self._done(number, account)
            account.held = after or NOTHING
        return account

    def _unrecorded(self, seen: Index) -> bool:
        return seen.source is None or (not self.whole and not seen.source and 0 in seen.results)

    def _done(self, number: int, account: Account) -> dict[Key, Life]:
        # What is held after the deeds of a step, which are looked at one by one.
        held = dict(account.held)
        for item in self.indexes[number].deeds:
            _, deed, key, event, facts = item
            if deed == "acquire":
                held[key] = (key, number, event, held.get(key))
            elif deed == "release":
                life = held.pop(key, None) or (None if self.whole else _guess(held, *key))
                if life is None:
                    if not facts.idempotent:
                        self._not_held(number, item, account)
                elif life[3] is not None:
                    held[key] = life[3]
            elif key not in held:
                self._not_held(number, item, account)
        return held

    def _not_held(self, number: int, item: Deed, account: Account) -> None:
        # A log may not show what was acquired; one that shows no name does not tell what is released.
        _, deed, key, event, _ = item
        doubt = not self.whole and (key[1] == "" or key[0] in self.unseen_acquire)
        before = None if doubt else self.released(number, key, item)
        if before and deed == "use":
            account.used.append((event, key, before))
        elif before or (self.whole and deed == "release"):
            account.stale.append((event, key, before))

    def released(self, number: int, key: Key, until: Deed | None = None) -> Release | None:
        """Return how something was released last, by the end of a step or before a deed of it.

        None means that it was not, or that nobody had acquired it.
        """
        release: tuple[int, Event] | None = None
        counts = until is None
        for n in range(number, -1, -1):
            seen = self.indexes[n]
            for item in reversed(seen.deeds):
                _, deed, other, event, _ = item
                if not counts:
                    counts = item is until
                elif other == key and deed == "release":
                    release = (n, event)
                elif other == key and deed == "acquire":
                    return ((key, n, event, None), *release) if release else None
            if self._unrecorded(seen):
                break
        return None


def _guess(held: dict[Key, Life], kind: str, name: str | int) -> Life | None:
    # A log may name a resource where it is acquired, and not where it is released, or the other
    # way round. What an unnamed release was of is not known: it may have been any.
    life = None
    for key in [k for k in held if k[0] == kind and (name == "" or k[1] == "")]:
        life = held.pop(key)
        if name != "":
            break
    return life


def _unseen(trace: Trace, vocabulary: Vocabulary) -> tuple[frozenset[str], frozenset[str]]:
    if trace.observed is None:
        return frozenset(), frozenset()
    seen = set(trace.observed)
    unseen = [facts for facts in vocabulary.values() if facts.symbol not in seen]
    return frozenset(f.releases for f in unseen), frozenset(f.acquires for f in unseen)
