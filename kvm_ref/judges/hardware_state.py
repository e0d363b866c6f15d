# SPDX-License-Identifier: GPL-2.0-only
"""The judge of hardware: registers get back what they held.

After a verb that failed, each register holds what it held before that verb; after an unload, what
it held before KVM wrote it first. What another hypervisor changes meanwhile is its own: bits that
it sets stay set, and bits that it clears stay clear.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

from kvm_ref.judges.finding import Finding, Place
from kvm_ref.judges.index import Index, Register
from kvm_ref.judges.whole_trace import WholeTrace
from kvm_ref.trace import Event, Trace
from kvm_ref.vocabulary import Vocabulary


@WholeTrace
def hardware_state(trace: Trace, seen: Sequence[Index], vocabulary: Vocabulary) -> list[Finding]:
    """Find registers that do not hold what they held before KVM touched them."""
    written = tuple([step for one in seen for step in _written(one)])
    return [] if None not in written and _restored(written) else _found(trace, seen)


# What is due after a step: what each register held before it, or before the first step that wrote it.
_BEFORE, _ORIGINAL = "before", "original"
# A step's writes, what each register held before and after them, and what is due.
_Written = tuple[frozenset[tuple[Register, int | None, object]], str]


def _due(seen: Index) -> str:
    if len(seen.results) == 1 and (seen.results[0] or 0) < 0:
        return _BEFORE
    return _ORIGINAL if seen.results[-1:] == [0] and seen.verbs[-1].startswith("unload") else ""


def _written(seen: Index) -> tuple[_Written | None, ...]:
    # Nothing where a step does not count, and None where it is not that simple: another hypervisor
    # writes too, or what a register held is no number.
    if "hardware_state" not in seen.found:
        before, due = seen.before, _due(seen)
        plain = not seen.foreign and set(map(type, before.values())) <= {int}
        writes = [(register, before.get(register), event[4]) for register, event in seen.last.items()]
        counts = bool(writes) or due == _ORIGINAL
        seen.found["hardware_state"] = ((frozenset(writes), due) if plain else None,) if counts else ()
    written: tuple[_Written | None, ...] = seen.found["hardware_state"]
    return written


@functools.lru_cache(maxsize=4096)
def _restored(steps: tuple[_Written, ...]) -> bool:
    # Whether all registers are found to hold what is due. Few sequences of writes are not alike.
    original: dict[Register, int] = {}
    now: dict[Register, object] = {}
    for writes, due in steps:
        for register, was, value in writes:
            now[register] = value
            if was is not None:
                original.setdefault(register, was)
                if due == _BEFORE and was != value:
                    return False
        if due == _ORIGINAL and any(now[register] != value for register, value in original.items()):
            return False
    return True


def _found(trace: Trace, seen: Sequence[Index]) -> list[Finding]:
    out: list[Finding] = []
    original: dict[Register, Any] = {}
    now: dict[Register, tuple[int, Event]] = {}
    known: set[tuple[Register, Any]] = set()
    for number, step in enumerate(trace.steps):
        before = seen[number].before
        if before:
            original = {**before, **original}
        for register, event in seen[number].last.items():
            now[register] = (number, event)
        for event in seen[number].foreign:
            original = _owned(original, event)
            before = _owned(before, event)
        match _due(seen[number]):
            case "before":
                due, what = before, f"before {step.verbs[0]} failed"
            case "original":
                due, what = original, "before KVM first wrote it"
            case _:
                continue
        for register in [r for r, value in due.items() if now[r][1][4] != value]:
            writer, event = now[register]
            if (register, event[4]) in known:
                continue
            known.add((register, event[4]))
            cpu, name = register
            place = Place(trace, writer, event)
            out.append(
                Finding(
                    judge="hardware_state",
                    message=f"{name} of CPU {cpu} is {_hex(event[4])} after {step.verbs[-1]}, "
                    f"but was {_hex(due[register])} {what}; written last in {place}",
                    step=number,
                    label=place.label(seen[writer]),
                    resource=f"register:{name}@{cpu}",
                    acquired=str(place),
                )
            )
    return out


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
