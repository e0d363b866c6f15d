# SPDX-License-Identifier: GPL-2.0-only
"""The trace: what happened, event by event, in one total order.

An event in memory is a plain tuple ``(kind, at, function, args, value)``, where ``at`` says which
task ran on which CPU, how deep. In JSON it is an object with the keys ``task, cpu, depth, kind,
function, args, value``. Kinds: ``enter``, ``exit``, ``inject``, ``goto``, ``lock``, ``unlock``,
``write``, ``warn``. The whole file has the format name ``kvm-ref-trace/1``.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

import attrs

FORMAT = "kvm-ref-trace/1"
# The arguments that name a resource.
_NAMING = ("obj", "mask", "uses")
# What a JSON file that was cut off may end with a part of.
_WORDS = ("true", "false", "null", "-")
KINDS = frozenset({"enter", "exit", "inject", "goto", "lock", "unlock", "write", "warn"})


class At:
    """Where an event happened: task, CPU, and the number of enclosing calls of that task."""

    __slots__ = ("cpu", "depth", "inner", "task")

    def __init__(self, task: str, cpu: int, depth: int) -> None:
        self.task = task
        self.cpu = cpu
        self.depth = depth
        self.inner: At | None = None

    def deeper(self) -> At:
        """Return the place of a call made from here. It is made once, then kept as `inner`."""
        self.inner = At(self.task, self.cpu, self.depth + 1)
        return self.inner

    def __repr__(self) -> str:
        return f"{self.task}@{self.cpu}+{self.depth}"


@functools.cache
def place(task: str, cpu: int) -> At:
    """Return where a task's outermost calls happen. It is a constant, so all machines share it."""
    return At(task, cpu, 0)


# (kind, at, function, args, value). Events share equal arguments: nobody may change them.
Event = tuple[str, At, str, dict[str, Any] | None, Any]


class TraceError(ValueError):
    """A trace file is not what it should be. The message is one line."""


@attrs.define
class Step:
    """What happened from one moment to the next: verbs, their results, and the events."""

    verbs: list[str]
    results: list[int | None]
    events: list[Event] | None
    # Another step that begins with the same events, the same objects, and how many these are.
    alike: tuple[Step, int] | None = attrs.field(default=None, init=False, repr=False, eq=False)
    # What the judges picked out of the events, and for which vocabulary; and how the calls nest.
    picked: Any = attrs.field(default=None, init=False, repr=False, eq=False)
    nested: Any = attrs.field(default=None, init=False, repr=False, eq=False)


@attrs.define
class Trace:
    """A run of one scenario on one machine."""

    source: dict[str, Any]
    machine: dict[str, Any]
    params: dict[str, Any]
    faults: list[dict[str, Any]]
    steps: list[Step]
    observed: list[str] | None = None
    after: dict[str, dict[str, Any]] = attrs.Factory(dict)
    log: list[str] = attrs.Factory(list)

    def events(self) -> Iterator[Event]:
        """Yield the events of all steps, in order."""
        for step in self.steps:
            yield from step.events or ()

    def to_json(self) -> dict[str, Any]:
        """Return the trace as the object that ``json.dump`` takes."""
        return {
            "format": FORMAT,
            "source": self.source,
            "machine": self.machine,
            "params": self.params,
            "faults": self.faults,
            "observed": self.observed,
            "steps": [
                {
                    "verbs": s.verbs,
                    "results": s.results,
                    "events": None if s.events is None else [_event_to_json(e) for e in s.events],
                }
                for s in self.steps
            ],
            "after": self.after,
            "log": self.log,
        }


def _event_to_json(event: Event) -> dict[str, Any]:
    kind, at, function, args, value = event
    out: dict[str, Any] = {
        "task": at.task,
        "cpu": at.cpu,
        "depth": at.depth,
        "kind": kind,
        "function": function,
    }
    if args is not None:
        out["args"] = args
    if value is not None or kind == "exit":
        out["value"] = value
    return out


def load(text: str, name: str = "trace") -> Trace:
    """Read a trace from JSON text.

    Raises:
        TraceError: the text is cut off, is no JSON, or has another format; `name` is in the message.
    """
    import json

    try:
        data = json.loads(text)
    except json.JSONDecodeError as error:
        rest = text[error.pos :].strip()
        if any(word.startswith(rest) for word in _WORDS) or error.msg.startswith("Unterminated"):
            raise TraceError(f"{name}: the trace is cut off at character {error.pos}") from None
        raise TraceError(f"{name}: not JSON at line {error.lineno}: {error.msg}") from None
    except RecursionError:
        raise TraceError(f"{name}: not a trace: nested too deeply") from None
    except ValueError:
        raise TraceError(f"{name}: not a trace: it holds a number of too many digits") from None
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        found = data.get("format") if isinstance(data, dict) else type(data).__name__
        raise TraceError(f"{name}: format is {found!r}, expected {FORMAT!r}")
    try:
        return _from_json(data)
    except KeyError as error:
        raise TraceError(f"{name}: the key {error.args[0]!r} is missing") from None
    except (TypeError, ValueError, AttributeError, OverflowError) as error:
        raise TraceError(f"{name}: malformed: {error}") from None


def _from_json(data: dict[str, Any]) -> Trace:
    places: dict[tuple[str, int, int], At] = {}

    def event(e: dict[str, Any]) -> Event:
        function = _text(e["function"], "function")
        where = (_text(e["task"], "task"), whole_number(e["cpu"], "cpu"), whole_number(e["depth"], "depth"))
        at = places.get(where) or places.setdefault(where, At(*where))
        kind = e["kind"]
        if not isinstance(kind, str) or kind not in KINDS:
            raise ValueError(f"event of kind {kind!r}, expected one of {', '.join(sorted(KINDS))}")
        args = e.get("args")
        if args is not None and not isinstance(args, dict):
            raise ValueError(f"args of {function!r} are no object")
        for key, named in (("value", e.get("value")), *((key, (args or {}).get(key)) for key in _NAMING)):
            if isinstance(named, (list, dict)):
                raise ValueError(f"{key} of {function!r} is no text and no number")
        return (kind, at, function, args, e.get("value"))

    steps = []
    for s in _objects(data["steps"], "steps"):
        verbs = _texts(s["verbs"], "verbs")
        results = s["results"]
        if not isinstance(results, list) or not all(r is None or type(r) is int for r in results):
            raise ValueError(f"results are {results!r}, expected a list of numbers and nulls")
        if len(verbs) != len(results):
            raise ValueError(f"{len(verbs)} verbs but {len(results)} results")
        events = None if s["events"] is None else [event(e) for e in _objects(s["events"], "events")]
        steps.append(Step(verbs=verbs, results=list(results), events=events))
    if not steps:
        raise ValueError("steps are empty, expected one at least")
    source, machine = _object(data["source"], "source"), _object(data["machine"], "machine")
    for mask in ("possible", "present", "online"):
        if not isinstance(machine.get(mask, ""), str):
            raise ValueError(
                f"{mask} of the machine is {machine[mask]!r}, expected a list of CPUs, as '0-3,8'"
            )
    for key, value in (("features", machine.get("features")), ("commits", source.get("commits"))):
        _object(value or {}, key)
    return Trace(
        source=source,
        machine=machine,
        params=_object(data["params"], "params"),
        faults=[dict(f) for f in _objects(data["faults"], "faults")],
        observed=None if data.get("observed") is None else _texts(data["observed"], "observed"),
        steps=steps,
        after={
            name: _object(state, "after") for name, state in _object(data.get("after") or {}, "after").items()
        },
        log=_texts(data.get("log") or [], "log"),
    )


def _text(value: object, key: str) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{key} is {value!r}, expected a text")
    return value


def whole_number(value: object, key: str, least: int = 0) -> int:
    """Return a number of a JSON file.

    Raises:
        ValueError: it is none, or less than it may be.
    """
    if type(value) is not int or value < least:
        raise ValueError(f"{key} is {value!r}, expected a number from {least} on")
    return value


def _object(value: object, key: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"{key} is no object")
    return dict(value)


def _objects(value: object, key: str) -> list[dict[str, Any]]:
    if not isinstance(value, list) or not all(isinstance(one, dict) for one in value):
        raise ValueError(f"{key} is no list of objects")
    return value


def _texts(value: object, key: str) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(text, str) for text in value):
        raise ValueError(f"{key} is no list of texts")
    return list(value)
