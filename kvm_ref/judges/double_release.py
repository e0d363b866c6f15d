# SPDX-License-Identifier: GPL-2.0-only
"""The judge of double releases: what is released is held.

Releasing NULL or an error pointer is legal, and so is any release of a function that is declared
idempotent. A pointer keeps its value after the free: what an error path frees may be what the
variable still holds from an earlier life of the module.
"""

from __future__ import annotations

from kvm_ref.judges.finding import Finding, Place
from kvm_ref.judges.index import resource_of
from kvm_ref.judges.step_by_step import Moment, StepByStep


def _look(was: tuple[()], at: Moment) -> tuple[tuple[()], list[Finding]]:
    """Find what is released without being held: released before, or never acquired."""
    out = []
    for event, key, before in at.account.stale:
        resource = resource_of(key)
        place = Place(at.trace, at.number, event)
        message = f"{event[2]}() releases {resource} in {place}"
        acquired = ""
        if before is None:
            message += ", but nobody had acquired it"
        else:
            (_, since, origin, _), when, release = before
            acquired = str(Place(at.trace, since, origin))
            message += f", but it was released before, in {Place(at.trace, when, release)}"
        out.append(
            Finding(
                judge="double_release",
                message=message,
                step=at.number,
                label=place.label(at.seen),
                resource=resource,
                acquired=acquired,
            )
        )
    return was, out


double_release = StepByStep("double_release", (), _look)
