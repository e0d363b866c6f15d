# SPDX-License-Identifier: GPL-2.0-only
"""A function's ladder as text, and as a picture: dot for Graphviz, mermaid for Markdown.

What is drawn is read from the model's own text (`kvm_ref.reading`), or from C.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import attrs

from kvm_ref.calls import Branch, Call, Done, Leave, Loop
from kvm_ref.reading import Label, Ladder, exits_of, ladder_of
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


def text(shown: Drawing) -> Iterator[str]:
    """Yield the jumps, then the labels with what each undoes, then the other ways out."""
    ladder = shown.ladder
    yield f"{shown.function}() in {shown.file}"
    if ladder:
        yield ""
        width = max((len(_why(j.calls)) for j in ladder.gotos), default=0)
        for jump in ladder.gotos:
            yield f"    {_why(jump.calls):<{width}}  fails: goto {jump.label};"
        for label in ladder.labels:
            yield f"{label.name}:"
            yield from (f"    {line}" for line in _undo(label.undo))
    yield ""
    yield "leaves without a goto:"
    for way in shown.others:
        yield f"    {way}"


def _why(calls: tuple[str, ...]) -> str:
    return ", ".join(f"{name}()" for name in calls) or "a check"


def _way(facts: Facts, name: str, kind: str) -> str:
    what = name.removeprefix(f"{facts.name}:")
    if kind == "success":
        return _DONE
    return f"return {what}" if kind == "raise" else f"{what}() fails"


def _undo(done: Done) -> Iterator[str]:
    for part in done:
        if isinstance(part, Call):
            yield f"{'->' if part.indirect else ''}{part.name}();"
        elif isinstance(part, Loop):
            yield "for each:"
            yield from (f"    {line}" for line in _undo(part.body))
        elif isinstance(part, Branch):
            for n, way in enumerate(part.ways):
                if way:
                    yield ("or:" if n else "either:") if all(part.ways) else "perhaps:"
                    yield from (f"    {line}" for line in _undo(way))
        elif isinstance(part, Leave):
            yield "next;" if part.turn else "return;"
        else:
            yield from _undo(part.body)


def _quote(text: str) -> str:
    # A JSON string is a dot string, too.
    return json.dumps(text, ensure_ascii=False)


def dot(shown: Drawing) -> Iterator[str]:
    """Yield the ladder as a dot graph: the steps down the left, the labels down the right."""
    steps, labels = _parts(shown)
    yield f"digraph {_quote(shown.function)} {{"
    yield "  graph [rankdir=TB, labelloc=t, label=" + _quote(f"{shown.function}()") + "];"
    yield '  node [shape=box, fontname="monospace"];'
    for n, (step, _) in enumerate(steps):
        yield f"  step{n} [label={_quote(step)}];"
    yield '  done [label="return 0", shape=oval];'
    for n, label in enumerate(labels):
        lines = "\n".join([f"{label.name}:", *_undo(label.undo)])
        yield f"  label{n} [label={_quote(lines)}, style=filled];"
    yield '  failed [label="return the error", shape=oval];'
    for n, (_, to) in enumerate(steps):
        yield f"  step{n} -> {f'step{n + 1}' if n + 1 < len(steps) else 'done'};"
        yield f'  step{n} -> {to} [style=dashed, color=red, label="{"goto" if labels else "return"}"];'
    for n in range(len(labels)):
        yield f"  label{n} -> {f'label{n + 1}' if n + 1 < len(labels) else 'failed'};"
    yield "}"


def mermaid(shown: Drawing) -> Iterator[str]:
    """Yield the ladder as a mermaid flow chart."""
    steps, labels = _parts(shown)
    yield "flowchart TD"
    for n, (step, _) in enumerate(steps):
        yield f"  step{n}[{_entities(step)}]"
    yield "  done([return 0])"
    for n, label in enumerate(labels):
        lines = "<br/>".join(_entities(line.strip())[1:-1] for line in (f"{label.name}:", *_undo(label.undo)))
        yield f'  label{n}["{lines}"]'
    yield "  failed([return the error])"
    for n, (_, to) in enumerate(steps):
        yield f"  step{n} --> {f'step{n + 1}' if n + 1 < len(steps) else 'done'}"
        yield f"  step{n} -. {'goto' if labels else 'return'} .-> {to}"
    for n in range(len(labels)):
        yield f"  label{n} --> {f'label{n + 1}' if n + 1 < len(labels) else 'failed'}"


def _entities(text: str) -> str:
    # What mermaid would take for its own syntax, within quotes.
    for char, entity in (("&", "&amp;"), ('"', "&quot;"), ("<", "&lt;"), (">", "&gt;")):
        text = text.replace(char, entity)
    return f'"{text}"'


def _parts(shown: Drawing) -> tuple[list[tuple[str, str]], tuple[Label, ...]]:
    # The steps, each with where it goes if it fails, and the labels. A function without gotos has a
    # picture too: its steps are its ways out.
    ladder = shown.ladder
    if ladder is None:
        return [(way, "failed") for way in shown.others if way != _DONE], ()
    names = [label.name for label in ladder.labels]
    return [(_why(j.calls), f"label{names.index(j.label)}") for j in ladder.gotos], ladder.labels
