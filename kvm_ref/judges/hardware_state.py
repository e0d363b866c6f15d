# SPDX-License-Identifier: GPL-2.0-only
"""The judge of hardware: registers get back what they held.

After a verb that failed, each register holds what it held before that verb; after an unload, what
it held before KVM wrote it first. What another hypervisor changes meanwhile is its own: bits that
it sets stay set, and bits that it clears stay clear.
"""

from __future__ import annotations

from typing import Any

from kvm_ref.judges.finding import Finding, Place
from kvm_ref.judges.index import Register, index
from kvm_ref.trace import Event, Trace
from kvm_ref.vocabulary import Vocabulary


def hardware_state(trace: Trace, vocabulary: Vocabulary) -> list[Finding]:
    """Find registers that do not hold what they held before KVM touched them."""
    out: list[Finding] = []
    original: dict[Register, Any] = {}
    now: dict[Register, tuple[int, Event]] = {}
    known: set[tuple[Register, Any]] = set()
    seen = [index(step, vocabulary) for step in trace.steps]
    for number, step in enumerate(trace.steps):
        before = seen[number].before
        original = {**before, **original}
        now.update({register: (number, event) for register, event in seen[number].last.items()})
        for event in seen[number].foreign:
            original = _owned(original, event)
            before = _owned(before, event)
        if len(step.results) == 1 and (step.results[0] or 0) < 0:
            due, what = before, f"before {step.verbs[0]} failed"
        elif step.results[-1:] == [0] and step.verbs[-1].startswith("unload"):
            due, what = original, "before KVM first wrote it"
        else:
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
