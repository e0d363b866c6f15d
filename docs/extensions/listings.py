# SPDX-License-Identifier: GPL-2.0-only
"""The directive ``listing``: a list of ``kvm-ref list`` as a table."""

from __future__ import annotations

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective
from tables import Cell, code, listed, table

from kvm_ref.listing import LISTS

# What is no name, but says something.
_PROSE = frozenset({"about", "outcome", "summary", "takes", "title", "in 6.12.117", "default"})


class Listing(SphinxDirective):
    """Shows the list that is named."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Return the table."""
        self.env.note_reread()
        name = self.arguments[0]
        rows = LISTS[name]("")
        return [table([*rows[0]], [[_cell(*pair) for pair in row.items()] for row in rows], f"list-{name}")]


def _cell(key: str, value: object) -> Cell:
    if isinstance(value, list):
        return listed([code(str(one)) for one in value])
    return str(value) if key in _PROSE else code(str(value))


def setup(app: Sphinx) -> dict[str, bool]:
    """Add the directive."""
    app.add_directive("listing", Listing)
    return {"parallel_read_safe": True}
