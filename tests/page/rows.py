# SPDX-License-Identifier: GPL-2.0-only
"""Rows of a matrix for tests of the page."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import attrs

from kvm_ref.fault import parse
from kvm_ref.html.columns import Columns
from kvm_ref.html.seen import Seen, Watcher
from kvm_ref.judges import Finding
from kvm_ref.matrix import Matrix, Row, run
from kvm_ref.scenario import Cpus, Scenario

# What a careless page would take for markup, for a script's end, or for the end of a line of one.
HOSTILE = """</script><script>window.broken=1</script><img src=x onerror=window.broken=1>"'&amp;\u2028\u00e9\ud800<!--"""


@functools.cache
def watched(backend: str, *verbs: str, cpus: int = 4, **params: str) -> Matrix:
    """Run a matrix of one backend, with what the page shows."""
    base = Scenario(backend, verbs, cpus=Cpus.of(tuple(range(cpus))), params=params)
    return run([base], watch=Watcher)


def row(done: Matrix, fault: str) -> Row:
    """Return the row of a fault."""
    return next(row for row in done.rows if row.fault == fault)


def cells(done: Matrix, fault: str) -> dict[str, str]:
    """Return what the cells of a row say, by column."""
    columns = Columns(done.rows)
    return dict(zip(columns.names, (cell.words for cell in columns.cells(row(done, fault))), strict=True))


def by_fate(done: Matrix, fault: str) -> dict[str, set[str]]:
    """Return the columns of a row, by what their cells say."""
    out: dict[str, set[str]] = {}
    for name, words in cells(done, fault).items():
        out.setdefault(words, set()).add(name)
    return out


def hostile() -> Matrix:
    """Return a matrix in which every name and every message is hostile."""
    finding = Finding(*(HOSTILE, HOSTILE, 0), *(HOSTILE,) * 6)
    node = ("call", HOSTILE, HOSTILE, HOSTILE, 0, f"-{HOSTILE}", ())
    scenario = Scenario(HOSTILE, (HOSTILE,), params={HOSTILE: HOSTILE}, commits={HOSTILE: True})
    clean = Row(scenario, "", 0, (0,), (0,), (), (), False, {HOSTILE: HOSTILE}, seen("released", node))
    bad = attrs.evolve(
        clean,
        scenario=attrs.evolve(scenario, faults=(parse("misc_register"),)),
        fault=HOSTILE,
        result=-12,
        gotos=(f"{HOSTILE}:{HOSTILE}",),
        findings=(finding,),
        seen=seen("leaked", node),
    )
    return Matrix((clean, bad, attrs.evolve(bad, idle=True)), {HOSTILE: 1}, (HOSTILE,))


def seen(fate: str, *unwind: tuple[object, ...]) -> Seen:
    """Return what is kept of a run with one resource."""
    return Seen(((f"{HOSTILE}:{HOSTILE}", fate),), unwind)  # type: ignore[arg-type]


def many(done: Matrix, count: int) -> Matrix:
    """Return a matrix of so many rows, the same again and again."""
    rows: Sequence[Row] = done.rows * (count // len(done.rows) + 1)
    return attrs.evolve(done, rows=tuple(rows[:count]))
