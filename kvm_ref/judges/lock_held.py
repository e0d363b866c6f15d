# SPDX-License-Identifier: GPL-2.0-only
"""The judge of locks: each is taken once and given back by the task that took it, before a verb ends."""

from __future__ import annotations

from collections.abc import Iterator

from kvm_ref.judges.each_step import EachStep
from kvm_ref.judges.finding import Finding, Place, verbs_of
from kvm_ref.judges.index import Index
from kvm_ref.trace import Event, Trace


@EachStep
def lock_held(trace: Trace, number: int, seen: Index) -> list[Finding]:
    """Find locks that stay held, are taken twice by one task, or unlocked by one that does not hold them."""
    return [_finding(trace, number, seen, message, lock) for message, lock in _wrong(trace, number, seen)]


def _wrong(trace: Trace, number: int, seen: Index) -> Iterator[tuple[str, Event]]:
    held: dict[tuple[str, str], Event] = {}
    for _, event in seen.locks:
        kind, at, name, _, _ = event
        holder = (name, at.task)
        if kind == "lock":
            if holder in held:
                yield f"{at.task} takes {name} twice, again in {Place(trace, number, event)}", held[holder]
            held[holder] = event
        elif held.pop(holder, None) is None:
            yield f"{at.task} unlocks {name} without holding it", event
    # A machine that stopped in a bug holds what it held.
    if None not in trace.steps[number].results:
        for (name, task), event in held.items():
            yield f"{task} still holds {name} at the end of {verbs_of(trace, number)}", event


def _finding(trace: Trace, number: int, seen: Index, message: str, lock: Event) -> Finding:
    place = Place(trace, number, lock)
    return Finding(
        judge="lock_held",
        message=message,
        step=number,
        label=place.label(seen, later=True),
        resource=f"lock:{lock[2]}",
        acquired=str(place),
    )
