# SPDX-License-Identifier: GPL-2.0-only
"""A run together with what all judges find in it, and which commit mends that."""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from kvm_ref import backend as backends
from kvm_ref.backend import Backend
from kvm_ref.blame import Blame
from kvm_ref.fault import Fault
from kvm_ref.judges import Finding, judge_all
from kvm_ref.reproduce import command
from kvm_ref.scenario import Run, Scenario, run
from kvm_ref.trace import Trace
from kvm_ref.vocabulary import Vocabulary


@attrs.frozen
class Judged:
    """A run that was judged.

    Attributes:
        run: the run.
        findings: what the judges found, each with the commit that mends it and a command that shows it.
    """

    run: Run
    findings: tuple[Finding, ...]

    @property
    def scenario(self) -> Scenario:
        """What was run."""
        return self.run.scenario

    @property
    def trace(self) -> Trace:
        """What happened."""
        return self.run.trace

    @property
    def results(self) -> tuple[int | None, ...]:
        """What each verb gave the user: 0, a negative errno, or None where the machine stopped."""
        return tuple(result for step in self.trace.steps for result in step.results)

    @property
    def idle(self) -> tuple[Fault, ...]:
        """The faults that never fired."""
        return self.run.idle

    @property
    def command(self) -> str:
        """The command that makes this run again."""
        return command(self.scenario)


def judge(done: Run, backend: Backend | None = None) -> Judged:
    """Ask all judges, and make the run again on newer kernels where they find something."""
    scenario = done.scenario
    backend = backend or backends.load(scenario.backend)
    vocabulary = Vocabulary.of(backend)

    def again(commit: str) -> Sequence[Finding]:
        mended = attrs.evolve(scenario, commits={**scenario.commits, commit: True})
        return judge_all(run(mended, backend).trace, vocabulary)

    found = Blame(scenario.commits)(
        judge_all(done.trace, vocabulary),
        again,
        fault=" ".join(map(str, scenario.faults)),
        command=command(scenario),
    )
    return Judged(done, tuple(found))
