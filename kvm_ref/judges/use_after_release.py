# SPDX-License-Identifier: GPL-2.0-only
"""The judge of uses: what was released is not used any more."""

from __future__ import annotations

from collections.abc import Sequence

from kvm_ref.judges.finding import Finding, Place
from kvm_ref.judges.index import Index, resource_of
from kvm_ref.judges.ledger import ledger
from kvm_ref.judges.whole_trace import WholeTrace
from kvm_ref.trace import Trace
from kvm_ref.vocabulary import Vocabulary


@WholeTrace
def use_after_release(trace: Trace, seen: Sequence[Index], vocabulary: Vocabulary) -> list[Finding]:
    """Find what is used after it was released."""
    book = ledger(trace, vocabulary, seen)
    out = []
    for number, event, key, (life, when, release) in book.used:
        resource = resource_of(key)
        place = Place(trace, number, event)
        out.append(
            Finding(
                judge="use_after_release",
                message=f"{event[2]}() uses {resource} in {place}, "
                f"but it was released in {Place(trace, when, release)}",
                step=number,
                label=place.label(book.indexes[number]),
                resource=resource,
                acquired=str(Place(trace, life[1], life[2])),
            )
        )
    return out
