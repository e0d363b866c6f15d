# SPDX-License-Identifier: GPL-2.0-only
"""Every fault of a scenario, one at a time or in pairs, each run judged.

A run without faults shows which calls can fail; then the scenario is run again for each of them,
for a reboot that falls into a call where it matters, and for a CPU that another hypervisor holds.
The rest of the scenario goes on after the fault; at the end what is open is closed, and the module is
loaded and unloaded once more, which must work and leave nothing.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import attrs

from kvm_ref import backend as backends
from kvm_ref.blame import Blame
from kvm_ref.fault import Fault
from kvm_ref.judges import Finding, Reached, judge_all
from kvm_ref.judges.index import Index, indexes
from kvm_ref.linux import module as modules
from kvm_ref.plans import Local, Plan, plans, tidied
from kvm_ref.replay import Replay
from kvm_ref.reproduce import command
from kvm_ref.scenario import Scenario
from kvm_ref.trace import Event, Trace
from kvm_ref.vocabulary import Vocabulary

if TYPE_CHECKING:
    from concurrent.futures import Executor

FORMAT = "kvm-ref-matrix/1"
VERBS = ("load", "unload", "load", "unload")

# Keeps of a run what a reader wants to see besides its row: its plan, its trace, what was found.
Watch = Callable[[Plan, Trace, Sequence[Finding], Vocabulary], Any]


@attrs.define
class Row:
    """One run of the matrix.

    Attributes:
        scenario: what was run; its faults are the row's.
        fault: the fault as text, "" for the run without one.
        result: what the user got from the verb that the fault fell into, 0 or a negative errno.
        results: what each verb gave.
        retry: what was given by the verbs that cleared up afterwards, loaded and unloaded once more;
            or by the scenario's own last load and unload, if the fault was before them.
        gotos: the jumps with an error, as "function:label", in order.
        findings: what the judges found.
        idle: the fault never fired.
        params: the parameters that were given, as the kernel reads them.
        seen: what was to be kept of the run besides, see `run`; or None.
    """

    scenario: Scenario
    fault: str
    result: int | None
    results: tuple[int | None, ...]
    retry: tuple[int | None, ...]
    gotos: tuple[str, ...]
    findings: tuple[Finding, ...]
    idle: bool
    params: dict[str, Any]
    seen: Any = None

    def to_json(self) -> dict[str, Any]:
        """Return the row as the matrix's JSON holds it."""
        return {
            "backend": self.scenario.backend,
            "cpus": len(self.scenario.cpus.possible),
            "params": self.params,
            "fault": self.fault,
            "result": self.result,
            "results": list(self.results),
            "retry": list(self.retry),
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


def row_of(
    plan: Plan,
    trace: Trace,
    fired: bool,
    findings: Iterable[Finding],
    indexed: Iterable[Index],
    params: dict[str, Any],
    seen: Any = None,
) -> Row:
    """Make the row of one run."""
    results = tuple([r for step in trace.steps for r in step.results])
    length = len(plan.scenario.verbs)
    number = plan.number
    return Row(
        scenario=plan.scenario,
        fault=plan.text,
        result=results[number] if number < len(results) else None,
        results=results[:length],
        retry=results[length:] or _own_retry(plan, results),
        gotos=tuple([_goto(e) for one in indexed for _, e in one.gotos if e[4] is not None]),
        findings=tuple(findings),
        idle=not fired,
        params=params,
        seen=seen,
    )


def _own_retry(plan: Plan, results: tuple[int | None, ...]) -> tuple[int | None, ...]:
    if plan.last >= len(results) - 2:
        return ()
    last = [verb.partition("=")[0] for verb in plan.scenario.verbs[-2:]]
    return results[-2:] if last == ["load", "unload"] else ()


def _goto(event: Event) -> str:
    return f"{event[2]}:{(event[3] or {}).get('label')}"


class _Part:
    """Runs and judges a part of the matrix of one scenario."""

    def __init__(
        self, base: Scenario, blame: Blame, reached: Reached, other: _Part | None, watch: Watch | None
    ) -> None:
        self.base = base
        self.watch = watch
        self.backend = backends.load(base.backend)
        self.vocabulary = Vocabulary.of(self.backend)
        self.replay: Replay = Replay(base, self.backend, other.replay if other else None)
        self.blame = blame
        self.reached = reached
        self.mended: dict[str, Replay] = {}
        self.params = {
            name: modules.resolve(self.backend.modules, name)[1].set(text)
            for name, text in base.params.items()
        }
        self.rows: Rows = []

    def run(self, plan: Plan) -> None:
        """Make one row of the matrix."""
        trace, fired = self.replay.run(plan.scenario, plan.local)
        whole = plan.scenario
        builtin = self.backend.modules[-1].builtin
        more = () if builtin else tidied(trace, plan.last)
        if more:
            self.replay.go_on(trace, more)
            whole = whole.but(verbs=whole.verbs + more)
        indexed = indexes(trace, self.vocabulary)
        self.reached.add(trace, indexed)
        findings = judge_all(trace, self.vocabulary, indexed)
        if findings:
            findings = self.blame(
                findings,
                lambda commit: self._again(whole, plan.local, trace, findings, commit),
                fault=plan.text,
                command=command(whole),
            )
        seen = self.watch(plan, trace, findings, self.vocabulary) if self.watch else None
        row = row_of(plan, trace, fired, findings, indexed, self.params, seen)
        self.rows.append((plan.order, row))

    def _again(
        self, whole: Scenario, local: Local, trace: Trace, findings: list[Finding], commit: str
    ) -> list[Finding]:
        # What the judges find of the last run on a kernel that contains a commit.
        if not self.replay.asked(commit):
            return findings
        if commit not in self.mended:
            base = attrs.evolve(self.base, commits={**self.base.commits, commit: True})
            self.mended[commit] = Replay(base, self.backend, self.replay)
        other, _ = self.mended[commit].run(whole, local)
        same = len(trace.steps) == len(other.steps) and all(map(operator.is_, trace.steps, other.steps))
        return findings if same else judge_all(other, self.vocabulary)


# The rows of one scenario that one worker made, each with its place in the matrix.
Rows = list[tuple[tuple[int, int], Row]]


def rows_of(
    bases: Sequence[Scenario],
    wanted: slice,
    edges: bool,
    faults: int,
    progress: Callable[[int, int], None] | None = None,
    watch: Callable[[], Watch] | None = None,
) -> tuple[list[Rows], Reached]:
    """Run and judge a part of the matrix of each scenario; a worker process does this.

    The scenarios differ only by their parameters. Runs that have much in common are made one after the
    other, and what they have in common is forgotten with the last of them.

    Returns:
        The rows of each scenario, and what all of them reached.
    """
    parts: list[_Part] = []
    blame = Blame(bases[0].commits)
    reached = Reached(Vocabulary.of(backends.load(bases[0].backend)))
    watcher = watch() if watch else None
    alike: dict[Fault | None, list[tuple[_Part, Plan]]] = {}
    count = 0
    for base in bases:
        part = _Part(base, blame, reached, parts[0] if parts else None, watcher)
        parts.append(part)
        for plan in plans(base, part.backend, part.replay, edges=edges, faults=faults, wanted=wanted):
            alike.setdefault(plan.first, []).append((part, plan))
            count += 1
    done = 0
    for runs in alike.values():
        for part, plan in runs:
            part.run(plan)
        parts[0].replay.forget()
        done += len(runs)
        if progress:
            progress(done, count)
    return [part.rows for part in parts], reached


def run(
    bases: Iterable[Scenario],
    executor: Executor | None = None,
    *,
    jobs: int = 1,
    edges: bool = False,
    faults: int = 1,
    progress: Callable[[int, int], None] | None = None,
    watch: Callable[[], Watch] | None = None,
) -> Matrix:
    """Run and judge every fault of every scenario, or every pair of faults.

    Args:
        bases: the scenarios, without faults.
        executor: runs the rows in parts; None runs them here.
        jobs: in how many parts to split each scenario's rows.
        edges: of calls that are repeated for each CPU, fail only the first and the last.
        faults: how many faults a run has at most, 1 or 2.
        progress: is told now and then how much is done, and of how much: runs, or parts.
        watch: makes what keeps of each run what is to be in `Row.seen`; one for each part.

    Raises:
        Misuse: something in a scenario does not exist.
    """
    of_backend: dict[str, list[Scenario]] = {}
    for base in bases:
        of_backend.setdefault(base.backend, []).append(base)
    for name in of_backend:
        # What other processes send back names functions that this one must know.
        backends.load(name)
    parts = [(some, slice(n, None, jobs), edges, faults) for some in of_backend.values() for n in range(jobs)]
    done = []
    if executor:
        for n, future in enumerate([executor.submit(rows_of, *part, None, watch) for part in parts], 1):
            done.append(future.result())
            if progress:
                progress(n, len(parts))
    else:
        done += [rows_of(*part, progress, watch) for part in parts]
    rows: list[Row] = []
    reached: list[Reached] = []
    for n in range(0, len(done), jobs):
        of_one = done[n : n + jobs]
        # For each scenario the rows of every part.
        for found in zip(*(some for some, _ in of_one), strict=True):
            together = [one for some in found for one in some]
            rows += [row for _, row in sorted(together, key=operator.itemgetter(0))]
        seen, *others = (seen for _, seen in of_one)
        for other in others:
            seen.merge(other)
        reached.append(seen)
    labels: dict[str, int] = {}
    for seen in reached:
        for label, times in seen.labels.items():
            labels[label] = labels.get(label, 0) + times
    # What all backends share need be reached on one of them.
    names = {name for seen in reached for name in seen.names()}
    unreached = {name for seen in reached for name in seen.every() if name not in names}
    return Matrix(tuple(rows), dict(sorted(labels.items())), tuple(sorted(unreached)))
