# SPDX-License-Identifier: GPL-2.0-only
"""Many runs of one scenario that share what they have in common.

The runs of a matrix differ by a fault or two, by the parameters, or by a commit. What a verb does follows
from the state of the machine, from the faults that fall into it, and from those of the settings
that it asks for. So a verb is performed once, and taken from memory wherever all of these are the
same: what comes out is the same trace, event for event, that `kvm_ref.scenario.run` gives. What an earlier
life of a module left in its variables counts only where it is asked for (`kvm_ref.blanks`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import attrs

from kvm_ref.backend import Backend
from kvm_ref.blanks import Blanks
from kvm_ref.fault import Fault, arm
from kvm_ref.kernel import Statics
from kvm_ref.scenario import Scenario, machine, perform, record
from kvm_ref.snapshot import Snapshots, constants_of
from kvm_ref.trace import Event, Step, Trace
from kvm_ref.verbs import needs
from kvm_ref.vocabulary import Vocabulary


@attrs.define(eq=False, repr=False)
class _State:
    # A state of the machine: one object for each snapshot. Where nobody has needed that yet, a verb, with
    # faults, makes this state of another one. `blank` is the same state with blanks: itself if it has some,
    # and None if there are none to make, or nobody has `looked`.
    snapshot: bytes | None
    blank: _State | None = None
    looked: bool = False
    made: tuple[_State, str, tuple[Fault, ...]] | None = None


@attrs.define(eq=False, repr=False)
class _Done:
    # What one verb did: the step and its log lines, how many faults fired, the settings that were
    # asked for, with the answers, and the state after it, which is None if the machine has stopped. Nothing
    # of it counts if it asked for a blank.
    step: Step
    log: list[str]
    fired: int
    asked: Mapping[str, str | None]
    after: _State | None
    asked_blank: bool = False

    def holds(self, settings: Mapping[str, str]) -> bool:
        return all(settings.get(name) == value for name, value in self.asked.items())


# What is known of a verb on a machine in one state, by the fault that falls into it.
_Known = dict[tuple[Fault, ...], dict[tuple[_State, str], list[_Done]]]


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
        used, blanks, snapshots = (
            (other._used, other._blanks, other._snapshots) if other else _survey(base, backend)
        )
        self._used: list[type[Statics]] = used
        self._blanks: Blanks | None = blanks
        self._snapshots: Snapshots = snapshots
        self._states: dict[bytes, _State] = other._states if other else {}
        # Variables of the kernel come into being when they are first used. Here all that a run uses are
        # there from the start, so that a machine after a load and an unload may be as it was before.
        for statics in used:
            self._k[statics]
        self._now: _State | None = self._taken()
        self._fresh = self._now
        # The state that the last run ended in; None if the machine has stopped.
        self._ended: _State | None = self._fresh
        # What its verbs did.
        self._run: list[_Done] = []
        self._known: _Known = other._known if other else {}
        # The steps of verbs without faults, by verb and result, no two of them equal.
        self._steps: dict[tuple[str, int | None], list[Step]] = other._steps if other else {}
        # Of the verbs without faults those that were performed with the settings of this machine.
        self._clean: dict[tuple[_State, str], _Done] = {}

    def _step(self, state: _State, verb: str, faults: tuple[Fault, ...]) -> _Done:
        if faults or state.snapshot is None:
            return self._look_up(state, verb, faults)
        done = self._clean.get((state, verb))
        if done is None:
            done = self._clean[state, verb] = self._look_up(state, verb, ())
        return done

    def _look_up(self, state: _State, verb: str, faults: tuple[Fault, ...]) -> _Done:
        # What a verb does with blanks it does in all states that differ only by these. One that asks for a
        # blank without a fault is likely to do so with one.
        blank = self._blank(state)
        if not blank or blank is state or (faults and self._known_of(blank, verb, ()).asked_blank):
            return self._known_of(state, verb, faults)
        done = self._known_of(blank, verb, faults)
        if done.asked_blank:
            return self._known_of(state, verb, faults)
        after = done.after
        if after and after.blank is after:
            after = _State(None, after, True, (state, verb, faults))
        return done if after is done.after else _Done(done.step, done.log, done.fired, done.asked, after)

    def _known_of(self, state: _State, verb: str, faults: tuple[Fault, ...]) -> _Done:
        known = self._known.setdefault(faults, {}).setdefault((state, verb), [])
        for done in known:
            if done.holds(self._k.settings):
                break
        else:
            done = self._modprobe(state, verb, faults) or self._perform(state, verb, faults)
            known.append(done)
        if not faults:
            self._clean[state, verb] = done
        return done

    def forget(self) -> None:
        """Forget the verbs that faults fell into, here and where this is shared with."""
        clean = self._known.get((), {})
        self._known.clear()
        self._known[()] = clean

    def _blank(self, state: _State) -> _State | None:
        if self._blanks and not state.looked:
            self._put(state)
            state.looked = True
            if self._blanks.make(self._k):
                state.blank = self._now = self._taken()
                state.blank.blank = state.blank
                state.blank.looked = True
        return state.blank

    def _put(self, state: _State) -> None:
        # Put the machine into a state.
        if state.made:
            after = self._known_of(*state.made).after
            assert after
            self._put(after)
            state.snapshot, state.made = after.snapshot, None
        elif state is not self._now:
            assert state.snapshot
            self._snapshots.restore(self._k, state.snapshot)
        self._now = state

    def _taken(self) -> _State:
        # The state that the machine is in.
        snapshot = self._snapshots.take(self._k)
        state = self._states.get(snapshot)
        if state is None:
            state = self._states[snapshot] = _State(snapshot)
        return state

    def _modprobe(self, state: _State, verb: str, faults: tuple[Fault, ...]) -> _Done | None:
        # A verb that loads one module after the other, in parts: the last one may do in this state what it
        # does in others. None if there is but one, or if a fault may fall into the others.
        at = state
        events: list[Event] = []
        log: list[str] = []
        asked: dict[str, str | None] = {}
        for name in needs(self._k.arch, verb):
            done = self._step(at, f"load={name}", ())
            if done.after and done.step.results == [0]:
                at = done.after
                events += done.step.events or []
                log += done.log
                asked.update(done.asked)
        names = {event[2] for event in events}
        if at is state or any(f.function in names or f.function not in self._vocabulary for f in faults):
            return None
        clean = self._step(at, verb, ())
        done = self._step(at, verb, faults) if faults else clean
        step = Step([verb], done.step.results, events + (done.step.events or []))
        if not faults:
            step = self._same(step)
        elif done.step.alike:
            self._liken(step, state, verb, len(events) + done.step.alike[1])
        asked.update(done.asked)
        return _Done(step, log + done.log, done.fired, asked, done.after, done.asked_blank)

    def _perform(self, state: _State, verb: str, faults: tuple[Fault, ...]) -> _Done:
        k = self._k
        self._put(state)
        k.log = []
        k.asked = {}
        plan = arm(k, faults, self._vocabulary)
        if state.blank is state and self._blanks:
            done, blank = self._blanks.run(k, lambda: perform(k, verb))
        else:
            done, blank = perform(k, verb), False
        if done is None:
            self._now = None
            return _Done(Step([verb], [None], []), [], 0, k.asked, None, asked_blank=True)
        step, alive = done
        fired = [pending.place for pending in plan if pending.fired]
        if fired:
            self._liken(step, state, verb, min(fired))
        elif not faults:
            step = self._same(step)
        # A verb that was refused at once has changed nothing.
        if step.events or step.results == [0]:
            self._now = self._taken()
            if blank:
                self._now.blank, self._now.looked = self._now, True
        else:
            self._now = state
        return _Done(step, k.log, len(fired), k.asked, self._now if alive else None)

    def _same(self, step: Step) -> Step:
        # A verb does the same in many states: let judges look at it once.
        known = self._steps.setdefault((step.verbs[0], step.results[0]), [])
        for other in known:
            if other.events == step.events:
                return other
        known.append(step)
        return step

    def _liken(self, step: Step, state: _State, verb: str, struck: int) -> None:
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
        self._run = []
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
            self._run.append(done)
            self._ended = done.after
        return fired

    def asked(self, name: str) -> bool:
        """Say whether the last run asked for a setting; if not, it is the same whatever that is."""
        return any(name in done.asked for done in self._run)


def _survey(base: Scenario, backend: Backend) -> tuple[list[type[Statics]], Blanks | None, Snapshots]:
    # Which variables of the kernel a run uses, which of modules may be blank, and what snapshots are taken with.
    k = machine(base, backend)
    constants: list[object] = []
    for verb in dict.fromkeys(base.verbs):
        perform(k, verb)
        constants += constants_of(k)
    used = [statics for statics in k.statics if statics.module is None]
    needed = dict.fromkeys(name for verb in base.verbs for name in needs(backend, verb))
    if not needed:
        return used, None, Snapshots(constants)
    other = machine(base, backend)
    for name in needed:
        perform(other, f"load={name}")
    blanks = Blanks(k, other)
    blanks.make(k)
    return used, blanks, Snapshots(constants + constants_of(k))
