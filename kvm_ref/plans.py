# SPDX-License-Identifier: GPL-2.0-only
"""The runs of a matrix: every fault of a scenario, or every pair, and the way back to a clean machine.

A run without faults shows which calls can fail. With a fault in it, the run shows which calls can
fail after that: those of the way back, too.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping

import attrs

from kvm_ref.backend import Backend
from kvm_ref.fault import Fault
from kvm_ref.replay import Replay
from kvm_ref.scenario import Scenario
from kvm_ref.trace import Trace
from kvm_ref.vocabulary import Vocabulary

# Of each verb that a fault falls into, by number from 0: the faults, told from where that verb begins.
Local = Mapping[int, tuple[Fault, ...]]


@attrs.frozen
class Plan:
    """One run to be made.

    Attributes:
        text: the faults as text, "" for none.
        scenario: what to run.
        order: where the run stands in the matrix: by its first fault, then by its second.
        local: the faults, by the verb that they fall into.
        length: how many verbs there are besides those that make the fault.
    """

    text: str
    scenario: Scenario
    order: tuple[int, int] = (0, 0)
    local: Local = attrs.Factory(dict)
    length: int = 0

    @property
    def number(self) -> int:
        """The verb that the first fault falls into, or that follows those that make the fault."""
        return min(self.local) if self.local else len(self.scenario.verbs) - self.length

    @property
    def last(self) -> int:
        """The verb that the last fault falls into, or the last of those that make the fault."""
        return max(self.local) if self.local else self.number - 1

    @property
    def first(self) -> Fault | None:
        """The first fault, told from where its verb begins."""
        return self.local[self.number][0] if self.local else None


def scenarios(base: Scenario, backend: Backend) -> list[Scenario]:
    """Return a scenario for each value of `enable_virt_at_load`, if `base` leaves it open."""
    has = any(p.name == "enable_virt_at_load" for m in backend.modules for p in m.params)
    if not has or any(name.endswith("enable_virt_at_load") for name in base.params):
        return [base]
    return [attrs.evolve(base, params={**base.params, "enable_virt_at_load": v}) for v in ("1", "0")]


def faults_of(
    trace: Trace, vocabulary: Vocabulary, *, edges: bool = False, after: tuple[int, int] = (-1, -1)
) -> Iterator[tuple[Fault, int, Fault]]:
    """Yield every fault that a run shows to be possible, in order.

    Each comes with the verb that it falls into and with the same fault told from there. Calls that
    release are left out: they fail only where there is nothing to release.

    Args:
        trace: the run, a step for each verb.
        vocabulary: the functions that the trace names.
        edges: of calls that are repeated for each CPU, only the first and the last.
        after: the step and the place in it behind which the calls are.
    """
    hits = list(_hits(trace, vocabulary))
    cpus: dict[str, set[int]] = {}
    last: dict[tuple[object, ...], int] = {}
    for n, (function, cpu, _, can, place) in enumerate(hits):
        cpus.setdefault(function, set()).add(cpu)
        if can:
            last[place] = n
    count: dict[tuple[object, ...], int] = {}
    begun: set[tuple[object, ...]] = set()
    for n, (function, cpu, at, can, place) in enumerate(hits):
        number = at[0]
        where = cpu if len(cpus[function]) > 1 else None
        nth = count[function, where] = count.get((function, where), 0) + 1
        local = count[function, where, number] = count.get((function, where, number), 0) + 1
        if not can or at <= after or (edges and place in begun and last[place] != n):
            continue
        begun.add(place)
        facts = vocabulary[function]
        effects: list[str | None] = [None] if facts.fails else []
        if facts.effect:
            effects.append(f"system_state={facts.effect}")
        for effect in effects:
            fault = Fault(function, nth, where, effect=effect)
            yield fault, number, fault if nth == local else Fault(function, local, where, effect=effect)


# A call that can fail: the function, the CPU, the verb and the place in it, whether this call can, and
# where it stands.
_Hit = tuple[str, int, tuple[int, int], bool, tuple[object, ...]]


def _hits(trace: Trace, vocabulary: Vocabulary) -> Iterator[_Hit]:
    for number, step in enumerate(trace.steps):
        # Other tasks run while their caller waits, so one stack holds the calls of all.
        stack: list[str] = []
        for n, (kind, at, function, args, _) in enumerate(step.events or ()):
            if kind == "enter":
                facts = vocabulary.get(function)
                if facts and (facts.fails or facts.effect):
                    can = not facts.only_if or (args or {}).get(facts.only_if) not in (False, None, "NULL")
                    can = can and not facts.releases
                    yield function, at.cpu, (number, n), can, (number, function, *stack)
                stack.append(function)
            elif kind == "exit":
                stack.pop()


def plans(
    base: Scenario,
    backend: Backend,
    replay: Replay,
    *,
    edges: bool = False,
    faults: int = 1,
    wanted: slice = slice(None),
) -> Iterator[Plan]:
    """Yield every run of the matrix for one scenario; the first has no fault.

    Args:
        base: the scenario.
        backend: its backend.
        replay: runs it.
        edges: of calls that are repeated for each CPU, fail only the first and the last.
        faults: how many faults a run has at most, 1 or 2.
        wanted: of which first faults, in order.
    """
    for plan in list(_single(base, backend, replay, edges=edges))[wanted]:
        yield plan
        if faults > 1 and plan.local:
            for m, pair in enumerate(_pairs(plan, backend, replay, edges=edges), 1):
                yield attrs.evolve(pair, order=(plan.order[0], m))


def _single(base: Scenario, backend: Backend, replay: Replay, *, edges: bool) -> Iterator[Plan]:
    yield Plan("", base, length=len(base.verbs))
    clean, _ = replay.run(base)
    found = faults_of(clean, Vocabulary.of(backend), edges=edges)
    last = 0
    for last, (fault, number, local) in enumerate(found, 1):
        one = base.but(faults=(fault,))
        yield Plan(str(fault), one, order=(last, 0), local={number: (local,)})
    if type(backend).foreign_on is not Backend.foreign_on:
        online = base.cpus.online
        held = (online[0], online[-1]) if edges and len(online) > 1 else online
        for n, cpu in enumerate(held, last + 1):
            yield Plan(
                f"foreign-on={cpu}",
                base.but(verbs=(f"foreign-on={cpu}", *base.verbs)),
                order=(n, 0),
                length=len(base.verbs),
            )


def _pairs(plan: Plan, backend: Backend, replay: Replay, *, edges: bool) -> Iterator[Plan]:
    # The fault of a plan, together with every one that is possible behind it.
    trace, _ = replay.run(plan.scenario, plan.local)
    events = trace.steps[plan.number].events or []
    struck = next(n for n, event in enumerate(events) if event[0] == "inject")
    for fault, number, local in faults_of(
        trace, Vocabulary.of(backend), edges=edges, after=(plan.number, struck)
    ):
        both = {**plan.local, number: (*plan.local.get(number, ()), local)}
        yield Plan(
            f"{plan.text} {fault}",
            plan.scenario.but(faults=(*plan.scenario.faults, fault)),
            local=both,
        )


def tidied(trace: Trace, after: int) -> tuple[str, ...]:
    """Return the verbs that bring a machine back to where it was, and then load and unload once more.

    There are none if the machine has stopped, or if it loaded and unloaded cleanly at the end anyway.

    Args:
        trace: what came of it.
        after: the verb that the last fault fell into.
    """
    done = tuple([(step.verbs[0], step.results[0]) for step in trace.steps])
    return _tidied(done, after < len(done) - 2)


@functools.lru_cache(maxsize=1024)
def _tidied(done: tuple[tuple[str, int | None], ...], behind: bool) -> tuple[str, ...]:
    # `done` are the verbs with their results; the last two may be `behind` the fault. Few runs are not alike.
    steps = [(*verb.partition("=")[::2], result) for verb, result in done]
    if any(result is None for *_, result in steps) or not any(verb == "load" for verb, *_ in steps):
        return ()
    last = [(verb, result) for verb, _, result in steps[-2:]]
    if last == [("load", 0), ("unload", 0)] and behind:
        return ()
    loaded: list[str] = []
    count = {"vm": 0, "dev": 0}
    undone: dict[str, None] = {}
    for verb, argument, result in steps:
        name, _, what = verb.partition("-")
        if result != 0:
            continue
        if verb == "load":
            loaded.append(argument)
        elif verb == "unload" and argument in loaded:
            loaded.remove(argument)
        elif what in count:
            count[what] += 1 if name in ("create", "open") else -1
        elif verb in _UNDONE_BY:
            undone[f"{_UNDONE_BY[verb]}={argument}"] = None
        elif verb in _UNDONE_BY.values():
            undone.pop(f"{verb}={argument}", None)
    # CPUs come online before another hypervisor gives them back.
    out = ["close-vm"] * count["vm"] + ["close-dev"] * count["dev"] + sorted(undone, reverse=True)
    out += [f"unload={name}" if name else "unload" for name in reversed(loaded)]
    name = next(argument for verb, argument, _ in reversed(steps) if verb == "load")
    suffix = f"={name}" if name else ""
    return (*out, f"load{suffix}", f"unload{suffix}")


_UNDONE_BY = {"offline": "online", "foreign-on": "foreign-off"}
