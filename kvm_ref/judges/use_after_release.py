# SPDX-License-Identifier: GPL-2.0-only
"""The judge of uses: what was released is not used any more."""

from __future__ import annotations

from kvm_ref.judges.finding import Finding, Place
from kvm_ref.judges.index import resource_of
from kvm_ref.judges.step_by_step import Moment, StepByStep


def _look(was: tuple[()], at: Moment) -> tuple[tuple[()], list[Finding]]:
    """Find what is used after it was released."""
    out = []
    for event, key, (life, when, release) in at.account.used:
        resource = resource_of(key)
        place = Place(at.trace, at.number, event)
        out.append(
            Finding(
                judge="use_after_release",
                message=f"{event[2]}() uses {resource} in {place}, "
                f"but it was released in {Place(at.trace, when, release)}",
                step=at.number,
                label=place.label(at.seen),
                resource=resource,
                acquired=str(Place(at.trace, life[1], life[2])),
            )
        )
    return was, out


use_after_release = StepByStep("use_after_release", (), _look)
