# SPDX-License-Identifier: GPL-2.0-only
"""What the commands print: a run, a matrix, a comparison, a table."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from kvm_ref.judges import Finding
from kvm_ref.linux.cpumask import format_list
from kvm_ref.matrix import Matrix, Row
from kvm_ref.scenario import Run, Scenario
from kvm_ref.text import errno_name, state, tree, verdict

if TYPE_CHECKING:
    from kvm_ref.compare import Comparison

WIDTH = 100


def settings(scenario: Scenario) -> str:
    """Write what a scenario sets: parameters, features of the CPUs, commits."""
    words = [f"{name}={value}" for name, value in scenario.params.items()]
    words += [f"{name}={int(on)}" for name, on in scenario.features.items()]
    words += [f"{'with' if on else 'without'} {commit}" for commit, on in scenario.commits.items()]
    return ", ".join(words)


def run(scenario: Scenario, done: Run, findings: Sequence[Finding], *, colour: bool = False) -> Iterator[str]:
    """Yield a run as text: the calls of each verb, what is left, and what the judges found."""
    online = scenario.cpus.online
    given = settings(scenario)
    kernel = done.trace.source["kernel"]
    yield f"# {scenario.backend}, Linux {kernel}, CPUs {format_list(online)}{', ' + given if given else ''}"
    for fault in scenario.faults:
        yield f"# fault: {fault}"
    yield "# CPU  TASK      CALLS"
    moments = iter(done.trace.after.values())
    next(moments, None)
    for step in done.trace.steps:
        yield ""
        yield f"== {verdict(step)}"
        yield from tree(step.events or (), colour)
        yield f"-- left: {state(next(moments))}"
    if done.trace.log:
        yield ""
        yield "kernel log:"
        yield from (f"  {line}" for line in done.trace.log)
    yield ""
    yield f"findings: {len(findings)}"
    for finding in findings:
        yield from explain(finding)


def explain(finding: Finding) -> Iterator[str]:
    """Yield a finding in full."""
    yield f"  {finding.judge}: {finding.message}"
    for name, value in (
        ("fault", finding.fault),
        ("label", finding.label),
        ("acquired", finding.acquired),
        ("mended by", finding.commit),
        ("again", finding.command),
    ):
        if value:
            yield f"      {name:<10} {value}"


def _shorten(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"


def _end(text: str, width: int) -> str:
    # Of a goto the label is what must be seen; it comes last.
    if len(text) <= width:
        return text
    return "…" + text[len(text) - width + 1 :] if width > 1 else ""


def machine(row: Row) -> tuple[object, ...]:
    """Return what tells the machine of a row from that of others in its matrix."""
    return (row.scenario.backend, *row.scenario.params.items())


def _row(row: Row, findings: Sequence[Finding]) -> str:
    # What is found without a fault too is told once, below.
    virt = row.params.get("enable_virt_at_load")
    virt = "-" if virt is None else str(int(virt))
    what = ", ".join(dict.fromkeys(map(_brief, findings))) or ("NEVER FIRED" if row.idle else "ok")
    last = row.gotos[0] if row.gotos else ""
    head = f"{row.scenario.backend:<9} {virt} {_shorten(row.fault or 'no fault', 40):<40} {errno_name(row.result):<11}"
    what = _shorten(what, WIDTH - len(head) - 2)
    return f"{head} {_end(last, WIDTH - len(head) - len(what) - 2)} {what}"


def _alike(finding: Finding) -> tuple[str, ...]:
    # On another CPU, with another one of its kind, or through another label it is the same finding.
    return (finding.judge, unnumbered(finding.resource), finding.commit)


@functools.lru_cache(maxsize=4096)
def unnumbered(resource: str) -> str:
    """Return the name that a resource shares with those of its kind: of other CPUs, or made later."""
    return re.sub(r"([#@]|(?<=:cpu))\d+$", "", resource)


def added(done: Matrix) -> list[list[Finding]]:
    """Return of each row what is found because of its fault: not found without one."""
    standing = {machine(row): {_alike(f) for f in row.findings} for row in done.rows if not row.fault}
    out = []
    for row in done.rows:
        known = standing.get(machine(row), ()) if row.fault and row.findings else ()
        out.append([f for f in row.findings if _alike(f) not in known])
    return out


def kinds(done: Matrix) -> list[list[tuple[Row, Finding]]]:
    """Return the findings of a matrix, with those together that are alike and of one backend."""
    alike: dict[tuple[str, ...], list[tuple[Row, Finding]]] = {}
    for row in done.rows:
        for finding in row.findings:
            alike.setdefault((row.scenario.backend, *_alike(finding)), []).append((row, finding))
    return list(alike.values())


def totals(done: Matrix, own: Sequence[Sequence[Finding]]) -> str:
    """Write in one line how many faults fired, runs are clean, and labels were reached.

    Args:
        done: the matrix.
        own: what `added` gave of it.
    """
    clean = sum(not some and not row.idle for row, some in zip(done.rows, own, strict=True))
    faults = [row for row in done.rows if row.fault]
    fired = sum(not row.idle for row in faults)
    return (
        f"{fired} of {len(faults)} faults fired, {clean} of {len(done.rows)} runs clean, "
        f"{len(done.labels)} labels reached"
    )


def _brief(finding: Finding) -> str:
    return f"{finding.judge.upper()}{' ' + finding.commit[:7] if finding.commit else ''}"


def matrix(done: Matrix, *, colour: bool = False) -> Iterator[str]:
    """Yield a matrix as text: a line a fault, each finding once, and a summary."""
    yield f"{'backend':<9} v {'fault':<40} {'result':<11} first goto, findings"
    own = added(done)
    yield from (_row(row, some) for row, some in zip(done.rows, own, strict=True))
    alike = kinds(done)
    yield ""
    runs = sum(bool(r.findings) for r in done.rows)
    yield f"findings: {len(alike)} kinds in {runs} of {len(done.rows)} runs"
    for some in alike:
        always = ", without a fault too" if any(not row.fault for row, _ in some) else ""
        backend = some[0][0].scenario.backend
        yield f"{backend}, in {len({id(row) for row, _ in some})} runs{always}; the first:"
        first = some[0][1]
        yield from explain(first)
        others = dict.fromkeys(f.label for _, f in some if f.label and f.label != first.label)
        if others:
            yield f"      {'also by':<10} {', '.join(others)}"
    if done.unreached:
        yield ""
        yield "never reached:"
        yield from (f"  {name}" for name in done.unreached)
    yield ""
    yield totals(done, own)


def ktap(done: Matrix) -> Iterator[str]:
    """Yield a matrix in the Kernel Test Anything Protocol, version 1; a known finding is XFAIL."""
    yield "KTAP version 1"
    yield f"1..{len(done.rows)}"
    passed = expected = 0
    for number, row in enumerate(done.rows, 1):
        given = " ".join(f"{n}={v}" for n, v in row.scenario.params.items())
        words = (row.scenario.backend, given, row.fault or "no fault")
        name = _one_line(" ".join(filter(None, words))).replace("#", "\\#")
        if not row.findings and not row.idle:
            passed += 1
            yield f"ok {number} {name}"
            continue
        for finding in row.findings:
            yield f"# {_one_line(f'{finding.judge}: {finding.message}')}"
        known = row.findings and all(f.commit for f in row.findings) and not row.idle
        expected += bool(known)
        commits = sorted({f.commit for f in row.findings})
        yield f"not ok {number} {name}" + (f" # XFAIL mended by {', '.join(commits)}" if known else "")
    bad = len(done.rows) - passed - expected
    # The format wants all counts: nothing here is skipped, breaks off, or passes against expectation.
    yield f"# Totals: pass:{passed} fail:{bad} xfail:{expected} xpass:0 skip:0 error:0"


def _one_line(text: str) -> str:
    # A line end within a name would begin a result of its own.
    return " ".join(text.splitlines())


def comparison(first: str, second: str, found: Comparison) -> Iterator[str]:
    """Yield a comparison as text: all equal, or the first difference with what came before it."""
    if found.difference is None:
        aside = f" ({found.unrecorded} steps without recorded events)" if found.unrecorded else ""
        yield f"equal: all {found.equal} events, the results and what is left behind, in {found.steps} steps{aside}"
        if found.note:
            yield f"note: {first}: {found.note}"
        return
    d = found.difference
    yield f"different: {d.where}"
    yield from (f"    {line}" for line in d.context)
    yield f"  - {d.first}   <- {first}"
    yield f"  + {d.second}   <- {second}"
    yield f"{found.equal} events are equal before that"


def table(rows: Sequence[dict[str, object]]) -> Iterator[str]:
    """Yield rows with equal keys as aligned columns."""
    if not rows:
        return
    keys = [*rows[0]]
    shown = [{k: _cell(row[k]) for k in keys} for row in rows]
    widths = {k: max(len(k), *(len(row[k]) for row in shown)) for k in keys}
    for row in shown:
        yield "  ".join(row[k].ljust(widths[k]) for k in keys).rstrip()


def _cell(value: object) -> str:
    if isinstance(value, (tuple, list)):
        return " ".join(str(v) for v in value)
    return str(value)
