# SPDX-License-Identifier: GPL-2.0-only
"""What the model does in each of its functions, at every fault: collected from its runs."""

from __future__ import annotations

import functools
import operator
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import attrs

from kvm_ref.backend import Backend
from kvm_ref.errno import KernelError
from kvm_ref.plans import Plan, plans
from kvm_ref.replay import Replay
from kvm_ref.scenario import Scenario, run
from kvm_ref.trace import Step
from kvm_ref.tree.cases import Cases
from kvm_ref.tree.stages import staged

# Together these come through every function of the model; each call in them that can fail fails once.
LIFE = ("load", "create-vm", "offline=1", "online=1", "suspend", "close-vm", "unload", "load", "unload")
# What is refused, or done for the second time.
_AGAIN = (
    "load",
    "load",
    "offline=3",
    "offline=3",
    "offline=2",
    "offline=1",
    "offline=0",
    "online=1",
    "online=1",
)
_WORDS = re.compile(r"[a-z]+|[0-9]+")


class Evidence:
    """The bodies of all functions of one backend.

    Attributes:
        cases: for each function the different things that it does.
        locks: the names of all locks that were taken.
    """

    def __init__(
        self,
        backend: Backend,
        verbs: Sequence[str] = LIFE,
        commits: Mapping[str, bool] | None = None,
        *,
        faults: bool = True,
    ) -> None:
        self.backend = backend
        self._cases = Cases()
        self.cases = self._cases.found
        self.locks = self._cases.locks
        self.runs = 0
        base = Scenario(backend.name, tuple(verbs), commits=dict(commits or {}))
        if not faults:
            self._clean(base)
            return
        self._matrix(base)
        for other in _others(base, backend):
            if self._does_more(other) and other.params:
                for features in _flipped(backend):
                    self._does_more(attrs.evolve(other, features=features))
        for step in staged(base, backend):
            self._cases.add(step, "")

    def _does_more(self, scenario: Scenario) -> bool:
        # A machine that calls more than those before can fail in more ways.
        known = {name: set(cases) for name, cases in self.cases.items()}
        self._clean(scenario)
        more = self.cases.keys() - known.keys()
        for name in known:
            new = self.cases[name].keys() - known[name]
            most = _calls(known[name]) if new else Counter()
            more |= (_calls(new) - most).keys()
        if more:
            self._matrix(scenario, only=frozenset(more))
        return bool(more)

    def _clean(self, scenario: Scenario) -> None:
        # One run without a fault.
        self.runs += 1
        for step in run(scenario, self.backend).trace.steps:
            self._cases.add(step, "")

    def _matrix(self, base: Scenario, *, only: frozenset[str] | None = None) -> None:
        # Every fault, or those of some functions only.
        backend = self.backend
        replay = Replay(base, backend)
        seen: dict[int, Step] = {}
        last = None
        for plan in plans(base, backend, replay):
            if only and (plan.first is None or plan.first.function not in only):
                continue
            if last is not None and plan.first != last:
                replay.forget()
            last = plan.first
            self._run(replay, plan, seen)

    def _run(self, replay: Replay, plan: Plan, seen: dict[int, Step]) -> None:
        trace, _ = replay.run(plan.scenario, plan.local)
        self.runs += 1
        for step in trace.steps:
            # Runs share steps; one that is kept is not seen again under another's number.
            if id(step) not in seen:
                seen[id(step)] = step
                self._cases.add(step, plan.text)


def _others(base: Scenario, backend: Backend) -> Iterator[Scenario]:
    # Machines with other features and parameters, and verbs that are refused.
    yield attrs.evolve(base, verbs=_AGAIN)
    short = attrs.evolve(base, verbs=("load", "unload"))
    for features in _flipped(backend):
        yield attrs.evolve(short, features=features)
    for module in backend.modules:
        for param in module.params:
            for value in _WORDS.findall(param.expects):
                try:
                    differs = param.set(value) != param.initial
                except KernelError:
                    continue
                if differs:
                    yield attrs.evolve(short, params={param.key: value})


def _calls(bodies: Iterable[tuple[Any, ...]]) -> Counter[str]:
    # How often each function is called in a body at most.
    counts = (Counter(name for kind, name, _ in items if kind == "call") for items, _ in bodies)
    return functools.reduce(operator.or_, counts, Counter())


def _flipped(backend: Backend) -> Iterator[dict[str, bool]]:
    # Each feature otherwise than usual. A real-time kernel is another configuration, not another machine.
    for name, on in backend.features.items():
        if name != "preempt_rt":
            yield {name: not on}
