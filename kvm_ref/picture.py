# SPDX-License-Identifier: GPL-2.0-only
"""A function's ladder as text, and as a picture: dot for Graphviz, mermaid for Markdown, SVG."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator

from kvm_ref.drawing import Drawing, last, parts, undo, when, why
from kvm_ref.ladder_svg import to_svg
from kvm_ref.svg import legal


def text(shown: Drawing) -> Iterator[str]:
    """Yield the jumps, then the labels with what each undoes, then the other ways out."""
    ladder = shown.ladder
    yield f"{shown.function}() in {shown.file}"
    if ladder:
        yield ""
        width = max((len(why(j.calls)) for j in ladder.gotos), default=0)
        for jump in ladder.gotos:
            yield f"    {why(jump.calls):<{width}}  {when(jump)}: goto {jump.label};"
        for label in ladder.labels:
            yield f"{label.name}:"
            yield from (f"    {line}" for line in undo(label.undo))
    yield ""
    yield "leaves without a goto:"
    for way in shown.others:
        yield f"    {way}"


def _quote(text: str) -> str:
    # A JSON string is a dot string, too, if it holds no control characters but line ends; of a label
    # Graphviz reads character references as well.
    return json.dumps(legal(text).replace("&", "&amp;"), ensure_ascii=False)


def dot(shown: Drawing) -> Iterator[str]:
    """Yield the ladder as a dot graph: the steps down the left, the labels down the right."""
    steps, labels = parts(shown)
    yield f"digraph {_quote(shown.function)} {{"
    yield "  graph [rankdir=TB, labelloc=t, label=" + _quote(f"{shown.function}()") + "];"
    yield '  node [shape=box, fontname="monospace"];'
    for n, (step, _, _) in enumerate(steps):
        yield f"  step{n} [label={_quote(step)}];"
    yield '  done [label="return 0", shape=oval];'
    for n, label in enumerate(labels):
        lines = "\n".join([f"{label.name}:", *undo(label.undo)])
        yield f"  label{n} [label={_quote(lines)}, style=filled];"
    yield f'  failed [label="{last(shown)}", shape=oval];'
    for n, (_, _, to) in enumerate(steps):
        yield f"  step{n} -> {f'step{n + 1}' if n + 1 < len(steps) else 'done'};"
        yield f'  step{n} -> {to} [style=dashed, color=red, label="{"goto" if labels else "return"}"];'
    for n in range(len(labels)):
        yield f"  label{n} -> {f'label{n + 1}' if n + 1 < len(labels) else 'failed'};"
    yield "}"


def mermaid(shown: Drawing) -> Iterator[str]:
    """Yield the ladder as a mermaid flow chart."""
    steps, labels = parts(shown)
    yield "flowchart TD"
    for n, (step, _, _) in enumerate(steps):
        yield f"  step{n}[{_entities(step)}]"
    yield "  done([return 0])"
    for n, label in enumerate(labels):
        lines = "<br/>".join(_entities(line.strip())[1:-1] for line in (f"{label.name}:", *undo(label.undo)))
        yield f'  label{n}["{lines}"]'
    yield f"  failed([{last(shown)}])"
    for n, (_, _, to) in enumerate(steps):
        yield f"  step{n} --> {f'step{n + 1}' if n + 1 < len(steps) else 'done'}"
        yield f"  step{n} -. {'goto' if labels else 'return'} .-> {to}"
    for n in range(len(labels)):
        yield f"  label{n} --> {f'label{n + 1}' if n + 1 < len(labels) else 'failed'}"


# What mermaid would take for its own syntax, within quotes, as it writes characters there itself.
_MERMAID = str.maketrans({c: f"#{ord(c)};" for c in "#%`"} | {
    "&": "&amp;", '"': "&quot;", "<": "&lt;", ">": "&gt;", "\n": "<br/>", "\r": "<br/>",
})  # fmt: skip


def _entities(text: str) -> str:
    return f'"{legal(text).translate(_MERMAID)}"'


def svg(shown: Drawing) -> Iterator[str]:
    """Yield the ladder as an SVG picture."""
    yield to_svg(shown)


FORMATS: dict[str, Callable[[Drawing], Iterable[str]]] = {
    "text": text,
    "dot": dot,
    "mermaid": mermaid,
    "svg": svg,
}
