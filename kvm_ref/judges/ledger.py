# SPDX-License-Identifier: GPL-2.0-only
"""The ledger of a trace: who acquired what, and who released it, from the first step to the last.

The model tells which resource each call is about. The log of a real kernel does not always, and it
sees some functions only; where it cannot know, the ledger gives the benefit of the doubt:

- a release of something unnamed may be of anything of that kind;
- what is acquired or released by functions that the log cannot see is not judged;
- after a step that was not recorded nothing is known of what came before.
"""

from __future__ import annotations

from kvm_ref.judges.index import Deed, Index, Key, index
from kvm_ref.trace import Event, Trace
from kvm_ref.vocabulary import Vocabulary

# One life of a resource: what it is, the step and the event that acquired it, and another life of the
# same name that was not over then.
Life = tuple[Key, int, Event, "Life | None"]
# A release: of what, in which step, by which event.
Release = tuple[Life, int, Event]


class Ledger:
    """What became of every resource.

    Attributes:
        indexes: the index of each step.
        after: for each step what was held at its end, in order of acquisition.
        lost: for each step the lives that ended in it but had begun before, and the releases.
        stale: releases of what was not held: step, event, what it was, and how it was released
            before, if it was.
        used: uses of what was not held any more, likewise.
        unseen_release, unseen_acquire: the kinds of resource that may be released, or acquired,
            without the trace showing it.
    """

    def __init__(self, trace: Trace, vocabulary: Vocabulary, indexes: list[Index]) -> None:
        self.indexes = indexes
        self.whole = trace.observed is None and trace.source.get("kind") == "model"
        self.after: list[list[Life]] = []
        self.lost: list[list[Release]] = []
        self.stale: list[tuple[int, Event, Key, Release | None]] = []
        self.used: list[tuple[int, Event, Key, Release]] = []
        self.unseen_release, self.unseen_acquire = _unseen(trace, vocabulary)
        self._held: dict[Key, Life] = {}
        self._gone: dict[Key, Release] = {}
        for number, (step, seen) in enumerate(zip(trace.steps, indexes, strict=True)):
            if step.events is None or (not self.whole and not step.events and 0 in step.results):
                # Not recorded.
                self._held, self._gone = {}, {}
            self.lost.append(self._step(number, seen.deeds))
            self.after.append(list(self._held.values()))

    def _step(self, number: int, deeds: list[Deed]) -> list[Release]:
        held, gone = self._held, self._gone
        lost: list[Release] = []
        for deed, key, event, facts in deeds:
            if deed == "acquire":
                held[key] = (key, number, event, held.get(key))
            elif deed == "release":
                life = held.pop(key, None) or (None if self.whole else self._guess(*key))
                if life is not None:
                    if life[3] is not None:
                        held[key] = life[3]
                    gone[key] = release = (life, number, event)
                    if life[1] != number:
                        lost.append(release)
                elif not facts.idempotent and (self.whole or self._again(key)):
                    self.stale.append((number, event, key, gone.get(key)))
            elif key not in held and key in gone and key[0] not in self.unseen_acquire:
                self.used.append((number, event, key, gone[key]))
        return lost

    def _guess(self, kind: str, name: str | int) -> Life | None:
        # A log may name a resource where it is acquired, and not where it is released, or the other
        # way round. What an unnamed release was of is not known: it may have been any.
        life = None
        for key in [k for k in self._held if k[0] == kind and (name == "" or k[1] == "")]:
            life = self._held.pop(key)
            if name != "":
                break
        return life

    def _again(self, key: Key) -> bool:
        # Whether a log shows for certain that what is released was released before.
        return key[1] != "" and key in self._gone and key[0] not in self.unseen_acquire


def _unseen(trace: Trace, vocabulary: Vocabulary) -> tuple[frozenset[str], frozenset[str]]:
    if trace.observed is None:
        return frozenset(), frozenset()
    seen = set(trace.observed)
    unseen = [facts for facts in vocabulary.values() if facts.symbol not in seen]
    return frozenset(f.releases for f in unseen), frozenset(f.acquires for f in unseen)


def ledger(trace: Trace, vocabulary: Vocabulary) -> Ledger:
    """Return the ledger of a trace, which is made once for all judges."""
    indexes = [index(step, vocabulary) for step in trace.steps]
    known = trace.ledger
    if isinstance(known, Ledger) and known.indexes == indexes:
        return known
    trace.ledger = made = Ledger(trace, vocabulary, indexes)
    return made
