# SPDX-License-Identifier: GPL-2.0-only
"""What became of each resource in one run of a matrix.

Of interest is what was held when the verb began that the fault fell into, or acquired in it: where
the fault came too early, a resource is not among them, even if a later load acquires it.
"""

from __future__ import annotations

from collections.abc import Iterable

from kvm_ref.judges import Finding
from kvm_ref.judges.index import Key, indexes, resource_of
from kvm_ref.judges.ledger import Ledger
from kvm_ref.plans import Plan
from kvm_ref.trace import Trace
from kvm_ref.vocabulary import Vocabulary

RELEASED, LEAKED, HELD = "released", "leaked", "held"
# What of a column was not acquired when others of its kind were, or at all.
NOT_ACQUIRED = "not acquired"

# A resource ("debugfs:kvm") and one of the words above.
Fate = tuple[str, str]


def fates(plan: Plan, trace: Trace, findings: Iterable[Finding], vocabulary: Vocabulary) -> tuple[Fate, ...]:
    """Return the fate of every resource that is not "not acquired", in order of acquisition.

    Leaked is what the judge of leaks found to be still held; held is what was not
    released, and is no leak.
    """
    book = Ledger(trace, vocabulary, indexes(trace, vocabulary))
    # Without a fault all that the run acquires is of interest.
    last = max(plan.last, plan.number) if plan.text else len(trace.steps) - 1
    before = book.after[plan.number - 1] if plan.number else {}
    keys: dict[Key, None] = dict.fromkeys(before)
    for seen in book.indexes[plan.number : last + 1]:
        keys |= dict.fromkeys(key for _, deed, key, *_ in seen.deeds if deed == "acquire")
    # What a later step leaks is told, too.
    found = {(f.step, f.resource) for f in findings if f.judge == "leak"}
    leaked = {key for step, name in found for key in book.after[step] if resource_of(key) == name}
    ordered = sorted(leaked.difference(keys), key=resource_of)
    end = {key for key, life in book.after[-1].items() if life[1] <= last} if book.after else set()
    return tuple(
        (resource_of(key), LEAKED if key in leaked else HELD if key in end else RELEASED)
        for key in (*keys, *ordered)
    )
