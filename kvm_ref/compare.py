# SPDX-License-Identifier: GPL-2.0-only
"""Two traces of one scenario, laid side by side.

The log of a real kernel sees some functions only, under their built names. So both traces are
projected: an event stays if both sources could see its function, under its built name, or if it tells
of a fault. Two events
are equal if they are of the same kind, by the same role (the user's task, a CPU's hotplug thread,
an interrupt), on the same CPU, in the same function, with the same value, and with the same arguments as far as both
tell them and they are no names of resources. A value that a source does not know (null) equals any. What interrupts do on many CPUs at once while the machine goes down has
no order between CPUs; it is compared CPU by CPU.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import attrs

from kvm_ref import backend as backends
from kvm_ref.fault import Fault
from kvm_ref.linux.cpumask import NR_CPUS, parse_list
from kvm_ref.scenario import Cpus, Scenario, run
from kvm_ref.text import errno_name
from kvm_ref.trace import Event, Step, Trace, TraceError, whole_number
from kvm_ref.vocabulary import Vocabulary

CONTEXT = 4
# Verbs that end in on_each_cpu().
_AT_ONCE = frozenset({"reboot", "poweroff", "halt", "kexec"})

# (kind, role, cpu, function, value or label, what else is compared of it)
Seen = tuple[str, str, int, str, object, Mapping[str, object]]
# Arguments that mean the same to every source. Names of resources do not: a log numbers them in its own way.
_ARGS = frozenset(
    {"bringup", "callback", "cpu", "invoke", "minor", "on_cpu", "state", "step", "target", "type"}
)


@attrs.frozen
class Difference:
    """Where two traces part: what the first holds there, what the second."""

    where: str
    first: str
    second: str
    context: tuple[str, ...] = ()


@attrs.frozen
class Comparison:
    """How many events are equal, and the first difference if there is one.

    `note` says what the trace states of itself that is not so.
    """

    equal: int
    steps: int
    difference: Difference | None
    unrecorded: int = 0
    note: str = ""


def scenario_of(trace: Trace) -> Scenario:
    """Return the scenario that a trace tells of.

    Raises:
        TraceError: the trace does not say enough.
    """
    try:
        return Scenario(
            backend=str(trace.source["backend"]),
            verbs=tuple(verb for step in trace.steps for verb in step.verbs),
            cpus=_cpus(trace.machine),
            params={name: _param(value) for name, value in trace.params.items()},
            commits=dict(trace.source.get("commits") or {}),
            faults=tuple(Fault.from_json(f) for f in trace.faults),
            features={name: bool(on) for name, on in (trace.machine.get("features") or {}).items()},
        )
    except KeyError as error:
        raise TraceError(f"the trace lacks {error.args[0]!r}: its scenario is unknown") from None
    except (TypeError, ValueError, AttributeError, OverflowError) as error:
        raise TraceError(f"the trace's scenario is malformed: {error}") from None


def _cpus(machine: dict[str, Any]) -> Cpus:
    if "possible" in machine:
        return Cpus(*(parse_list(machine[mask]) for mask in ("possible", "present", "online")))
    count = whole_number(machine["cpus"], "cpus")
    if not 1 <= count <= NR_CPUS:
        raise ValueError(f"{count} CPUs, expected 1 to {NR_CPUS}")
    return Cpus.of(tuple(range(count)))


def _param(value: object) -> str:
    return str(int(value)) if isinstance(value, bool) else str(value)


def against_model(trace: Trace, params: Mapping[str, str]) -> Comparison:
    """Run a trace's scenario in the model and compare; `params` override those of the trace.

    Raises:
        TraceError: the trace does not say what to run.
        Misuse: it names a verb, function or backend that does not exist.
    """
    scenario = scenario_of(trace)
    scenario = attrs.evolve(scenario, params={**scenario.params, **params})
    found = _against(trace, scenario)
    if trace.observed is None or found.difference is None:
        return found
    stated = trace.params.get("enable_virt_at_load")
    if isinstance(stated, bool) and not params:
        # The log of a kernel says itself whether loading enabled virtualization.
        other = {**scenario.params, "enable_virt_at_load": _param(not stated)}
        again = _against(trace, attrs.evolve(scenario, params=other))
        if again.difference is None:
            return attrs.evolve(
                again, note=f"mislabelled, its events are those of enable_virt_at_load={_param(not stated)}"
            )
    before = sum(
        len(step.verbs) for step in itertools.takewhile(lambda step: step.events is None, trace.steps)
    )
    if before and scenario.faults:
        # What makes calls fail may have been put in when the recording began.
        again = _against(trace, scenario, before + 1)
        if again.difference is None:
            return attrs.evolve(again, note=f"its faults count calls from verb {before + 1} on")
    return found


def _against(trace: Trace, scenario: Scenario, armed_at: int = 1) -> Comparison:
    done = run(scenario, armed_at=armed_at)
    model = attrs.evolve(done.trace, steps=regroup(done.trace.steps, [len(s.verbs) for s in trace.steps]))
    found = compare(trace, model)
    if found.difference is None and done.idle:
        idle = ", ".join(str(f) for f in done.idle)
        found = attrs.evolve(found, difference=Difference("faults", "fired", f"never fired: {idle}"))
    return found


def regroup(steps: Iterable[Step], sizes: list[int]) -> list[Step]:
    """Put steps of one verb each together into steps of as many verbs as `sizes` says."""
    steps = iter(steps)
    out = []
    for size in sizes:
        parts = list(itertools.islice(steps, size))
        out.append(
            Step(
                verbs=[v for p in parts for v in p.verbs],
                results=[r for p in parts for r in p.results],
                events=[e for p in parts for e in p.events or ()],
            )
        )
    return out


def compare(first: Trace, second: Trace) -> Comparison:
    """Compare two traces of one scenario, step by step.

    Raises:
        TraceError: the log of a kernel does not say which backend ran.
        Misuse: there is no such backend.
    """
    see_first, see_second = _projections(first, second)
    if [s.verbs for s in first.steps] != [s.verbs for s in second.steps]:
        return Comparison(
            0, 0, Difference("verbs", _words(first), _words(second)),
        )  # fmt: skip
    equal = unrecorded = 0
    for number, (a, b) in enumerate(zip(first.steps, second.steps, strict=True), 1):
        where = f"step {number} of {len(first.steps)} ({' '.join(a.verbs)})"
        if a.events is None or b.events is None:
            unrecorded += 1
        else:
            seen_a = see_first(a.events)
            seen_b = see_second(b.events)
            if any(verb in _AT_ONCE for verb in a.verbs):
                seen_a, seen_b = _by_cpu(seen_a), _by_cpu(seen_b)
            difference = _first_difference(where, seen_a, seen_b)
            if difference:
                return Comparison(equal, number, difference, unrecorded)
            equal += len(seen_a)
        if a.results != b.results:
            return Comparison(
                equal, number, Difference(f"{where}, results", _results(a), _results(b)), unrecorded
            )
    left = _left_behind(first, second)
    return Comparison(equal, len(first.steps), left, unrecorded)


def _words(trace: Trace) -> str:
    return " | ".join(" ".join(s.verbs) for s in trace.steps)


def _results(step: Step) -> str:
    return " ".join(errno_name(r) for r in step.results)


def _projections(first: Trace, second: Trace) -> tuple[Callable[[Iterable[Event]], list[Seen]], ...]:
    # What each trace shows of the events that both could see.
    whole = first.observed is None and second.observed is None
    common: set[str] | None = None
    for trace in (first, second):
        if trace.observed is not None:
            common = set(trace.observed) if common is None else common & set(trace.observed)

    def projection(trace: Trace) -> Callable[[Iterable[Event]], list[Seen]]:
        if whole:
            return _whole
        if "backend" not in trace.source:
            raise TraceError("a trace lacks 'backend' in its source: its functions' built names are unknown")
        vocabulary = Vocabulary.of(backends.load(str(trace.source["backend"])))
        built = trace.observed is not None

        def see(events: Iterable[Event]) -> list[Seen]:
            seen: list[Seen] = []
            callers: dict[tuple[str, int, int], str] = {}
            for kind, at, function, args, value in events:
                if kind not in ("enter", "exit", "inject"):
                    continue
                if kind == "enter":
                    callers[at.task, at.cpu, at.depth] = function
                facts = vocabulary.get(function)
                symbol = facts.symbol if facts else function
                if kind != "inject" and common is not None and symbol not in common:
                    continue
                caller = callers.get((at.task, at.cpu, at.depth - 1))
                if facts and not built and caller in facts.inlined_into:
                    continue
                seen.append((kind, role(at.task), at.cpu, symbol, value, _compared(args)))
            return seen

        return see

    return projection(first), projection(second)


def _whole(events: Iterable[Event]) -> list[Seen]:
    return [
        (kind, at.task, at.cpu, function, (args or {}).get("label") if kind == "goto" else value, args or {})
        for kind, at, function, args, value in events
    ]


def role(task: str) -> str:
    """Return what a task is for: a hotplug thread, an interrupt, or the user's command."""
    return task if task == "ipi" or task.startswith("cpuhp/") else "user"


def _by_cpu(seen: list[Seen]) -> list[Seen]:
    # Interrupts after everything else, those of each CPU together.
    return sorted(seen, key=lambda s: (1, s[2]) if s[1] == "ipi" else (0, 0))


def _same(a: Seen, b: Seen) -> bool:
    if a[:4] != b[:4] or not (a[4] is None or b[4] is None or a[4] == b[4]):
        return False
    return all(a[5][key] == b[5][key] for key in a[5].keys() & b[5].keys())


def _compared(args: dict[str, object] | None) -> Mapping[str, object]:
    return {
        key: value for key, value in (args or {}).items() if key in _ARGS and isinstance(value, (int, str))
    }


def _first_difference(where: str, a: list[Seen], b: list[Seen]) -> Difference | None:
    for n in range(max(len(a), len(b))):
        if n < len(a) and n < len(b) and _same(a[n], b[n]):
            continue
        return Difference(
            where=f"{where}, event {n + 1} of {len(a)}",
            first=show(a[n]) if n < len(a) else "(ends here)",
            second=show(b[n]) if n < len(b) else "(ends here)",
            context=tuple(show(s) for s in a[max(0, n - CONTEXT) : n]),
        )
    return None


def show(seen: Seen) -> str:
    """Write one projected event in a line."""
    kind, task, cpu, function, value, args = seen
    shown = ", ".join(f"{key}={args[key]}" for key in sorted(args) if key in _ARGS)
    text = f"{cpu:>3}  {task:<9} {kind:<6} {function}" + (f"({shown})" if shown else "")
    return text if value is None else f"{text} = {value}"


def _left_behind(first: Trace, second: Trace) -> Difference | None:
    # Names of moments differ between sources. Each moment of the first must be found, in order,
    # among those of the second; the last one is always the last, unless the machine has stopped and
    # nobody could look any more.
    stopped = None in first.steps[-1].results
    moments = list(second.after.items())
    at = 0
    for n, (name, state) in enumerate(first.after.items()):
        candidates = moments[-1:] if n == len(first.after) - 1 and not stopped else moments[at:]
        match = next((m for m in candidates if _agree(state, m[1])), None)
        if match is None:
            nearest = candidates[0][1] if candidates else {}
            differing = sorted(k for k in state.keys() & nearest.keys() if state[k] != nearest[k])
            return Difference(
                where=f"what is left at {name!r}",
                first=", ".join(f"{k}={state[k]}" for k in differing),
                second=", ".join(f"{k}={nearest[k]}" for k in differing) or "no such moment",
            )
        at = moments.index(match) + 1
    return None


def _agree(a: dict[str, object], b: dict[str, object]) -> bool:
    return all(a[key] == b[key] for key in a.keys() & b.keys())
