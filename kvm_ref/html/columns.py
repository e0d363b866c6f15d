# SPDX-License-Identifier: GPL-2.0-only
"""The columns of the page: a resource each, or those of all CPUs together, and what a cell says."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import attrs

from kvm_ref.html.fates import HELD, LEAKED, NOT_ACQUIRED, RELEASED, Fate
from kvm_ref.matrix import Row
from kvm_ref.report import machine, unnumbered

# A cell says first what matters most.
_ORDER = (LEAKED, HELD, RELEASED, NOT_ACQUIRED)


@attrs.frozen
class Cell:
    """What became of the resources of one column in one run.

    Attributes:
        fate: the word that matters most.
        words: all of it in words: "released", "leaked 2, released 2".
        count: "2/4" if that is not the fate of all of several, or "".
    """

    fate: str
    words: str
    count: str


class Columns:
    """The columns of some rows of one backend.

    Attributes:
        names: what each is called, in the order in which a run without faults acquires them.
        most: how many of a column there are at most.
    """

    def __init__(self, rows: Sequence[Row]) -> None:
        # Of each machine what a run without faults acquires: what is missing from it elsewhere was not.
        self._clean = {machine(row): _count(_fates(row)) for row in rows if not row.fault}
        ordered = [row for row in rows if not row.fault] + [row for row in rows if row.fault]
        counts = [_count(_fates(row)) for row in ordered]
        self.names = tuple(dict.fromkeys(name for count in counts for name in count))
        self.most = {
            name: max(count[name].total() for count in counts if name in count) for name in self.names
        }

    def cells(self, row: Row) -> list[Cell]:
        """Return a cell for each column."""
        counts = _count(_fates(row))
        clean = self._clean.get(machine(row), {})
        out = []
        for name in self.names:
            count = counts.get(name, Counter())
            missing = clean.get(name, Counter()).total() - count.total()
            out.append(_cell(count + Counter({NOT_ACQUIRED: missing})))
        return out


def _fates(row: Row) -> Sequence[Fate]:
    return row.seen.fates if row.seen else ()


def _count(fates: Sequence[Fate]) -> Mapping[str, Counter[str]]:
    out: dict[str, Counter[str]] = {}
    for resource, fate in fates:
        out.setdefault(unnumbered(resource), Counter())[fate] += 1
    return out


def _cell(count: Counter[str]) -> Cell:
    words = [fate for fate in _ORDER if count[fate]] or [NOT_ACQUIRED]
    if len(words) == 1:
        return Cell(words[0], words[0], "")
    total = count.total()
    return Cell(words[0], ", ".join(f"{word} {count[word]}" for word in words), f"{count[words[0]]}/{total}")
