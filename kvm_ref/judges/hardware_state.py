# SPDX-License-Identifier: GPL-2.0-only
"""The judge of hardware: registers get back what they held.

After a verb that failed, each register holds what it held before that verb; after an unload, what
it held before KVM wrote it first. What another hypervisor changes meanwhile is its own: bits that
it sets stay set, and bits that it clears stay clear.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any, NamedTuple

from kvm_ref.judges.finding import Finding, Place
from kvm_ref.judges.index import Index, Register
from kvm_ref.judges.step_by_step import Moment, StepByStep
from kvm_ref.trace import Event

# What is due after a step: what each register held before it, or before the first step that wrote it.
_BEFORE, _ORIGINAL = "before", "original"


class _Known(NamedTuple):
    # What each register held before the first step that wrote it; of those that hold something else the
    # step and the event that wrote them last; and which of these were told, with what they hold.
    original: dict[Register, Any]
    now: dict[Register, tuple[int, Event]]
    told: frozenset[tuple[Register, Any]]


def _due(seen: Index) -> str:
    if len(seen.results) == 1 and (seen.results[0] or 0) < 0:
        return _BEFORE
    return _ORIGINAL if seen.results[-1:] == [0] and seen.verbs[-1].startswith("unload") else ""


def _look(was: _Known, at: Moment) -> tuple[_Known, list[Finding]]:
    """Find registers that do not hold what they held before KVM touched them."""
    seen, step, due = at.seen, at.step, _due(at.seen)
    original, now, known = was.original, was.now, set(was.told)
    before = seen.before
    if not seen.last and not (now and due == _ORIGINAL):
        return was, []
    if before:
        original = {**before, **original}
    now = {**now, **{register: (at.number, event) for register, event in seen.last.items()}}
    for event in seen.foreign:
        original = _owned(original, event)
        before = _owned(before, event)
    differing = {r: writer for r, writer in now.items() if r in original and writer[1][4] != original[r]}
    wrong: list[Register] = []
    what = ""
    if due == _BEFORE:
        wrong = [register for register, value in before.items() if now[register][1][4] != value]
        what = f"before {step.verbs[0]} failed"
    elif due == _ORIGINAL:
        wrong = [register for register in original if register in differing]
        what = "before KVM first wrote it"
    out = []
    for register in wrong:
        writer, event = now[register]
        if (register, event[4]) in known:
            continue
        known.add((register, event[4]))
        cpu, name = register
        place = Place(at.trace, writer, event)
        value = (before if due == _BEFORE else original)[register]
        out.append(
            Finding(
                judge="hardware_state",
                message=f"{name} of CPU {cpu} is {_hex(event[4])} after {step.verbs[-1]}, "
                f"but was {_hex(value)} {what}; written last in {place}",
                step=at.number,
                label=place.label(at.book.indexes[writer]),
                resource=f"register:{name}@{cpu}",
                acquired=str(place),
            )
        )
    return _Known(original, differing, frozenset(known)), out


def _settled(knows: _Known) -> Hashable | None:
    # Who wrote a register is asked for only if that was not told yet.
    original, now, told = knows
    holds = tuple([(register, event[4]) for register, (_, event) in now.items()])
    return (tuple(original.items()), holds, told) if told.issuperset(holds) else None


hardware_state = StepByStep("hardware_state", _Known({}, {}, frozenset()), _look, _settled)


def _owned(held: dict[Register, Any], event: Event) -> dict[Register, Any]:
    # What a register is to hold after another hypervisor changed some of its bits.
    _, at, name, args, value = event
    register, was = (at.cpu, name), (args or {}).get("was")
    if register not in held:
        return held
    if not isinstance(was, int) or not isinstance(value, int) or not isinstance(held[register], int):
        return {**held, register: value}
    changed = was ^ value
    return {**held, register: held[register] & ~changed | value & changed}


def _hex(value: object) -> str:
    return f"{value:#x}" if isinstance(value, int) else str(value)
