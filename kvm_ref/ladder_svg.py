# SPDX-License-Identifier: GPL-2.0-only
"""A function's ladder as an SVG picture.

It stands as in C: the steps from the top, the labels below them, in source order. A jump is a bracket
at the right side. Labels that undo the steps backwards give brackets that nest; where one is too low
or too high, lines cross.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import attrs

from kvm_ref import svg
from kvm_ref.calls import Done
from kvm_ref.drawing import Drawing, last, parts, undo

# In pixels: a character of 13px monospace, and a line of text.
_CHARACTER = 7.9
_LINE = 18.0
_PAD = 9.0
_GAP = 22.0
_LANE = 16.0
_EDGE = 16.0


@attrs.frozen
class _Box:
    # Lines of text with a frame around them; `y` is its upper edge.
    lines: Sequence[str]
    y: float
    kind: str

    @property
    def height(self) -> float:
        return len(self.lines) * _LINE + 2 * _PAD

    @property
    def bottom(self) -> float:
        return self.y + self.height

    @property
    def entry(self) -> float:
        """Where a jump comes in, or leaves: beside the first line."""
        return self.y + _PAD + _LINE / 2

    @property
    def width(self) -> float:
        return max(map(len, self.lines)) * _CHARACTER + 2 * _PAD

    def draw(self, width: float) -> list[str]:
        frame = {"x": svg.number(_EDGE), "y": svg.number(self.y), "height": svg.number(self.height)}
        round_ = 14 if self.kind == "line" else 3
        return [
            svg.element("rect", class_=self.kind, rx=round_, width=svg.number(width), **frame),
            *(
                svg.text(_EDGE + _PAD + _indent(line), self.y + _PAD + n * _LINE + 13, line.lstrip())
                for n, line in enumerate(self.lines)
            ),
        ]


class _Column:
    # Boxes one below the other.
    def __init__(self, top: float) -> None:
        self.next = top
        self.boxes: list[_Box] = []

    def add(self, lines: Sequence[str], kind: str) -> _Box:
        box = _Box(lines, self.next, kind)
        self.boxes.append(box)
        self.next = box.bottom + _GAP
        return box


def to_svg(shown: Drawing) -> str:
    """Return the picture of a function's ladder, or of its ways out if it has none."""
    steps, labels = parts(shown)
    title = f"{shown.function}() in {shown.file}"
    column = _Column(_EDGE + _LINE + _GAP / 2)
    above = [column.add(step.split(", ") if to != "failed" else [step], "box") for step, _, to in steps]
    done = column.add(["return, all done"], "line")
    below = [column.add([f"{label.name}:", *_indented(label.undo)], "second") for label in labels]
    failed = column.add([last(shown)], "line")
    targets = {f"label{n}": box for n, box in enumerate(below)} | {"failed": failed}
    width = max(box.width for box in column.boxes)
    right = _EDGE + width
    # The target of the first jump is farthest out: those of later jumps nest within.
    order = list(dict.fromkeys(to for _, _, to in reversed(steps)))
    lanes = {to: right + _LANE * (n + 1.5) for n, to in enumerate(order)}
    drawn: list[str] = [svg.text(_EDGE, _EDGE + 13, title, font_weight="bold")]
    for chain in ([*above, done], [*below, failed] if below else []):
        for upper, lower in itertools.pairwise(chain):
            drawn.append(_down(upper, lower))
    for to, lane in lanes.items():
        ends = [box.entry for (_, _, target), box in zip(steps, above, strict=True) if target == to]
        into = targets[to].entry
        drawn += [svg.path([(right, y), (lane, y)], "fail") for y in ends[1:]]
        drawn.append(
            svg.path([(right, ends[0]), (lane, ends[0]), (lane, into), (right, into)], "fail", head=True)
        )
    for box in column.boxes:
        drawn += box.draw(width)
    whole = max([*lanes.values(), _EDGE + len(title) * _CHARACTER * 1.05]) + _EDGE
    height = failed.bottom + _EDGE
    return svg.document(whole, height, title, _described(shown), drawn)


def _down(upper: _Box, lower: _Box) -> str:
    x = _EDGE + 30
    return svg.path([(x, upper.bottom), (x, lower.y)], "line", head=True)


def _indented(done: Done) -> list[str]:
    return [f"  {line}" for line in undo(done)]


def _indent(line: str) -> float:
    # In pixels; blanks at the beginning of a text would be lost.
    return (len(line) - len(line.lstrip())) * _CHARACTER


def _described(shown: Drawing) -> str:
    # The same in words.
    steps, labels = parts(shown)
    names = [label.name for label in labels]
    jumps = [
        f"{step} {when}: {'goto ' + names[int(to[5:])] if to != 'failed' else 'return'}"
        for step, when, to in steps
    ]
    return "; ".join([*jumps, *(f"{label.name}: {' '.join(undo(label.undo))}" for label in labels)])
