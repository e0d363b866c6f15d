# SPDX-License-Identifier: GPL-2.0-only
"""A trace as text: a tree of calls in the manner of ftrace's function graph."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from kvm_ref.errno import Errno
from kvm_ref.kernel import SystemState
from kvm_ref.trace import Event, Step, Trace

_RED, _YELLOW, _DIM, _OFF = "\033[31m", "\033[33m", "\033[2m", "\033[0m"
_NAMES = {int(e): e.name for e in Errno}


def errno_name(value: object) -> str:
    """Write a result as kernel developers do: ``-EBUSY`` for -16, ``0`` for 0, ``?`` for none."""
    if value is None:
        return "?"
    if isinstance(value, int) and -value in _NAMES:
        return f"-{_NAMES[-value]}"
    return str(value)


# Where in C text, or in the model's, something happens.
_PLACE = frozenset({"line", "file"})


def arguments(args: dict[str, Any] | None) -> str:
    """Write what a trace tells of a call's arguments."""
    # What is acquired or released is often named by another argument too: then it is shown once.
    plain = {k: v for k, v in (args or {}).items() if k not in _PLACE and v != ""}
    obj = plain.pop("obj", None)
    shown = [str(v) for v in plain.values()]
    return ", ".join(shown if obj is None or str(obj) in shown else [*shown, str(obj)])


def _where(args: dict[str, Any] | None) -> str:
    # The place in C text, if the event is of C text.
    return f"  // {args['file']}:{args['line']}" if args and "file" in args else ""


def _colour(text: str, colour: str, on: bool) -> str:
    return f"{colour}{text}{_OFF}" if on and text else text


def _line(event: Event, leaf_exit: Event | None, colour: bool) -> str:
    kind, at, function, args, value = event
    head = f"{at.cpu:>4}  {at.task:<9} {'  ' * at.depth}"
    if kind == "enter":
        text = f"{function}({arguments(args)})"
        if leaf_exit is None:
            return f"{head}{text} {{{_colour(_where(args), _DIM, colour)}"
        value = leaf_exit[4]
        where = _colour(_where(args), _DIM, colour)
        if value is None:
            return f"{head}{text}{where}"
        return head + _returned(text, value, colour) + where
    if kind == "exit":
        if value is None:
            return f"{head}}} {_colour(f'/* {function} */', _DIM, colour)}"
        return head + _returned("}", value, colour) + _colour(f"  /* {function} */", _DIM, colour)
    if kind == "inject":
        return head + _colour(f"! injected: {injected(function, value)}", _RED, colour)
    if kind == "goto":
        error = "" if value is None else f", {errno_name(value)}"
        return head + _colour(f"goto {(args or {}).get('label')};  /* {function}{error} */", _YELLOW, colour)
    if kind == "write":
        was = (args or {}).get("was", 0)
        return f"{head}{function} = {value:#x}  {_colour(f'/* was {was:#x} */', _DIM, colour)}"
    if kind == "warn":
        return head + _colour(f"WARN_ON in {function}: {value}", _YELLOW, colour)
    return f"{head}{kind} {function}"


def injected(function: str, value: Any) -> str:
    """Write what a fault does."""
    if function == "system_state":
        return f"system_state = {SystemState(value).name}"
    return f"{function} fails {errno_name(value)}"


def _returned(text: str, value: object, colour: bool) -> str:
    bad = (isinstance(value, int) and value < 0) or (isinstance(value, str) and value != "ptr")
    return _colour(f"{text} = {errno_name(value)}", _RED, colour and bad)


def tree(events: Sequence[Event], colour: bool = False) -> Iterator[str]:
    """Yield a line for each event: CPU, task, and the call; a call without inner events in one line."""
    return (line for _, line in numbered(events, colour))


def numbered(events: Sequence[Event], colour: bool = False) -> Iterator[tuple[int, str]]:
    """Yield the lines of the tree, each with the place of its event, or of the first of its two."""
    skip = False
    for n, event in enumerate(events):
        if skip:
            skip = False
            continue
        follows = events[n + 1] if n + 1 < len(events) else None
        leaf = None
        if event[0] == "enter" and follows and follows[0] == "exit" and follows[1] is event[1]:
            leaf, skip = follows, True
        yield n, _line(event, leaf, colour)


def verdict(step: Step) -> str:
    """Write a step's verb and what it gave the user."""
    return "  ".join(f"{v}: {errno_name(r)}" for v, r in zip(step.verbs, step.results, strict=True))


def state(after: dict[str, Any]) -> str:
    """Write what can be seen of a machine in one line."""
    words = []
    for key, value in after.items():
        if isinstance(value, bool):
            value = "yes" if value else "no"
        elif isinstance(value, list):
            value = ",".join(str(v) for v in value) or "none"
        words.append(f"{key}={value}")
    return "  ".join(words)


def function_graph(trace: Trace) -> Iterator[str]:
    """Yield the trace in the layout of ftrace's function_graph tracer, without durations."""
    yield "# tracer: function_graph"
    yield "#"
    yield "# CPU  TASK            FUNCTION CALLS"
    yield "# |    |               |   |   |   |"
    for step in trace.steps:
        yield f"# {verdict(step)}"
        events = step.events or []
        skip = False
        for n, (kind, at, function, args, value) in enumerate(events):
            if skip:
                skip = False
                continue
            head = f"{at.cpu:>4})  {at.task:<13} | {'  ' * (at.depth + 1)}"
            if kind == "enter":
                follows = events[n + 1] if n + 1 < len(events) else None
                if follows and follows[0] == "exit" and follows[1] is at:
                    skip = True
                    yield f"{head}{function}();{_retval(follows[4])}"
                else:
                    yield f"{head}{function}() {{"
            elif kind == "exit":
                yield f"{head}}}{_retval(value, function)}"
            else:
                detail = (args or {}).get("label", "" if value is None else value)
                yield f"{head}/* {kind} {function} {detail} */".replace("  */", " */")


def _retval(value: object, function: str = "") -> str:
    if value is None:
        return f" /* {function} */" if function else ""
    return f" /* {function} = {value} */" if function else f" /* = {value} */"
