# SPDX-License-Identifier: GPL-2.0-only
"""What the page's program reads: rows, findings and unwinds, with what they share written once."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

from kvm_ref.html.unwinding import Node
from kvm_ref.judges import Finding
from kvm_ref.matrix import Row
from kvm_ref.reproduce import command
from kvm_ref.text import errno_name

_OTHER = re.compile(r"[^\x00-\x7f]")


class _Table:
    # Values, each once, known by a number.
    def __init__(self) -> None:
        self._known: dict[Any, int] = {}

    def __call__(self, value: Any) -> int:
        return self._known.setdefault(value, len(self._known))

    @property
    def values(self) -> list[Any]:
        return list(self._known)


class _Nodes:
    def __init__(self, strings: _Table, places: _Table) -> None:
        self._strings = strings
        self._places = places
        self._nodes = _Table()
        self._known: dict[int, int] = {}

    def __call__(self, node: Node) -> int:
        # Parts of a matrix that were made by several processes share no objects.
        known = self._known.get(id(node))
        if known is None:
            kind, text, result, task, cpu, deed, inner = node
            strings = self._strings
            place = self._places((task, cpu))
            entry = (kind, strings(text), strings(result), place, strings(deed), tuple(map(self, inner)))
            known = self._known[id(node)] = self._nodes(entry)
        return known

    @property
    def values(self) -> list[Any]:
        return self._nodes.values


def payload(rows: Sequence[Row], own: Sequence[Sequence[Finding]], columns: Sequence[Sequence[str]]) -> str:
    """Return the JSON text that the page's program reads. It is ASCII, and holds no ``<``.

    Args:
        rows: the rows, in the order of the page.
        own: of each row the findings that are there because of its fault.
        columns: of each row the names of its columns.
    """
    strings, places, findings, labels, params, heads = (_Table() for _ in range(6))
    nodes = _Nodes(strings, places)
    out = []
    for row, some, names in zip(rows, own, columns, strict=True):
        mine = {id(f) for f in some}
        given = tuple(shown_params(row).items())
        again = row.findings[0].command if row.findings else command(row.scenario)
        out.append([
            row.scenario.backend,
            row.fault,
            errno_name(row.result),
            params(given),
            [labels(label) for label in dict.fromkeys(row.gotos)],
            [[findings(_finding(f)), int(id(f) in mine)] for f in row.findings],
            [nodes(node) for node in (row.seen.unwind if row.seen else ())],
            strings(again),
            int(row.idle),
            heads(tuple(names)),
        ])  # fmt: skip
    data = {
        "strings": strings.values,
        "places": places.values,
        "findings": findings.values,
        "labels": labels.values,
        "params": params.values,
        "columns": heads.values,
        "nodes": nodes.values,
        "rows": out,
    }
    text = json.dumps(data, separators=(",", ":"), ensure_ascii=False).replace("<", "\\u003c")
    # Half of a pair of surrogates is no character. HTML takes one that stands alone for U+FFFD; what is
    # compared with it is to be the same.
    text = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return _OTHER.sub(lambda char: json.dumps(char[0])[1:-1], text)


def shown_params(row: Row) -> dict[str, str]:
    """Return the parameters of a row by name, as one would write their values."""
    return {name: str(int(v) if isinstance(v, bool) else v) for name, v in row.params.items()}


def _finding(finding: Finding) -> tuple[str, ...]:
    f = finding
    return (f.judge, f.message, f.resource, f.label, f.acquired, f.commit)
