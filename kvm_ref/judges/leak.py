# SPDX-License-Identifier: GPL-2.0-only
"""The judge of leaks: what was acquired is released, once nobody needs it any more.

A verb that failed must leave held exactly what was held before it. After a module was unloaded,
nothing is held that was acquired since it was loaded; after the last VM was closed, nothing that was
acquired when a VM was created or /dev/kvm was opened.
"""

from __future__ import annotations

from typing import NamedTuple

from kvm_ref.judges.finding import Finding, Place, user_of
from kvm_ref.judges.index import Index, resource_of
from kvm_ref.judges.nesting import nesting
from kvm_ref.judges.net import Life, lives
from kvm_ref.judges.step_by_step import Moment, StepByStep
from kvm_ref.text import errno_name
from kvm_ref.trace import Step, Trace


class _Known(NamedTuple):
    # The modules that were loaded, each with the step; the steps in which files were opened; how many VMs and
    # other files are open; and of what is held that which was told, by the step and the event that
    # acquired it: runs may share a step, so an event alone is not enough.
    loads: tuple[tuple[str, int], ...] = ()
    opened: tuple[int, ...] = ()
    vms: int = 0
    devs: int = 0
    told: frozenset[tuple[int, int]] = frozenset()
    all_told: bool = True


def _look(was: _Known, at: Moment) -> tuple[_Known, list[Finding]]:
    """Find what is still held after a failure or an unload, and what a failure gave up."""
    loads, opened, vms, devs, told, _ = was
    out: list[Finding] = []
    step, after = at.step, at.account.held
    known = set(told)
    if len(step.results) == 1 and (step.results[0] or 0) < 0:
        if at.before is after or not (at.before or after):
            return was, out
        out += _failed(at, known)
    else:
        for text, verb, module, last in _succeeded(at.seen):
            if verb == "load":
                loads = (*loads, (module, at.number))
            elif verb == "unload":
                loads, kept = _since(loads, module, at.trace, list(after.values()))
                if kept and last:
                    out += _still_held(at, kept, text, known)
            elif verb in ("create-vm", "open-dev"):
                opened = (*opened, at.number)
                vms += verb == "create-vm"
                devs += verb == "open-dev"
            elif verb in ("close-vm", "close-dev"):
                vms -= verb == "close-vm"
                devs -= verb == "close-dev"
                # References to the module are alike, whichever file they belong to.
                if not vms and not devs and len(step.verbs) == 1:
                    kept = [life for life in after.values() if life[1] in opened]
                    out += _still_held(at, kept, text, known)
                    opened = ()
    if not known or not after:
        return _Known(loads, opened, vms, devs, frozenset(), not after), out
    held = {(since, id(event)) for life in after.values() for _, since, event, _ in lives(life)}
    told = frozenset(held & known)
    return _Known(loads, opened, vms, devs, told, len(told) == len(held)), out


def _settled(knows: _Known) -> _Known | None:
    # Of what is held but was not told yet, the label may be asked for: which one it is depends on the step.
    return knows if knows.all_told else None


leak = StepByStep("leak", _Known(), _look, _settled)


def _succeeded(seen: Index) -> list[tuple[str, str, str, bool]]:
    # The verbs of a step that succeeded: as written, without and with what follows "=", and whether it is the last.
    if "leak" not in seen.found:
        seen.found["leak"] = done = []
        for nth, (text, result) in enumerate(zip(seen.verbs, seen.results, strict=True), 1):
            verb, _, argument = text.partition("=")
            if result == 0:
                done.append((text, verb, argument, nth == len(seen.verbs)))
    succeeded: list[tuple[str, str, str, bool]] = seen.found["leak"]
    return succeeded


def _since(
    loads: tuple[tuple[str, int], ...], module: str, trace: Trace, held: list[Life]
) -> tuple[tuple[tuple[str, int], ...], list[Life]]:
    # The loads without that of a module that now goes, and what is held of that which was acquired since.
    # Without a name it is the one that was loaded last. If none is left it is one that another had pulled
    # in; as long as the other is loaded, what belongs to it is no leak.
    if not loads:
        return loads, held
    named = [n for n, (name, _) in enumerate(loads) if name == module]
    nth = named[-1] if named else len(loads) - 1
    since = loads[nth][1]
    loads = loads[:nth] + loads[nth + 1 :]
    if not held:
        return loads, []
    by_step = [[life for life in held if life[1] == n] for n in range(since, len(trace.steps))]
    return loads, [life for n, lives in enumerate(by_step, since) for life in _own(trace.steps[n], lives)]


def _failed(at: Moment, known: set[tuple[int, int]]) -> list[Finding]:
    step, number, book = at.step, at.number, at.book
    before_it, after = at.before, at.account.held
    # What was released and acquired again on the way back is held as it was before.
    kept = _own(step, [life for key, life in after.items() if life[1] == number and key not in before_it])
    verb = f"{step.verbs[0]} failed with {errno_name(step.results[0])}"
    out = _still_held(at, kept, verb, known)
    for key, since, event, _ in before_it.values():
        before = None if key in after or key[0] in book.unseen_acquire else book.released(number, key)
        if before is None:
            continue
        released = Place(at.trace, before[1], before[2])
        out.append(
            Finding(
                judge="leak",
                step=number,
                label=released.label(at.seen),
                resource=resource_of(key),
                acquired=str(Place(at.trace, since, event)),
                message=f"{resource_of(key)} was held before {verb}, and is not any more: "
                f"released in {released}",
            )
        )
    return out


def _own(step: Step, lives: list[Life]) -> list[Life]:
    # What does not belong to a module that "load" loaded first, and that stays.
    if not lives or len(step.verbs) > 1 or not step.verbs[0].startswith("load"):
        return lives
    # The last outermost call of the user's task is the init function of the module itself.
    calls = nesting(step)
    starts = calls.outermost(user_of(calls.events))
    return lives if len(starts) < 2 else [life for life in lives if calls.place(life[2]) > starts[-1]]


def _still_held(at: Moment, kept: list[Life], after: str, known: set[tuple[int, int]]) -> list[Finding]:
    # `known` are those that were found before.
    out = []
    for key, since, event, _ in kept:
        if (since, id(event)) in known or key[0] in at.book.unseen_release:
            continue
        known.add((since, id(event)))
        place = Place(at.trace, since, event)
        resource, acquired = resource_of(key), str(place)
        out.append(
            Finding(
                judge="leak",
                step=at.number,
                label=place.label(at.book.indexes[since], later=True),
                resource=resource,
                acquired=acquired,
                message=f"{resource} is still held after {after}; acquired in {acquired}",
            )
        )
    return out
