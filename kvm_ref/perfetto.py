# SPDX-License-Identifier: GPL-2.0-only
"""A trace as Chrome trace events, which Perfetto (ui.perfetto.dev) and chrome://tracing open.

A CPU is a thread there; a task of it, such as ``cpuhp/1``, is named in the arguments of its calls. A
callback on another CPU is a flow: an arrow from the call that waits for it. Faults, gotos, warnings and
register writes are instants; a lock is a span from lock to unlock, and so is a verb. The model has no
clock: each event takes one microsecond, so that a length is a number of events.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from kvm_ref.judges.finding import Finding
from kvm_ref.text import errno_name, injected, verdict
from kvm_ref.trace import Event, Step, Trace

# Two processes: the machine, whose threads are its CPUs, and who sits before it.
_MACHINE, _USER = 1, 2
# Threads have numbers of their own, and 0 would be the idle one.
_VERBS = 1 << 20


def _thread(cpu: int) -> int:
    return cpu + 1


def to_json(trace: Trace, findings: Sequence[Finding] = ()) -> dict[str, Any]:
    """Return a trace as the object that ``json.dump`` takes: Chrome's JSON Object Format.

    Args:
        trace: the trace; steps whose events were not recorded take one microsecond.
        findings: what the judges found in it, told beside the events.
    """
    return {
        "displayTimeUnit": "ns",
        "otherData": {
            "clock": "one microsecond an event: the model has no time",
            "source": trace.source,
            "machine": trace.machine,
            "params": trace.params,
            "faults": trace.faults,
            "findings": [f.to_json() for f in findings],
        },
        "traceEvents": [*_names(trace), *_Writer().steps(trace.steps)],
    }


def _names(trace: Trace) -> Iterator[dict[str, Any]]:
    source = trace.source
    cpus = sorted({event[1].cpu for event in trace.events()})
    yield _name(
        "process_name", _MACHINE, _thread(0), f"{source.get('backend')}, Linux {source.get('kernel')}"
    )
    yield _name("process_name", _USER, _VERBS, "user")
    yield _name("thread_name", _USER, _VERBS, "verbs")
    for cpu in cpus:
        thread = _thread(cpu)
        yield _name("thread_name", _MACHINE, thread, f"CPU {cpu}")
        yield {
            "ph": "M",
            "name": "thread_sort_index",
            "pid": _MACHINE,
            "tid": thread,
            "args": {"sort_index": cpu},
        }


def _name(what: str, process: int, thread: int, name: str) -> dict[str, Any]:
    return {"ph": "M", "name": what, "pid": process, "tid": thread, "args": {"name": name}}


class _Writer:
    # Turns events into Chrome's, each a microsecond after the one before.
    def __init__(self) -> None:
        self.now = 0
        self.flows = 0
        self.spans = 0
        # The calls that are open: a caller waits for what it has run elsewhere, so one stack holds all.
        self.open: list[Event] = []
        self.held: dict[str, list[int]] = {}

    def steps(self, steps: Sequence[Step]) -> Iterator[dict[str, Any]]:
        for step in steps:
            begin = self.now
            inner = [one for event in step.events or () for one in self._event(event)]
            # A machine that stopped has left its calls open.
            while self.open:
                inner += self._end(self.open[-1], {})
            self.now = max(self.now, begin + 1)
            yield {
                "ph": "X",
                "name": verdict(step),
                "cat": "verb",
                "ts": begin,
                "dur": self.now - begin,
                "pid": _USER,
                "tid": _VERBS,
            }
            yield from inner

    def _event(self, event: Event) -> Iterator[dict[str, Any]]:
        kind, _, function, args, value = event
        if kind == "enter":
            yield from self._begin(event)
        elif kind == "exit":
            returns = {} if value is None else {"returns": errno_name(value)}
            yield from self._end(event, {**returns, **(args or {})})
        elif kind in ("lock", "unlock"):
            yield from self._lock(event)
        else:
            name = {
                "inject": f"injected: {injected(function, value)}",
                "goto": f"goto {(args or {}).get('label')}",
                "write": f"{function} = {value:#x}" if isinstance(value, int) else f"{function} = {value}",
            }.get(kind, f"{kind}: {function} {value}")
            more = {"function": function, **(args or {})}
            if kind == "goto" and value is not None:
                more["error"] = errno_name(value)
            yield self._at(event, "i", name, kind, more) | {"s": "t"}
            self.now += 1

    def _begin(self, event: Event) -> Iterator[dict[str, Any]]:
        _, at, function, args, _ = event
        begin = self._at(event, "B", function, "call", args or {})
        caller = self.open[-1] if self.open else None
        if caller and caller[1].cpu != at.cpu:
            self.flows += 1
            flow = {"id": self.flows}
            yield self._at(caller, "s", "runs on another CPU", "flow", {}) | flow
            yield begin
            # The arrow ends at the call that was just begun, not at the next one.
            yield self._at(event, "f", "runs on another CPU", "flow", {}) | flow | {"bp": "e"}
        else:
            yield begin
        self.open.append(event)
        self.now += 1

    def _end(self, event: Event, args: dict[str, Any]) -> Iterator[dict[str, Any]]:
        self.open.pop()
        yield self._at(event, "E", event[2], "call", args)
        self.now += 1

    def _lock(self, event: Event) -> Iterator[dict[str, Any]]:
        kind, _, name, _, _ = event
        held = self.held.setdefault(name, [])
        if kind == "lock":
            self.spans += 1
            held.append(self.spans)
        if held:
            span = held[-1] if kind == "lock" else held.pop()
            yield self._at(event, "b" if kind == "lock" else "e", name, "lock", {}) | {"id": span}
        self.now += 1

    def _at(self, event: Event, phase: str, name: str, category: str, args: dict[str, Any]) -> dict[str, Any]:
        at = event[1]
        return {
            "ph": phase,
            "name": name,
            "cat": category,
            "ts": self.now,
            "pid": _MACHINE,
            "tid": _thread(at.cpu),
            "args": {"task": at.task, **args},
        }
