# SPDX-License-Identifier: GPL-2.0-only
"""The judge of locks: each is taken once and given back by the task that took it, before a verb ends."""

from __future__ import annotations

from kvm_ref.judges.finding import Finding, Place, verbs_of
from kvm_ref.judges.index import index
from kvm_ref.trace import Event, Trace
from kvm_ref.vocabulary import Vocabulary


def lock_held(trace: Trace, vocabulary: Vocabulary) -> list[Finding]:
    """Find locks that stay held, are taken twice by one task, or unlocked by one that does not hold them."""
    out: list[Finding] = []
    for number, step in enumerate(trace.steps):
        held: dict[tuple[str, str], Event] = {}

        def found(message: str, lock: Event, number: int = number) -> None:
            place = Place(trace, number, lock)
            out.append(
                Finding(
                    judge="lock_held",
                    message=message,
                    step=number,
                    label=place.label(index(trace.steps[number], vocabulary)),
                    resource=f"lock:{lock[2]}",
                    acquired=str(place),
                )
            )

        for event in index(step, vocabulary).locks:
            kind, at, name, _, _ = event
            holder = (name, at.task)
            if kind == "lock":
                if holder in held:
                    found(f"{at.task} takes {name} twice, again in {Place(trace, number, event)}", held[holder])
                held[holder] = event
            elif held.pop(holder, None) is None:
                found(f"{at.task} unlocks {name} without holding it", event)
        # A machine that stopped in a bug holds what it held.
        if None not in step.results:
            for (name, task), event in held.items():
                found(f"{task} still holds {name} at the end of {verbs_of(trace, number)}", event)
    return out
