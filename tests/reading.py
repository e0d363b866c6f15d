# SPDX-License-Identifier: GPL-2.0-only
"""Reading a trace in tests: what a function called, and what it did after a goto."""

from __future__ import annotations

from collections.abc import Iterable

from kvm_ref.fault import parse
from kvm_ref.scenario import Cpus, Run, Scenario, run
from kvm_ref.trace import Event


def go(backend: str, *verbs: str, fail: str = "", cpus: int = 2, **more: object) -> Run:
    """Run verbs on a machine with a few CPUs; `fail` holds fault SPECs, separated by spaces."""
    faults = tuple(parse(spec) for spec in fail.split())
    return run(Scenario(backend, verbs, cpus=Cpus.of(tuple(range(cpus))), faults=faults, **more))  # type: ignore[arg-type]  # any field, by name


def calls(events: Iterable[Event], function: str, nth: int = 1) -> list[str]:
    """Return the direct callees of the nth call of `function`, by the same task, with gotos as ``>label``."""
    out: list[str] = []
    inside = None
    for kind, at, name, args, _ in events:
        if inside is None:
            if kind == "enter" and name == function:
                nth -= 1
                if nth == 0:
                    inside = at
        elif (at.task, at.cpu) == (inside.task, inside.cpu):
            if kind == "exit" and at.depth == inside.depth:
                return out
            if kind == "enter" and at.depth == inside.depth + 1:
                out.append(name)
            if kind == "goto" and at.depth == inside.depth + 1 and args:
                out.append(f">{args['label']}")
    raise AssertionError(f"{function} was not called {nth} more times, or did not return")


def undone(events: Iterable[Event], function: str, nth: int = 1) -> list[str]:
    """Return what the nth call of `function` did from its first goto on, the label first."""
    found = calls(events, function, nth)
    return found[next(i for i, name in enumerate(found) if name.startswith(">")) :]


def writes(events: Iterable[Event], cpu: int) -> list[tuple[str, int]]:
    """Return the register writes of one CPU, in order."""
    return [(name, value) for kind, at, name, _, value in events if kind == "write" and at.cpu == cpu]
