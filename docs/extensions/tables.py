# SPDX-License-Identifier: GPL-2.0-only
"""Tables of what the code says, as docutils nodes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeAlias

from docutils import nodes

Cell: TypeAlias = str | nodes.Node | Sequence[nodes.Node]


def code(text: str) -> nodes.Node:
    """Return a name as it stands in the source."""
    return nodes.literal(text, text)


def table(heads: Sequence[str], rows: Iterable[Sequence[Cell]], name: str) -> nodes.table:
    """Return a table of rows under their heads; `name` is its class in the page."""
    group = nodes.tgroup(cols=len(heads))
    group += [nodes.colspec(colwidth=1) for _ in heads]
    group += nodes.thead("", _row(heads))
    body = nodes.tbody()
    body += [_row(row) for row in rows]
    group += body
    return nodes.table("", group, classes=["code-table", name])


def _row(cells: Sequence[Cell]) -> nodes.row:
    row = nodes.row()
    row += [nodes.entry("", nodes.paragraph("", "", *_nodes(cell))) for cell in cells]
    return row


def _nodes(cell: Cell) -> Sequence[nodes.Node]:
    if isinstance(cell, str):
        return [nodes.Text(cell)]
    return [cell] if isinstance(cell, nodes.Node) else cell


def listed(parts: Sequence[nodes.Node]) -> list[nodes.Node]:
    """Return parts with commas between them."""
    return [node for part in parts for node in (nodes.Text(", "), part)][1:]
