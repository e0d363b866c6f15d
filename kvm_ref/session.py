# SPDX-License-Identifier: GPL-2.0-only
"""One machine that is told what to do verb by verb, with faults put in on the way.

What was done so far is a scenario at any time: the faults of each verb, counted by who gave them from
that verb on, are counted there from the first.
"""

from __future__ import annotations

import attrs

from kvm_ref import backend as backends
from kvm_ref import scenario as scenarios
from kvm_ref.backend import Backend
from kvm_ref.fault import Fault, arm
from kvm_ref.fault import parse as parse_fault
from kvm_ref.judged import Judged, judge
from kvm_ref.misuse import Misuse
from kvm_ref.scenario import Run, Scenario
from kvm_ref.trace import Step, Trace
from kvm_ref.verbs import check_verb
from kvm_ref.vocabulary import Vocabulary


class Session:
    """A machine of a backend, on which nothing has run.

    Args:
        base: the machine; its verbs and faults are not run.
        backend: the backend, if it is none that is installed.

    Raises:
        Misuse: something in the scenario does not exist.
    """

    def __init__(self, base: Scenario, backend: Backend | None = None) -> None:
        self.backend = backend or backends.load(base.backend)
        self.vocabulary = Vocabulary.of(self.backend)
        self._base = attrs.evolve(base, verbs=(), faults=())
        self._k = scenarios.machine(base, self.backend)
        self._steps: list[Step] = []
        self._verbs: list[str] = []
        self._faults: list[Fault] = []
        self._after = {"before": scenarios.look(self._k)}
        self.alive = True

    def do(self, verb: str, *faults: Fault | str) -> int | None:
        """Run a verb.

        Args:
            verb: as ``kvm-ref run`` takes it.
            faults: calls to fail in it, counted from its beginning; as text, or as values.

        Returns:
            What the user gets: 0, a negative errno, or None if the machine has stopped.

        Raises:
            Misuse: there is no such verb or fault, the machine has stopped before, or a fault never fired.
        """
        if not self.alive:
            raise Misuse(f"{verb!r} cannot be run: the machine has stopped")
        idle = self.attempt(verb, *faults)
        if idle:
            raise Misuse(f"the fault {' '.join(map(str, idle))} never fired in {verb!r}")
        return self._steps[-1].results[0]

    def attempt(self, verb: str, *faults: Fault | str) -> tuple[Fault, ...]:
        """Run a verb, and return those of its faults that never fired; they are as if not given.

        Raises:
            Misuse: there is no such verb or fault.
        """
        possible = self._base.cpus.possible
        check_verb(verb, self.backend, possible)
        plan = tuple(parse_fault(fault) if isinstance(fault, str) else fault for fault in faults)
        scenarios.check_plan(plan, self.vocabulary, possible)
        armed = arm(self._k, plan, self.vocabulary)
        step, self.alive = scenarios.perform(self._k, verb)
        idle = scenarios.idle(armed)
        self._faults += [self._since_the_first_verb(fault) for fault in plan if fault not in idle]
        self._steps.append(step)
        self._verbs.append(verb)
        self._after[f"{len(self._steps)} {verb}"] = scenarios.look(self._k)
        return idle

    def _since_the_first_verb(self, fault: Fault) -> Fault:
        facts = self.vocabulary.get(fault.function)
        names = {facts.name} if facts else {f.name for f in self.vocabulary.built(fault.function)}
        earlier = sum(
            kind == "enter" and function in names and fault.cpu in (None, at.cpu)
            for step in self._steps
            for kind, at, function, _, _ in step.events or ()
        )
        return attrs.evolve(fault, nth=fault.nth + earlier)

    @property
    def scenario(self) -> Scenario:
        """What was done so far, as one would run it at once."""
        return attrs.evolve(self._base, verbs=tuple(self._verbs), faults=tuple(self._faults))

    @property
    def trace(self) -> Trace:
        """What happened so far."""
        return scenarios.record(self.scenario, self._k, list(self._steps), dict(self._after))

    def judge(self) -> Judged:
        """Return what was done so far with what the judges find in it."""
        return judge(Run(self.scenario, self.trace, ()), self.backend)
