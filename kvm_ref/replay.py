# SPDX-License-Identifier: GPL-2.0-only
"""Many runs of one scenario that share what they have in common.

The runs of a matrix differ by one fault. Up to the verb that the fault falls into, a run does what
the run without faults did; so it starts there, from a snapshot of that machine. After that verb,
if the machine is as some other run's was at the same point, the rest is that run's rest; the
model is deterministic, and equal snapshots have an equal future. What comes out is the same
trace, event for event, that `kvm_ref.scenario.run` gives.
"""

from __future__ import annotations

import attrs

from kvm_ref.backend import Backend
from kvm_ref.fault import Fault, Pending, arm
from kvm_ref.scenario import Scenario, machine, perform, record
from kvm_ref.trace import Step, Trace
from kvm_ref.vocabulary import Vocabulary


@attrs.frozen
class _Done:
    # What one verb did on a machine in one state: the step, its log lines, and the state after it,
    # which is None if the machine has stopped.
    step: Step
    log: list[str]
    after: bytes | None


class Replay:
    """Runs of one machine, each with at most one fault.

    Args:
        base: the machine and its parameters, without faults.
        backend: the backend that `base` names.
    """

    def __init__(self, base: Scenario, backend: Backend) -> None:
        self._vocabulary = Vocabulary.of(backend)
        self._k = machine(base, backend)
        self._fresh = self._k.snapshot()
        self._known: dict[tuple[bytes, str], _Done] = {}
        self._model = record(base, self._k, [], {})

    def _perform(self, verb: str) -> tuple[Step, bool]:
        self._k.log = []
        return perform(self._k, verb)

    def _step(self, state: bytes, verb: str) -> _Done:
        key = (state, verb)
        if key not in self._known:
            self._k.restore(state)
            step, alive = self._perform(verb)
            self._known[key] = _Done(step, self._k.log, self._k.snapshot() if alive else None)
        return self._known[key]

    def run(self, scenario: Scenario, number: int = 0, local: Fault | None = None) -> tuple[Trace, bool]:
        """Run a scenario of this machine.

        Args:
            scenario: what to run; its one fault is `local` told from the first verb on.
            number: the verb that the fault falls into, from 0.
            local: the fault, its calls counted from the beginning of that verb.

        Returns:
            The trace, without ``after``, and whether the fault fired.
        """
        k = self._k
        steps: list[Step] = []
        log: list[str] = []
        plan: list[Pending] = []
        # The state of the machine, or None if the machine itself is in that state now.
        state: bytes | None = self._fresh
        for n, verb in enumerate(scenario.verbs):
            faulty = local is not None and n == number
            # Taking a snapshot costs more than an unload that finds nothing to do.
            if state is None and not faulty and not verb.startswith("unload"):
                state = k.snapshot()
            if state is not None and not faulty:
                done = self._step(state, verb)
                step, alive, state = done.step, done.after is not None, done.after
                log += done.log
            else:
                if state is not None:
                    k.restore(state)
                    state = None
                if faulty:
                    plan = arm(k, [local] if local else [], self._vocabulary)
                step, alive = self._perform(verb)
                log += k.log
                k.armed = {}
            steps.append(step)
            if not alive:
                break
        trace = attrs.evolve(self._model, steps=steps, log=log, faults=[f.to_json() for f in scenario.faults])
        return trace, all(p.fired for p in plan)
