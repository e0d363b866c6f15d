# SPDX-License-Identifier: GPL-2.0-only
"""The judge of leaks: what was acquired is released, once nobody needs it any more.

A verb that failed must leave held exactly what was held before it. After a module was unloaded,
nothing is held that was acquired since it was loaded; after the last VM was closed, nothing that was
acquired when a VM was created or /dev/kvm was opened.
"""

from __future__ import annotations

from collections.abc import Sequence

from kvm_ref.judges.finding import Finding, Place, user_of
from kvm_ref.judges.index import Index, Key, resource_of
from kvm_ref.judges.ledger import Ledger, ledger
from kvm_ref.judges.nesting import nesting
from kvm_ref.judges.net import Life
from kvm_ref.judges.whole_trace import WholeTrace
from kvm_ref.text import errno_name
from kvm_ref.trace import Step, Trace
from kvm_ref.vocabulary import Vocabulary


@WholeTrace
def leak(trace: Trace, seen: Sequence[Index], vocabulary: Vocabulary) -> list[Finding]:
    """Find what is still held after a failure or an unload, and what a failure gave up."""
    book = ledger(trace, vocabulary, seen)
    loads: list[tuple[str, int]] = []
    known: set[tuple[int, int]] = set()
    opened: dict[str, list[int]] = {"vm": [], "dev": []}
    count = {"vm": 0, "dev": 0}
    out: list[Finding] = []
    after: dict[Key, Life] = {}
    for number, step in enumerate(trace.steps):
        before, after = after, book.after[number]
        if len(step.results) == 1 and (step.results[0] or 0) < 0:
            if before is not after and (before or after):
                out += _failed(trace, book, number, known)
            continue
        for text, verb, module, last in _succeeded(book.indexes[number]):
            if verb == "load":
                loads.append((module, number))
            elif verb == "unload":
                kept = _since(loads, module, trace, list(after.values()))
                if kept and last:
                    out += _still_held(trace, book, number, kept, text, known)
            elif verb in ("create-vm", "open-dev"):
                kind = verb.rpartition("-")[2]
                opened[kind].append(number)
                count[kind] += 1
            elif verb in ("close-vm", "close-dev"):
                kind = verb.rpartition("-")[2]
                count[kind] -= 1
                # References to the module are alike, whichever file they belong to.
                if not any(count.values()) and len(step.verbs) == 1:
                    since = [*opened["vm"], *opened["dev"]]
                    kept = [life for life in after.values() if life[1] in since]
                    out += _still_held(trace, book, number, kept, text, known)
    return out


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


def _since(loads: list[tuple[str, int]], module: str, trace: Trace, held: list[Life]) -> list[Life]:
    # What is held of that which was acquired since a module was loaded that now goes. Without a name
    # it is the one that was loaded last. If none is left it is one that another had pulled in; as
    # long as the other is loaded, what belongs to it is no leak.
    if not loads:
        return held
    named = [n for n, (name, _) in enumerate(loads) if name == module]
    since = loads.pop(named[-1] if named else -1)[1]
    if not held:
        return []
    by_step = [[life for life in held if life[1] == n] for n in range(since, len(trace.steps))]
    return [life for n, lives in enumerate(by_step, since) for life in _own(trace.steps[n], lives)]


def _failed(trace: Trace, book: Ledger, number: int, known: set[tuple[int, int]]) -> list[Finding]:
    step = trace.steps[number]
    before_it = book.after[number - 1] if number else {}
    after = book.after[number]
    # What was released and acquired again on the way back is held as it was before.
    kept = _own(step, [life for key, life in after.items() if life[1] == number and key not in before_it])
    verb = f"{step.verbs[0]} failed with {errno_name(step.results[0])}"
    out = _still_held(trace, book, number, kept, verb, known)
    for key, since, event, _ in before_it.values():
        before = None if key in after or key[0] in book.unseen_acquire else book.released(number, key)
        if before is None:
            continue
        released = Place(trace, before[1], before[2])
        out.append(
            Finding(
                judge="leak",
                step=number,
                label=released.label(book.indexes[number]),
                resource=resource_of(key),
                acquired=str(Place(trace, since, event)),
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


def _still_held(
    trace: Trace, book: Ledger, number: int, kept: list[Life], after: str, known: set[tuple[int, int]]
) -> list[Finding]:
    # `known` are those that were found before: runs may share a step, so an event alone is not enough.
    out = []
    for key, since, event, _ in kept:
        if (since, id(event)) in known or key[0] in book.unseen_release:
            continue
        known.add((since, id(event)))
        place = Place(trace, since, event)
        resource, acquired = resource_of(key), str(place)
        out.append(
            Finding(
                judge="leak",
                step=number,
                label=place.label(book.indexes[since], later=True),
                resource=resource,
                acquired=acquired,
                message=f"{resource} is still held after {after}; acquired in {acquired}",
            )
        )
    return out
