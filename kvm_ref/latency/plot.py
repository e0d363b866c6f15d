# SPDX-License-Identifier: GPL-2.0-only
"""The time until the first VM as an SVG plot: CPUs and time, both logarithmic."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import attrs

from kvm_ref import svg
from kvm_ref.backend import Backend
from kvm_ref.latency.costs import Costs
from kvm_ref.latency.first_vm import COLUMNS, Row
from kvm_ref.scenario import KERNEL

# In pixels.
_LEFT, _TOP, _WIDTH, _HEIGHT = 92.0, 148.0, 640.0, 340.0
_EDGE = 16.0
_LINE = 19.0
# Labels of the axis of CPUs nearer than this would run into each other.
_APART = 38.0

# Lines differ in their dashes and marks too, for those who do not see the colours.
_LINES = {
    "on_demand.serialised": ("serialised", "square"),
    "on_demand.broadcast": ("broadcast", "diamond"),
    "at_load.first_vm": ("first", "round"),
    "at_load.load": ("load", "none"),
}

_STYLE = """
.kvm-ref .grid { stroke: #57606a; stroke-opacity: 0.25; fill: none; }
.kvm-ref .curve { fill: none; stroke-width: 2; }
.kvm-ref .serialised { color: #b3261e; }
.kvm-ref .broadcast { color: #0550ae; }
.kvm-ref .first { color: #1a7f37; }
.kvm-ref .load { color: #57606a; }
.kvm-ref .curve, .kvm-ref .mark { stroke: currentColor; }
.kvm-ref .mark { fill: currentColor; }
.kvm-ref .broadcast .curve { stroke-dasharray: 9 4; }
.kvm-ref .first .curve { stroke-dasharray: 3 3; }
.kvm-ref .load .curve { stroke-width: 1; }
@media (prefers-color-scheme: dark) {
  .kvm-ref .grid { stroke: #9198a1; }
  .kvm-ref .serialised { color: #ff8a80; }
  .kvm-ref .broadcast { color: #79b8ff; }
  .kvm-ref .first { color: #56d364; }
  .kvm-ref .load { color: #9198a1; }
}
"""

Point = tuple[float, float]


@attrs.frozen
class _Scale:
    # A logarithmic axis: `first` and `last` are values, and stand at `start` and `end` in pixels.
    first: float
    last: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        if self.first == self.last:
            return (self.start + self.end) / 2
        share = math.log(max(value, self.first) / self.first) / math.log(self.last / self.first)
        return self.start + share * (self.end - self.start)


def to_svg(backend: Backend, rows: Sequence[Row], costs: Costs) -> str:
    """Return the plot; there is a row at least."""
    title = f"Time until the first VM: {backend.name}, Linux {KERNEL}"
    times = [row.times() for row in rows]
    decades = _decades([time for row in times for name, time in row.items() if name in _LINES])
    across = _Scale(rows[0].cpus, rows[-1].cpus, _LEFT + 20, _LEFT + _WIDTH - 20)
    up = _Scale(10.0 ** decades[0], 10.0 ** decades[-1], _TOP + _HEIGHT, _TOP)
    parts = [
        svg.text(_EDGE, _EDGE + 13, title, font_weight="bold"),
        svg.text(_EDGE, _EDGE + 13 + _LINE, "by a cost model, not measured", class_="note"),
        *_axes(rows, decades, across, up),
    ]
    for number, (name, (class_, mark)) in enumerate(_LINES.items()):
        points = [(across(row.cpus), up(time[name])) for row, time in zip(rows, times, strict=True)]
        # What it means stands above, with a piece of the line.
        y = _EDGE + (number + 2.6) * _LINE
        inner = [
            svg.path(points, "curve"),
            *(_mark(mark, point) for point in points),
            svg.path([(_LEFT, y), (_LEFT + 40, y)], "curve"),
            _mark(mark, (_LEFT + 20, y)),
            svg.text(_LEFT + 50, y + 4.5, COLUMNS[name]),
        ]
        parts.append(svg.element("g", "".join(inner), class_=class_))
    return svg.document(
        _LEFT + _WIDTH + _EDGE,
        _TOP + _HEIGHT + 60,
        title,
        _described(rows, costs),
        parts,
        style=_STYLE,
    )


def _decades(times: Sequence[float]) -> range:
    # The powers of ten from below the shortest time to above the longest; no logarithm has a place for 0.
    some = [time for time in times if time > 0] or [1.0]
    low = math.floor(math.log10(min(some)))
    return range(low, max(math.ceil(math.log10(max(some))), low + 1) + 1)


def _axes(rows: Sequence[Row], decades: range, across: _Scale, up: _Scale) -> Iterator[str]:
    right, bottom = _LEFT + _WIDTH, _TOP + _HEIGHT
    for decade in decades:
        y = up(10.0**decade)
        yield svg.path([(_LEFT, y), (right, y)], "grid")
        yield svg.text(_LEFT - 8, y + 4.5, _duration(decade), text_anchor="end")
    last = -math.inf
    for row in rows:
        x = across(row.cpus)
        if x - last >= _APART:
            yield svg.path([(x, bottom), (x, bottom + 5)], "line")
            yield svg.text(x, bottom + 20, str(row.cpus), text_anchor="middle")
            last = x
    yield svg.path([(_LEFT, _TOP), (_LEFT, bottom), (right, bottom)], "line")
    yield svg.text((_LEFT + right) / 2, bottom + 44, "CPUs (logarithmic)", text_anchor="middle")
    middle = f"rotate(-90 {svg.number(_EDGE + 4)} {svg.number((_TOP + bottom) / 2)})"
    yield svg.text(
        _EDGE + 4, (_TOP + bottom) / 2, "time (logarithmic)", text_anchor="middle", transform=middle
    )


def _duration(decade: int) -> str:
    # A power of ten of microseconds.
    for exponent, unit in ((6, "s"), (3, "ms")):
        if decade >= exponent:
            return f"{10 ** (decade - exponent)} {unit}"
    return f"{10.0**decade:g} \N{MICRO SIGN}s"


def _mark(kind: str, at: Point) -> str:
    x, y = at
    if kind == "round":
        return svg.element("circle", class_="mark", cx=svg.number(x), cy=svg.number(y), r=3)
    reach = {"square": [(-3, -3), (3, -3), (3, 3), (-3, 3)], "diamond": [(0, -5), (5, 0), (0, 5), (-5, 0)]}
    corners = " ".join(f"{svg.number(x + dx)},{svg.number(y + dy)}" for dx, dy in reach.get(kind, ()))
    return svg.element("polygon", class_="mark", points=corners) if corners else ""


def _described(rows: Sequence[Row], costs: Costs) -> str:
    # The same in words: the smallest machine and the largest, and what it rests on.
    ends = [rows[0], *rows[1:][-1:]]
    said = [
        f"CPUs {row.cpus}: "
        + ", ".join(f"{COLUMNS[name]} {row.times()[name]:.1f} \N{MICRO SIGN}s" for name in _LINES)
        for row in ends
    ]
    given = ", ".join(f"{name} {value:g}" for name, value in attrs.asdict(costs).items())
    return "; ".join([*said, f"costs in \N{MICRO SIGN}s: {given}"])
