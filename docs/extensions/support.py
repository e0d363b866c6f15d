# SPDX-License-Identifier: GPL-2.0-only
"""The directive ``support``: every modelled function, and how it was verified."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective
from sphinx.util.logging import getLogger
from tables import Cell, code, listed, table
from tree import kernel_source
from verified import Walked, functions, seen, traces, walked

from kvm_ref import backend as backends
from kvm_ref.vocabulary import Facts

_DATA = Path(__file__).parents[2] / "tests" / "data"
_HEADS = ("Function", "Backends", "Labels, in source order", "Ways out", "C text", "Real kernel")
_log = getLogger(__name__)


class Support(SphinxDirective):
    """Shows a table for each part of the kernel, behind a summary of them all."""

    def run(self) -> list[nodes.Node]:
        """Return the summary and the sections."""
        self.env.note_reread()
        tree = kernel_source.find()
        if tree is None:
            # A warning ends the build, where nothing may be left out.
            tell = _log.warning if kernel_source.strict() else _log.info
            tell("support table: %s", kernel_source.missing())
        owners = functions()
        held = walked(tree) if tree else {}
        counts = seen(_DATA)
        parts: dict[str, list[Facts]] = {}
        for facts in sorted(owners, key=lambda facts: (_file(facts), facts.name)):
            parts.setdefault(_part(_file(facts)), []).append(facts)
        out: list[nodes.Node] = [_summary(owners, held, counts)]
        for title in sorted(parts, key=lambda title: (title != "virt/kvm", title)):
            rows = [_row(facts, owners[facts], held, counts) for facts in parts[title]]
            section = nodes.section("", nodes.title(title, title), ids=[nodes.make_id(title)], names=[title])
            section += table(_HEADS, rows, "support")
            out.append(section)
        return out


def _file(facts: Facts) -> str:
    # A header of an architecture is named as it is included.
    if facts.file.startswith("asm/"):
        return f"arch/{facts.module.split('.')[1]}/include/{facts.file}"
    return facts.file


def _part(file: str) -> str:
    folders = file.split("/")
    if folders[0] in ("arch", "virt"):
        return "/".join(folders[:2])
    return folders[0]


def _summary(owners: dict[Facts, list[str]], held: dict[Facts, Walked], counts: Counter[Facts]) -> nodes.Node:
    text = f"{len(owners)} functions. "
    if held:
        compared = [one for one in held.values() if not one.why]
        equal = sum(one.equal == one.cases for one in compared)
        text += (
            f"{len(compared)} of them are held against the C text; {equal} are equal, in "
            f"{sum(one.equal for one in compared)} of {sum(one.cases for one in compared)} cases. "
        )
    else:
        text += f"The C text was not checked here: {kernel_source.missing()}. "
    text += (
        f"{len(counts)} are seen in {len([*traces(_DATA)])} traces of a real kernel that the model equals."
    )
    return nodes.paragraph("", text)


def _row(facts: Facts, owners: list[str], held: dict[Facts, Walked], counts: Counter[Facts]) -> list[Cell]:
    return [
        [code(facts.name), nodes.Text(" "), nodes.inline("", _file(facts), classes=["file"])],
        "all" if len(owners) == len(backends.available()) else ", ".join(owners),
        listed([code(label.name) for label in facts.ladder.labels]) if facts.ladder else "",
        str(len(facts.exits)),
        _walked(held[facts]) if held else "not checked here",
        f"in {counts[facts]} traces" if counts[facts] else "",
    ]


def _walked(one: Walked) -> str:
    return one.why or f"C walked: {one.equal} of {one.cases}"


def setup(app: Sphinx) -> dict[str, bool]:
    """Add the directive."""
    app.add_directive("support", Support)
    return {"parallel_read_safe": True}
