# SPDX-License-Identifier: GPL-2.0-only
"""The picture of a ladder: what stands in it, where the jumps go, and that any text may be in it."""

from __future__ import annotations

from xml.etree import ElementTree

import attrs
import pytest
from command_line import Command
from tree.kernel_source import kernel_tree

from kvm_ref import backend as backends
from kvm_ref import svg
from kvm_ref.calls import Call
from kvm_ref.drawing import Drawing
from kvm_ref.ladder_svg import to_svg
from kvm_ref.reading import Jump, Label, Ladder

SVG = "{http://www.w3.org/2000/svg}"
# virt/kvm/kvm_main.c: kvm_dev_ioctl_create_vm() goes to put_fd if there is no VM, to put_kvm if there is
# no file; the labels stand the other way round.
CREATE_VM = [("kvm_create_vm()", "put_fd:"), ("anon_inode_getfile()", "put_kvm:")]


@attrs.frozen
class Shown:
    """A picture: each line of text with its height, and the jumps as the points they go through."""

    texts: list[tuple[str, float]]
    jumps: list[list[tuple[float, float]]]
    size: tuple[float, float]

    def near(self, y: float) -> str:
        """Return the line of text at a height."""
        return min(self.texts, key=lambda text: abs(text[1] - 4.5 - y))[0]


def read(picture: str) -> Shown:
    root = ElementTree.fromstring(picture)
    paths = [
        p.attrib for p in root.iter(f"{SVG}path") if p.get("class") == "fail" and "style" not in p.attrib
    ]
    points = [
        [(float(x), float(y)) for x, y in (point.split() for point in p["d"][1:].split(" L"))] for p in paths
    ]
    return Shown(
        [("".join(t.itertext()), float(t.attrib["y"])) for t in root.iter(f"{SVG}text")],
        points,
        (float(root.attrib["width"]), float(root.attrib["height"])),
    )


def test_jumps_go_from_the_call_to_its_label(kvm_ref: Command) -> None:
    """Each bracket leaves beside the call that fails and ends beside the label that C names."""
    shown = read(kvm_ref("ladder", "kvm_dev_ioctl_create_vm", "--format", "svg").out)
    found = {(shown.near(jump[0][1]), shown.near(jump[-1][1])) for jump in shown.jumps}
    assert found == set(CREATE_VM)
    words = [text for text, _ in sorted(shown.texts, key=lambda text: text[1])]
    assert words[:4] == [
        "kvm_dev_ioctl_create_vm() in virt/kvm/kvm_main.c",
        "kvm_create_vm()",
        "anon_inode_getfile()",
        "return, all done",
    ]
    assert words[4:] == ["put_kvm:", "kvm_put_kvm();", "put_fd:", "put_unused_fd();", "return the error"]


def test_brackets_nest(kvm_ref: Command) -> None:
    """kvm_init() (virt/kvm/kvm_main.c) undoes its six steps backwards: the first jump is the outermost."""
    shown = read(kvm_ref("ladder", "kvm_init", "--format", "svg").out)
    by_height = sorted(shown.jumps, key=lambda jump: jump[0][1])
    assert len(by_height) == 6
    lanes = [jump[1][0] for jump in by_height]
    ends = [jump[-1][1] for jump in by_height]
    assert lanes == sorted(lanes, reverse=True)
    assert ends == sorted(ends, reverse=True)
    assert max(lanes) < shown.size[0]
    assert max(ends) < shown.size[1]


def test_jumps_to_one_label_share_a_line(kvm_ref: Command) -> None:
    """init_hyp_mode() (arch/arm64/kvm/arm.c) has fourteen gotos and one label."""
    shown = read(kvm_ref("ladder", "init_hyp_mode", "--format", "svg").out)
    assert len(shown.jumps) == 14
    assert len({jump[1][0] for jump in shown.jumps}) == 1
    assert [shown.near(jump[-1][1]) for jump in shown.jumps if len(jump) == 4] == ["out_err:"]


def test_a_function_without_gotos(kvm_ref: Command) -> None:
    """riscv_kvm_init() (arch/riscv/kvm/main.c) has six returns that are none of success."""
    shown = read(kvm_ref("ladder", "riscv_kvm_init", "--format", "svg").out)
    assert len(shown.jumps) == 6
    assert {shown.near(jump[-1][1]) for jump in shown.jumps if len(jump) == 4} == {"return the error"}


def test_a_ladder_of_c(kvm_ref: Command) -> None:
    """The text of a tree gives the same picture."""
    args = ("tree", "ladder", str(kernel_tree()), "kvm_dev_ioctl_create_vm", "--format", "svg")
    shown = read(kvm_ref(*args).out)
    found = {(shown.near(jump[0][1]), shown.near(jump[-1][1])) for jump in shown.jumps}
    assert {label for _, label in found} == {"put_fd:", "put_kvm:"}


@pytest.mark.parametrize(
    "name", ["<script>", "a\"b'c", "a&b;", "\x00\x1b\ud800", "ünï\u2028\u202e", "]]>", "-->"]
)
def test_any_name_can_be_shown(name: str) -> None:
    """Whatever stands in a text is text in the picture, or U+FFFD where XML has no way to say it."""
    ladder = Ladder(name, (Jump(name, (name,), 1),), (Label(name, (Call(name),), 2),))
    picture = to_svg(Drawing(name, name, ladder, ()))
    safe = "".join("\ufffd" if c in "\x00\x1b\ud800" else c for c in name)
    assert [text for text, _ in read(picture).texts] == [
        f"{safe}() in {safe}",
        f"{safe}()",
        "return, all done",
        f"{safe}:",
        f"{safe}();",
        "return the error",
    ]
    picture.encode()


def test_what_stands_in_for_the_picture() -> None:
    """Who does not see it is told the function, its jumps and what each label undoes."""
    ladder = Ladder("f", (Jump("out", ("a",), 1),), (Label("out", (Call("b"),), 2),))
    root = ElementTree.fromstring(to_svg(Drawing("f", "a.c", ladder, ())))
    assert root.get("role") == "img"
    assert [root.findtext(f"{SVG}{tag}") for tag in ("title", "desc")] == [
        "f() in a.c",
        "a() fails: goto out; out: b();",
    ]


def test_elements() -> None:
    """Attributes are escaped; lengths are short."""
    assert svg.element("a", class_='x"', font_size=3) == '<a class="x&quot;" font-size="3"/>'
    assert [svg.number(n) for n in (1.0, 1.26, 30)] == ["1", "1.3", "30"]


def test_every_ladder_is_well_formed() -> None:
    """Every function with a ladder has a picture, with each of its labels."""
    from kvm_ref.drawing import of_model
    from kvm_ref.vocabulary import Vocabulary

    for name in backends.available():
        for facts in Vocabulary.of(backends.load(name)).values():
            shown = of_model(facts)
            if shown.ladder:
                texts = [text for text, _ in read(to_svg(shown)).texts]
                assert [f"{label.name}:" for label in shown.ladder.labels] == [
                    text for text in texts if text in {f"{label.name}:" for label in shown.ladder.labels}
                ]
