# SPDX-License-Identifier: GPL-2.0-only
"""The judge of double releases: what is released is held.

Releasing NULL or an error pointer is legal, and so is any release of a function that is declared
idempotent. A pointer keeps its value after the free: what an error path frees may be what the
variable still holds from an earlier life of the module.
"""

from __future__ import annotations

from collections.abc import Sequence

from kvm_ref.judges.finding import Finding, Place
from kvm_ref.judges.index import Index, resource_of
from kvm_ref.judges.ledger import ledger
from kvm_ref.judges.whole_trace import WholeTrace
from kvm_ref.trace import Trace
from kvm_ref.vocabulary import Vocabulary


@WholeTrace
def double_release(trace: Trace, seen: Sequence[Index], vocabulary: Vocabulary) -> list[Finding]:
    """Find what is released without being held: released before, or never acquired."""
    book = ledger(trace, vocabulary, seen)
    out = []
    for number, event, key, before in book.stale:
        resource = resource_of(key)
        place = Place(trace, number, event)
        message = f"{event[2]}() releases {resource} in {place}"
        acquired = ""
        if before is None:
            message += ", but nobody had acquired it"
        else:
            (_, since, origin, _), when, release = before
            acquired = str(Place(trace, since, origin))
            message += f", but it was released before, in {Place(trace, when, release)}"
        out.append(
            Finding(
                judge="double_release",
                message=message,
                step=number,
                label=place.label(book.indexes[number]),
                resource=resource,
                acquired=acquired,
            )
        )
    return out
