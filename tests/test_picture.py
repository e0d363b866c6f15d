# SPDX-License-Identifier: GPL-2.0-only
"""Ladders as text and as pictures, held against the C of 6.12.117."""

from __future__ import annotations

import json
import re
from xml.etree import ElementTree

import pytest
from command_line import Command

from kvm_ref import backend as backends
from kvm_ref import drawing, picture
from kvm_ref.calls import Block, Branch, Call, Leave, Loop
from kvm_ref.reading import Jump, Label, Ladder
from kvm_ref.vocabulary import Facts, Vocabulary

# virt/kvm/kvm_main.c: kvm_init(), each call and the label that it goes to; the labels in their order.
GOTOS = [
    ("alloc_cpumask_var_node", "err_cpu_kick_mask"),
    ("kvm_irqfd_init", "err_irqfd"),
    ("kvm_async_pf_init", "err_async_pf"),
    ("kvm_vfio_ops_init", "err_vfio"),
    ("kvm_init_virtualization", "err_virt"),
    ("misc_register", "err_register"),
]
LABELS = ["err_register", "err_virt", "err_vfio", "err_async_pf", "err_irqfd", "err_cpu_kick_mask"]
NODE = re.compile(r'  (\w+) \[label=("(?:[^"\\]|\\.)*")')
EDGE = re.compile(r"  (\w+) -> (\w+)( \[style=dashed.*\])?;")


def every() -> list[tuple[str, Facts]]:
    """Return every function of every backend."""
    return [
        (f"{name}:{facts.name}", facts)
        for name in backends.available()
        for facts in Vocabulary.of(backends.load(name)).values()
    ]


def kvm_init() -> Facts:
    """Return the facts of kvm_init()."""
    return Vocabulary.of(backends.load("x86-svm"))["kvm_init"]


def test_json_of_a_ladder(kvm_ref: Command) -> None:
    """The gotos with the calls that lead to each, the labels with what each undoes, all ways out."""
    data = kvm_ref("ladder", "kvm_init", "--format", "json").json
    assert (data["function"], data["file"]) == ("kvm_init", "virt/kvm/kvm_main.c")
    assert [(g["calls"], g["label"]) for g in data["ladder"]["gotos"]] == [([c], label) for c, label in GOTOS]
    assert [label["name"] for label in data["ladder"]["labels"]] == LABELS
    assert [e["kind"] for e in data["exits"]].count("goto") == 6
    assert kvm_ref("ladder", "kvm_exit", "--format", "json").json["ladder"] is None


def test_text_of_a_ladder(kvm_ref: Command) -> None:
    """The gotos, then the C's fall-through from label to label, then the other returns."""
    lines = kvm_ref("ladder", "kvm_init").lines
    assert lines[0] == "kvm_init() in virt/kvm/kvm_main.c"
    assert [line.split() for line in lines[2:8]] == [
        [f"{call}()", "fails:", "goto", f"{label};"] for call, label in GOTOS
    ]
    assert [line for line in lines[8:-4] if line.endswith(":") and line[0] != " "] == [
        f"{n}:" for n in LABELS
    ]
    at = lines.index("err_vfio:")
    assert lines[at : at + 11] == [
        "err_vfio:",
        "    perhaps:",
        "        debugfs_remove_recursive();",
        "    kvm_async_pf_deinit();",
        "err_async_pf:",
        "    kvm_irqfd_exit();",
        "err_irqfd:",
        "err_cpu_kick_mask:",
        "    for each:",
        "        free_cpumask_var();",
        "    kmem_cache_destroy();",
    ]
    assert lines[-4:] == ["", "leaves without a goto:", "    return -ENOMEM", "    return, all done"]


def test_a_check_that_goes_to_a_label(kvm_ref: Command) -> None:
    """err_rebooting of kvm_enable_virtualization() is reached by a check, not by a call."""
    lines = kvm_ref("ladder", "kvm_enable_virtualization").lines
    assert lines[2:4] == [
        "    cpuhp_setup_state()  fails: goto err_cpuhp;",
        "    a check              fails: goto err_rebooting;",
    ]
    assert "        ->kvm_arch_disable_virtualization();" in lines


def test_text_of_a_function_without_gotos(kvm_ref: Command) -> None:
    """kvm_riscv_aia_init() (arch/riscv/kvm/aia.c) has four returns and no label."""
    assert kvm_ref("ladder", "kvm_riscv_aia_init").lines == [
        "kvm_riscv_aia_init() in arch/riscv/kvm/aia.c",
        "",
        "leaves without a goto:",
        "    return -ENODEV",
        "    aia_hgei_init() fails",
        "    kvm_register_device_ops() fails",
        "    return, all done",
    ]


def test_a_function_of_one_backend(kvm_ref: Command) -> None:
    """--backend chooses among those of one name; without it the first that has it is shown."""
    name = "kvm_arch_enable_virtualization_cpu"
    assert kvm_ref("ladder", name, "--backend", "riscv").lines[0].endswith("arch/riscv/kvm/main.c")
    assert kvm_ref("ladder", name, "--backend", "x86-vmx").lines[0].endswith("arch/x86/kvm/x86.c")
    assert kvm_ref("ladder", name).lines[0].endswith("arch/arm64/kvm/arm.c")
    assert kvm_ref("ladder", "init_hyp_mode").status == 0


def test_undoing_in_words() -> None:
    """Loops, ways, returns and pointers each have their word, and what is within is indented."""
    a, b = Call("a"), Call("b", indirect=True)
    done = (
        a,
        Loop((Branch(((a, Leave(turn=True)), ())),)),
        Branch(((a,), (b,))),
        Branch(((), ())),
        Block((Leave(turn=False),)),
    )
    assert list(drawing.undo(done)) == [
        "a();",
        "for each:",
        "    perhaps:",
        "        a();",
        "        next;",
        "either:",
        "    a();",
        "or:",
        "    ->b();",
        "return;",
    ]


def edges(lines: list[str]) -> set[tuple[str, str]]:
    """Return the edges of a dot graph."""
    return {(m[1], m[2]) for line in lines if (m := EDGE.fullmatch(line))}


def test_dot_of_kvm_init() -> None:
    """Steps in order to the end; each step's label; labels in order down to the return."""
    lines = list(picture.dot(drawing.of_model(kvm_init())))
    labels = {m[1]: json.loads(m[2]) for line in lines if (m := NODE.match(line))}
    steps = [f"step{n}" for n in range(6)]
    marks = [f"label{n}" for n in range(6)]
    assert [labels[s] for s in steps] == [f"{call}()" for call, _ in GOTOS]
    assert [labels[m].partition(":")[0] for m in marks] == LABELS
    assert labels["label3"] == "err_async_pf:\nkvm_irqfd_exit();"
    wanted = set(zip(steps, [*steps[1:], "done"], strict=True)) | set(
        zip(marks, [*marks[1:], "failed"], strict=True)
    )
    wanted |= {(f"step{n}", f"label{LABELS.index(label)}") for n, (_, label) in enumerate(GOTOS)}
    assert edges(lines) == wanted


def test_every_dot_graph_is_well_formed() -> None:
    """Braces, quotes and semicolons are in their places; every edge is between nodes that there are."""
    for name, facts in every():
        lines = list(picture.dot(drawing.of_model(facts)))
        assert lines[0] == f'digraph "{facts.name}" {{', name
        assert lines[-1] == "}"
        nodes = {m[1] for line in lines if (m := NODE.match(line)) and json.loads(m[2])}
        assert {"done", "failed"} <= nodes
        for line in lines[3:-1]:
            assert line.endswith(";")
            assert NODE.match(line) or EDGE.fullmatch(line), line
        assert {node for edge in edges(lines) for node in edge} <= nodes, name


def test_every_mermaid_chart_is_well_formed() -> None:
    """Texts are in quotes, without what mermaid or a browser would take for its own."""
    node = re.compile(r"  (\w+)(?:\(\[[\w ]+\]\)|\[\"((?:[^\"<>]|<br/>)*)\"\])")
    edge = re.compile(r"  (\w+) (?:-->|-\. (?:goto|return) \.->) (\w+)")
    for name, facts in every():
        lines = list(picture.mermaid(drawing.of_model(facts)))
        assert lines[0] == "flowchart TD"
        nodes = {m[1] for line in lines[1:] if (m := node.fullmatch(line))}
        ends = [m.groups() for line in lines[1:] if (m := edge.fullmatch(line))]
        assert len(nodes) + len(ends) == len(lines) - 1, name
        assert {end for pair in ends for end in pair} <= nodes


def test_mermaid_escapes_what_it_must(kvm_ref: Command) -> None:
    """An arrow in a label would be an edge, a quote would end the text."""
    assert (
        '"err_cpuhp:<br/>either:<br/>-&gt;kvm_arch_disable'
        in kvm_ref("ladder", "kvm_enable_virtualization", "--format", "mermaid").out
    )
    assert picture._entities('a < "b" & c') == '"a &lt; &quot;b&quot; &amp; c"'


def test_names_are_text_whatever_they_hold() -> None:
    """Markup, quotes, ends of lines, references and half characters stay within their texts."""
    name = """a<b>&"'\n]]>-->#35;%%{init}%%`\\N\u2028\u00e9\ud800\x00"""
    seen = name.replace("\ud800", "\ufffd").replace("\x00", "\ufffd")
    ladder = Ladder(name, (Jump(name, (name,), 1),), (Label(name, (Call(name),), 2),))
    shown = drawing.Drawing(name, name, ladder, (name,))
    strings = [json.loads(m) for m in re.findall(r'"(?:[^"\\]|\\.)*"', "\n".join(picture.dot(shown)))]
    assert {s.replace("&amp;", "&") for s in strings} == {
        seen, f"{seen}()", "monospace", "return 0", f"{seen}:\n{seen}();", "return the error", "goto"
    }  # fmt: skip
    chart = "\n".join(picture.mermaid(shown))
    assert len(chart.split("\n")) == 8
    assert not set(re.sub(r'\["|"\]|<br/>|#(?:35|37|96);|-->|-\. goto \.->', "", chart)) & set('<>"%`#')
    root = ElementTree.fromstring("".join(picture.svg(shown)))
    assert {e.tag.partition("}")[2] for e in root.iter()} <= {
        "svg", "title", "desc", "style", "defs", "marker", "path", "rect", "text", "g", "line"
    }  # fmt: skip
    assert f"{seen}()" in {"".join(e.itertext()) for e in root.iter()}


@pytest.mark.parametrize(("form", "arrow"), [("dot", "->"), ("mermaid", "-. return .->")])
def test_a_picture_of_a_function_without_gotos(kvm_ref: Command, form: str, arrow: str) -> None:
    """Its steps are its ways out, and each leads to the return."""
    lines = kvm_ref("ladder", "kvm_riscv_aia_init", "--format", form).lines
    assert [sum(line.startswith(f"  step{n} {arrow} failed") for line in lines) for n in range(4)] == [
        1,
        1,
        1,
        0,
    ]
    assert sum("aia_hgei_init() fails" in line for line in lines) == 1
