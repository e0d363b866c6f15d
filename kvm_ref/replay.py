# SPDX-License-Identifier: GPL-2.0-only
"""Many runs of one scenario that share what they have in common.

The runs of a matrix differ by a fault or two, by the parameters, or by a commit. What a verb does follows
from the state of the machine, from the faults that fall into it, and from those of the settings
that it asks for. So a verb is performed once, and taken from memory wherever all of these are the
same: what comes out is the same trace, event for event, that `kvm_ref.scenario.run` gives.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import attrs

from kvm_ref.backend import Backend
from kvm_ref.fault import Fault, arm
from kvm_ref.kernel import Statics
from kvm_ref.scenario import Scenario, machine, perform, record
from kvm_ref.snapshot import Snapshots, constants_of
from kvm_ref.trace import Step, Trace
from kvm_ref.vocabulary import Vocabulary


@attrs.frozen
class _Done:
    # What one verb did: the step and its log lines, how many faults fired, the settings that were
    # asked for, with the answers, and the state after it, which is None if the machine has stopped.
    step: Step
    log: list[str]
    fired: int
    asked: Mapping[str, str | None]
    after: bytes | None

    def holds(self, settings: Mapping[str, str]) -> bool:
        return all(settings.get(name) == value for name, value in self.asked.items())


# What is known of a verb on a machine in one state, by the fault that falls into it.
_Known = dict[tuple[Fault, ...], dict[tuple[bytes, str], list[_Done]]]


class Replay:
    """Runs of one machine.

    Args:
        base: the machine and its parameters, without faults.
        backend: the backend that `base` names.
        other: a replay of a machine that differs only by parameters and commits, to share with.
    """

    def __init__(self, base: Scenario, backend: Backend, other: Replay | None = None) -> None:
        self._vocabulary = Vocabulary.of(backend)
        self._k = machine(base, backend)
        self._model = record(base, self._k, [], {})
        used, snapshots = (other._used, other._snapshots) if other else _survey(base, backend)
        self._used: list[type[Statics]] = used
        self._snapshots: Snapshots = snapshots
        # Variables of the kernel come into being when they are first used. Here all that a run uses are
        # there from the start, so that a machine after a load and an unload may be as it was before.
        for statics in used:
            self._k[statics]
        self._fresh = self._now = snapshots.take(self._k)
        # The state that the last run ended in; None if the machine has stopped.
        self._ended: bytes | None = self._fresh
        self._known: _Known = other._known if other else {}
        # The steps of verbs without faults, by verb and result, no two of them equal.
        self._steps: dict[tuple[str, int | None], list[Step]] = other._steps if other else {}
        # Of the verbs without faults those that were performed with the settings of this machine.
        self._clean: dict[tuple[bytes, str], _Done] = {}

    def _step(self, state: bytes, verb: str, faults: tuple[Fault, ...]) -> _Done:
        if faults:
            return self._look_up(state, verb, faults)
        done = self._clean.get((state, verb))
        if done is None:
            done = self._clean[state, verb] = self._look_up(state, verb, ())
        return done

    def _look_up(self, state: bytes, verb: str, faults: tuple[Fault, ...]) -> _Done:
        known = self._known.setdefault(faults, {}).setdefault((state, verb), [])
        for done in known:
            if done.holds(self._k.settings):
                return done
        known.append(self._perform(state, verb, faults))
        return known[-1]

    def forget(self) -> None:
        """Forget the verbs that faults fell into, here and where this is shared with."""
        clean = self._known.get((), {})
        self._known.clear()
        self._known[()] = clean

    def _perform(self, state: bytes, verb: str, faults: tuple[Fault, ...]) -> _Done:
        k = self._k
        if state != self._now:
            self._snapshots.restore(k, state)
        k.log = []
        k.asked = {}
        plan = arm(k, faults, self._vocabulary)
        step, alive = perform(k, verb)
        fired = [pending.place for pending in plan if pending.fired]
        if fired:
            self._liken(step, state, verb, min(fired))
        elif not faults:
            step = self._same(step)
        # A verb that was refused at once has changed nothing.
        self._now = self._snapshots.take(k) if step.events or step.results == [0] else state
        return _Done(step, k.log, len(fired), k.asked, self._now if alive else None)

    def _same(self, step: Step) -> Step:
        # A verb does the same in many states: let judges look at it once.
        known = self._steps.setdefault((step.verbs[0], step.results[0]), [])
        for other in known:
            if other.events == step.events:
                return other
        known.append(step)
        return step

    def _liken(self, step: Step, state: bytes, verb: str, struck: int) -> None:
        # Until its first fault a verb does what it does without one: let both have the same events, so
        # that what judges note of them is noted once.
        clean = self._clean.get((state, verb))
        if clean and clean.step.events and step.events:
            step.events[:struck] = clean.step.events[:struck]
            step.alike = (clean.step, struck)

    def run(
        self, scenario: Scenario, local: Mapping[int, tuple[Fault, ...]] | None = None
    ) -> tuple[Trace, bool]:
        """Run a scenario of this machine.

        Args:
            scenario: what to run; its faults are those of `local`, told from the first verb on.
            local: of each verb that faults fall into, by number from 0: the faults, their calls
                counted from the beginning of that verb.

        Returns:
            The trace, without ``after``, and whether all faults fired.
        """
        model = self._model
        trace = Trace(
            source=model.source,
            machine=model.machine,
            params=model.params,
            faults=[f.to_json() for f in scenario.faults],
            steps=[],
        )
        self._ended = self._fresh
        fired = self._add(trace, scenario.verbs, local or {})
        return trace, fired == sum(map(len, local.values())) if local else True

    def go_on(self, trace: Trace, verbs: Iterable[str]) -> None:
        """Add what more verbs do to the trace of the last run, on the machine as that run left it."""
        self._add(trace, verbs, {})

    def _add(self, trace: Trace, verbs: Iterable[str], local: Mapping[int, tuple[Fault, ...]]) -> int:
        fired = 0
        for n, verb in enumerate(verbs):
            if self._ended is None:
                break
            done = self._step(self._ended, verb, local.get(n, ()))
            trace.steps.append(done.step)
            trace.log += done.log
            fired += done.fired
            self._ended = done.after
        return fired


def _survey(base: Scenario, backend: Backend) -> tuple[list[type[Statics]], Snapshots]:
    # Which variables of the kernel a run uses, and what snapshots of it are taken with.
    k = machine(base, backend)
    constants: list[object] = []
    for verb in dict.fromkeys(base.verbs):
        perform(k, verb)
        constants += constants_of(k)
    return [statics for statics in k if statics.module is None], Snapshots(constants)
