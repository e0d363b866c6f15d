# SPDX-License-Identifier: GPL-2.0-only
"""What there is to show of a function: its ladder, its ways out, its steps and labels.

It is read from the model's own text (`kvm_ref.reading`), or from C.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import attrs

from kvm_ref.calls import Branch, Call, Done, Leave, Loop
from kvm_ref.reading import Jump, Label, Ladder, exits_of, ladder_of
from kvm_ref.vocabulary import Facts

_DONE = "return, all done"


@attrs.frozen
class Drawing:
    """A function that is to be shown.

    Attributes:
        function, file: its name, and where it is.
        ladder: its goto ladder, or None.
        others: the ways out that are no jumps, as texts.
        exits: all ways out, as objects for JSON.
    """

    function: str
    file: str
    ladder: Ladder | None
    others: tuple[str, ...]
    exits: tuple[dict[str, str], ...] = ()


def of_model(facts: Facts) -> Drawing:
    """Return a function of the model for showing."""
    exits = exits_of(facts)
    others = tuple(_way(facts, e.name, e.kind) for e in exits if e.kind != "goto")
    return Drawing(
        facts.name,
        facts.file,
        ladder_of(facts),
        others,
        tuple({"name": e.name, "kind": e.kind} for e in exits),
    )


def to_json(shown: Drawing) -> dict[str, Any]:
    """Return a function's ladder, or null for none, and its ways out."""
    return {
        "function": shown.function,
        "file": shown.file,
        "ladder": shown.ladder.to_json() if shown.ladder else None,
        "exits": list(shown.exits),
    }


def why(calls: tuple[str, ...]) -> str:
    """Say what leads to a jump."""
    return ", ".join(f"{name}()" for name in calls) or "a check"


def when(jump: Jump) -> str:
    """Say of what leads to a jump when it does: a call or a check fails, or a check holds and all is well."""
    return "fails" if jump.error else "holds"


def last(shown: Drawing) -> str:
    """Say what a function does after its labels."""
    ladder = shown.ladder
    return "return the error" if ladder is None or any(j.error for j in ladder.gotos) else "return"


def _way(facts: Facts, name: str, kind: str) -> str:
    what = name.removeprefix(f"{facts.name}:")
    if kind == "success":
        return _DONE
    return f"return {what}" if kind == "raise" else f"{what}() fails"


def undo(done: Done) -> Iterator[str]:
    """Yield what is undone, a line a call; what is within a loop or on one of several ways is indented."""
    for part in done:
        if isinstance(part, Call):
            yield f"{'->' if part.indirect else ''}{part.name}();"
        elif isinstance(part, Loop):
            yield "for each:"
            yield from (f"    {line}" for line in undo(part.body))
        elif isinstance(part, Branch):
            for n, way in enumerate(part.ways):
                if way:
                    yield ("or:" if n else "either:") if all(part.ways) else "perhaps:"
                    yield from (f"    {line}" for line in undo(way))
        elif isinstance(part, Leave):
            yield "next;" if part.turn else "return;"
        else:
            yield from undo(part.body)


def parts(shown: Drawing) -> tuple[list[tuple[str, str, str]], tuple[Label, ...]]:
    """Return the steps, each with when it is left and where to (``label0``, ``failed``), and the labels.

    A function without gotos has a picture too: its steps are its ways out.
    """
    ladder = shown.ladder
    if ladder is None:
        return [(way, "fails", "failed") for way in shown.others if way != _DONE], ()
    names = [label.name for label in ladder.labels]
    steps = [(why(j.calls), when(j), f"label{names.index(j.label)}") for j in ladder.gotos]
    return steps, ladder.labels
