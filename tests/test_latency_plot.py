# SPDX-License-Identifier: GPL-2.0-only
"""The plot of the time until the first VM: where the points stand, and that any name may be in it."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import attrs
import pytest
from command_line import Command

from kvm_ref import backend as backends
from kvm_ref.latency.costs import Costs
from kvm_ref.latency.first_vm import measure
from kvm_ref.latency.plot import to_svg

SVG = "{http://www.w3.org/2000/svg}"
NOTHING = Costs(*[0.0] * len(attrs.fields(Costs)))


@attrs.frozen
class Plot:
    """A plot: the points of each curve by its class, texts with where they are, and all of it."""

    curves: dict[str, list[tuple[float, float]]]
    texts: dict[str, tuple[float, float]]
    root: ElementTree.Element

    def level(self, label: str) -> float:
        """Return the height that a label of the axis of time stands for."""
        return self.texts[label][1] - 4.5


def read(picture: str) -> Plot:
    root = ElementTree.fromstring(picture)
    curves = {}
    for group in root.iter(f"{SVG}g"):
        # The first is the curve, the second the sample beside what it means.
        d = group.findall(f"{SVG}path")[0].attrib["d"]
        curves[group.attrib["class"]] = [
            (float(x), float(y)) for x, y in (point.split() for point in d[1:].split(" L"))
        ]
    texts = {
        "".join(t.itertext()): (float(t.attrib["x"]), float(t.attrib["y"])) for t in root.iter(f"{SVG}text")
    }
    return Plot(curves, texts, root)


def plotted(cpus: tuple[int, ...], costs: Costs) -> Plot:
    backend = backends.load("riscv")
    return read(to_svg(backend, measure(backend, cpus, costs), costs))


def test_points_stand_where_the_axes_say() -> None:
    """One millisecond a CPU: 1, 10 and 100 CPUs stand beside 1, 10 and 100 milliseconds."""
    plot = plotted((1, 10, 100), attrs.evolve(NOTHING, hotplug_round_trip=1000.0, create_vm=0.001))
    found = plot.curves["serialised"]
    assert [x for x, _ in found] == [plot.texts[cpus][0] for cpus in ("1", "10", "100")]
    levels = [plot.level(label) for label in ("1 ms", "10 ms", "100 ms")]
    assert [y for _, y in found] == pytest.approx(levels, abs=0.11)
    assert [y for _, y in plot.curves["load"]] == pytest.approx(levels, abs=0.11)
    # What is not waited for is the bottom line: 0.001 microseconds to make a VM.
    assert [y for _, y in plot.curves["first"]] == pytest.approx([plot.level("0.001 µs")] * 3, abs=0.11)


def test_marks_and_legend() -> None:
    """Each curve but the thin one has a mark at each point and one beside its meaning."""
    plot = plotted((1, 2, 4), Costs())
    marks = {
        group.attrib["class"]: [
            child.tag.removeprefix(SVG) for child in group if child.get("class") == "mark"
        ]
        for group in plot.root.iter(f"{SVG}g")
    }
    assert marks == {
        "serialised": ["polygon"] * 4,
        "broadcast": ["polygon"] * 4,
        "first": ["circle"] * 4,
        "load": [],
    }
    assert {
        "on demand, serialised hotplug callbacks: first VM",
        "on demand, broadcast as in 6.1: first VM",
        "enabled at load: first VM",
        "enabled at load: load",
        "CPUs (logarithmic)",
        "time (logarithmic)",
    } <= set(plot.texts)


def test_units() -> None:
    """Labels are in microseconds, milliseconds and seconds."""
    plot = plotted((1, 2), attrs.evolve(NOTHING, create_vm=5e6, hotplug_round_trip=1.0))
    assert [text for text in plot.texts if text.endswith("s") and text[0].isdigit()] == [
        "1 µs", "10 µs", "100 µs", "1 ms", "10 ms", "100 ms", "1 s", "10 s",
    ]  # fmt: skip


def test_nothing_costs_anything() -> None:
    """Zero has no place on a logarithmic axis: such points stand at its end."""
    plot = plotted((1, 8), NOTHING)
    assert {y for curve in plot.curves.values() for _, y in curve} == {plot.level("1 µs")}


def test_one_size() -> None:
    """A single machine stands in the middle."""
    plot = plotted((4,), Costs())
    assert {x for curve in plot.curves.values() for x, _ in curve} == {plot.texts["4"][0]}
    assert plot.texts["4"][0] == plot.texts["CPUs (logarithmic)"][0]


def test_labels_do_not_run_into_each_other() -> None:
    """Sizes that are near each other share a label; the points are all there."""
    plot = plotted((1000, 1001, 1002, 2000), Costs())
    assert {"1000", "2000"} <= set(plot.texts)
    assert "1001" not in plot.texts
    assert len(plot.curves["serialised"]) == 4


def test_all_is_within_the_picture(kvm_ref: Command) -> None:
    """No point and no text is outside the frame, from 1 to 4096 CPUs."""
    plot = read(kvm_ref("latency", "--format", "svg").out)
    width, height = (float(plot.root.attrib[side]) for side in ("width", "height"))
    points = [point for curve in plot.curves.values() for point in curve]
    assert all(0 < x < width and 0 < y < height for x, y in points)
    for text in plot.root.iter(f"{SVG}text"):
        x, y = float(text.attrib["x"]), float(text.attrib["y"])
        # A character of 13px monospace is less than 8 pixels wide, also along a line that stands upright.
        length = 8 * len("".join(text.itertext()))
        before = {"start": 0.0, "middle": length / 2, "end": float(length)}[text.get("text-anchor", "start")]
        along, end = (height - y, height) if "transform" in text.attrib else (x, width)
        assert along - before >= 0
        assert along - before + length <= end
        assert 10 < y < height - 4


def test_said_in_words() -> None:
    """Who does not see it reads the ends of the curves, and the costs."""
    plot = plotted((1, 2, 4), attrs.evolve(NOTHING, enable=5.0, create_vm=100.0))
    described = plot.root.findtext(f"{SVG}desc") or ""
    assert "CPUs 1: on demand, serialised hotplug callbacks: first VM 105.0 µs" in described
    assert "CPUs 4: on demand, serialised hotplug callbacks: first VM 120.0 µs" in described
    assert "CPUs 2" not in described
    assert "enable 5, callback 0, create_vm 100" in described
    assert plot.root.findtext(f"{SVG}title") == "Time until the first VM: riscv, Linux 6.12.117"


@pytest.mark.parametrize("name", ['<script>"&', "a\x00b\x1b", "]]>", "--><!--", "\ud800", "&lt;"])
def test_any_name(name: str) -> None:
    """What a backend from elsewhere is called is text, whatever it holds."""
    svm = backends.load("riscv")
    odd = type("Odd", (type(svm),), {"name": name})()
    root = ElementTree.fromstring(to_svg(odd, measure(odd, (1, 2), Costs()), Costs()))
    shown = name.translate(dict.fromkeys([0, 0x1B, 0xD800], "\ufffd"))
    assert root.findtext(f"{SVG}title") == f"Time until the first VM: {shown}, Linux 6.12.117"
    assert list(root.iter(f"{SVG}script")) == []


def test_light_and_dark(kvm_ref: Command) -> None:
    """The four curves have four colours, others in the dark, and nothing is loaded from elsewhere."""
    picture = kvm_ref("latency", "--cpus", "1,2", "--format", "svg").out
    light, _, dark = picture.rpartition("@media (prefers-color-scheme: dark)")
    curves = "serialised|broadcast|first|load"
    found = [dict(re.findall(rf"\.({curves}) {{ color: (#\w+);", css)) for css in (light, dark)]
    assert [len(set(colours.values())) for colours in found] == [4, 4]
    assert not set(found[0].values()) & set(found[1].values())
    assert "href" not in picture
    assert set(re.findall(r"url\((.)", picture)) <= {"#"}
