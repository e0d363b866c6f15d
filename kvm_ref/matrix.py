# SPDX-License-Identifier: GPL-2.0-only
"""Every fault of a scenario, one at a time, each run judged.

A run without faults shows which calls can fail; then the scenario is run again for each of them,
for a reboot that falls into a call where it matters, and for a CPU that another hypervisor holds.
The rest of the scenario goes on after the fault, so that a second load shows what a failed first
one left behind.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Executor
from typing import Any

import attrs

from kvm_ref import backend as backends
from kvm_ref.backend import Backend
from kvm_ref.fault import Fault
from kvm_ref.judges import Finding, Reached, judge_all
from kvm_ref.kernel import Commit
from kvm_ref.reproduce import command
from kvm_ref.scenario import Run, Scenario, run
from kvm_ref.trace import Event, Trace
from kvm_ref.vocabulary import Vocabulary

FORMAT = "kvm-ref-matrix/1"
VERBS = ("load", "unload", "load", "unload")
# Rows that a worker process takes at a time.
CHUNK = 32


@attrs.frozen
class Row:
    """One run of the matrix.

    Attributes:
        scenario: what was run; its faults are the row's.
        fault: the fault as text, "" for the run without one.
        result: what the user got from the verb that the fault fell into, 0 or a negative errno.
        results: what each verb gave.
        gotos: the jumps, as "function:label", in order.
        findings: what the judges found.
        idle: the fault never fired.
    """

    scenario: Scenario
    fault: str
    result: int | None
    results: tuple[int | None, ...]
    gotos: tuple[str, ...]
    findings: tuple[Finding, ...]
    idle: bool

    def to_json(self) -> dict[str, Any]:
        """Return the row as the matrix's JSON holds it."""
        return {
            "backend": self.scenario.backend,
            "cpus": len(self.scenario.cpus.possible),
            "params": dict(self.scenario.params),
            "fault": self.fault,
            "result": self.result,
            "results": list(self.results),
            "gotos": list(self.gotos),
            "findings": [f.to_json() for f in self.findings],
            "idle": self.idle,
        }


@attrs.frozen
class Matrix:
    """All rows, how often each label was reached, and which labels and exits never were."""

    rows: tuple[Row, ...]
    labels: dict[str, int]
    unreached: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the matrix as ``kvm-ref-matrix/1``."""
        return {
            "format": FORMAT,
            "runs": [row.to_json() for row in self.rows],
            "labels": self.labels,
            "unreached": list(self.unreached),
        }


def scenarios(base: Scenario, backend: Backend) -> list[Scenario]:
    """Return a scenario for each value of `enable_virt_at_load`, if `base` leaves it open."""
    has = any(p.name == "enable_virt_at_load" for m in backend.modules for p in m.params)
    if not has or any(name.endswith("enable_virt_at_load") for name in base.params):
        return [base]
    return [attrs.evolve(base, params={**base.params, "enable_virt_at_load": v}) for v in ("1", "0")]


def faults_of(trace: Trace, vocabulary: Vocabulary, *, edges: bool = False) -> Iterator[Fault]:
    """Yield every fault that a run without faults shows to be possible, in order.

    Args:
        edges: of calls that are repeated for each CPU, only the first and the last.
    """
    hits: list[tuple[str, int, tuple[object, ...]]] = []
    for number, step in enumerate(trace.steps):
        # Other tasks run while their caller waits, so one stack holds the calls of all.
        stack: list[str] = []
        for kind, at, function, _, _ in step.events or ():
            if kind == "enter":
                facts = vocabulary.get(function)
                if facts and (facts.fails or facts.effect):
                    hits.append((function, at.cpu, (number, function, *stack) if edges else ()))
                stack.append(function)
            elif kind == "exit":
                stack.pop()
    cpus: dict[str, set[int]] = {}
    last: dict[tuple[object, ...], int] = {}
    for n, (function, cpu, place) in enumerate(hits):
        cpus.setdefault(function, set()).add(cpu)
        last[place] = n
    count: dict[tuple[str, int | None], int] = {}
    begun: set[tuple[object, ...]] = set()
    for n, (function, cpu, place) in enumerate(hits):
        where = cpu if len(cpus[function]) > 1 else None
        nth = count[function, where] = count.get((function, where), 0) + 1
        if edges and place in begun and last[place] != n:
            continue
        begun.add(place)
        facts = vocabulary[function]
        if facts.fails:
            yield Fault(function, nth, where)
        if facts.effect:
            yield Fault(function, nth, where, effect=f"system_state={facts.effect}")


def plans(base: Scenario, backend: Backend, *, edges: bool = False) -> Iterator[tuple[str, Scenario]]:
    """Yield every run of the matrix for one scenario: the fault as text, and what to run.

    The first has no fault.
    """
    yield "", base
    clean = run(base, backend)
    for fault in faults_of(clean.trace, Vocabulary.of(backend), edges=edges):
        yield str(fault), attrs.evolve(base, faults=(*base.faults, fault))
    if type(backend).foreign_on is not Backend.foreign_on:
        online = base.cpus.online
        for cpu in (online[0], online[-1]) if edges and len(online) > 1 else online:
            yield f"foreign-on={cpu}", attrs.evolve(base, verbs=(f"foreign-on={cpu}", *base.verbs))


def judge(text: str, scenario: Scenario, done: Run, vocabulary: Vocabulary) -> Row:
    """Make the row of one run."""
    trace = done.trace
    results = tuple(r for step in trace.steps for r in step.results)
    findings = tuple(
        attrs.evolve(f, fault=text, command=command(scenario)) for f in judge_all(trace, vocabulary)
    )
    return Row(
        scenario=scenario,
        fault=text,
        result=_result(trace, text),
        results=results,
        gotos=tuple(_goto(e) for e in trace.events() if e[0] == "goto"),
        findings=findings,
        idle=bool(done.idle),
    )


def _goto(event: Event) -> str:
    return f"{event[2]}:{(event[3] or {}).get('label')}"


def _result(trace: Trace, text: str) -> int | None:
    # What the user got from the verb that the fault fell into; another hypervisor falls into the
    # first verb that fails.
    for step in trace.steps:
        if any(e[0] == "inject" for e in step.events or ()):
            return step.results[0]
    if text.startswith("foreign-on"):
        return next((r for step in trace.steps for r in step.results if r), 0)
    return trace.steps[-1].results[-1] if trace.steps else 0


def _blame(scenario: Scenario, backend: Backend, vocabulary: Vocabulary, finding: Finding) -> str:
    # The upstream commit that mends a finding: the one with which the same run no longer has it.
    for commit in sorted(Commit.known.values(), key=lambda c: c.hash):
        if commit.default or any(commit.hash.startswith(h[:12]) for h in scenario.commits):
            continue
        mended = attrs.evolve(scenario, commits={**scenario.commits, commit.hash: True})
        again = judge_all(run(mended, backend).trace, vocabulary)
        if not any(f.judge == finding.judge and f.resource == finding.resource for f in again):
            return commit.hash
    return ""


class Blame:
    """Which upstream commit mends a finding; asked once for findings that are alike."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._vocabulary = Vocabulary.of(backend)
        self._known: dict[tuple[str, ...], str] = {}

    def __call__(self, scenario: Scenario, findings: Sequence[Finding]) -> tuple[Finding, ...]:
        """Return the findings with the commit that mends each, where there is one."""
        out = []
        for finding in findings:
            alike = (finding.judge, finding.resource, finding.label)
            if alike not in self._known:
                self._known[alike] = _blame(scenario, self._backend, self._vocabulary, finding)
            out.append(attrs.evolve(finding, commit=self._known[alike]))
        return tuple(out)


def rows_of(backend: str, plan: Sequence[tuple[str, Scenario]]) -> tuple[list[Row], Reached]:
    """Run and judge a part of a matrix; a worker process does this."""
    arch = backends.load(backend)
    vocabulary = Vocabulary.of(arch)
    blame = Blame(arch)
    reached = Reached(vocabulary)
    rows = []
    for text, scenario in plan:
        done = run(scenario, arch)
        reached.add(done.trace)
        row = judge(text, scenario, done, vocabulary)
        if row.findings:
            row = attrs.evolve(row, findings=blame(scenario, row.findings))
        rows.append(row)
    return rows, reached


def matrix(
    bases: Iterable[Scenario], executor: Executor | None = None, *, edges: bool = False
) -> Matrix:
    """Run and judge every fault of every scenario.

    Args:
        bases: the scenarios, each without a fault, or with those that all of its rows share.
        executor: runs the rows in parts; None runs them here.
        edges: of calls that are repeated for each CPU, fail only the first and the last.

    Raises:
        Misuse: something in a scenario does not exist.
    """
    parts: list[tuple[str, list[tuple[str, Scenario]]]] = []
    for base in bases:
        plan = list(plans(base, backends.load(base.backend), edges=edges))
        size = CHUNK if executor else len(plan)
        parts += [(base.backend, plan[i : i + size]) for i in range(0, len(plan), size)]
    if executor:
        done = [f.result() for f in [executor.submit(rows_of, *part) for part in parts]]
    else:
        done = [rows_of(*part) for part in parts]
    rows: list[Row] = []
    reached: dict[str, Reached] = {}
    for (backend, _), (some, seen) in zip(parts, done, strict=True):
        rows += some
        if backend in reached:
            reached[backend].merge(seen)
        else:
            reached[backend] = seen
    labels: dict[str, int] = {}
    unreached: set[str] = set()
    found: set[str] = set()
    for seen in reached.values():
        for label, times in seen.labels.items():
            labels[label] = labels.get(label, 0) + times
        unreached.update(seen.unreached())
        found.update(seen.names())
    return Matrix(tuple(rows), dict(sorted(labels.items())), tuple(sorted(unreached - found)))
