# SPDX-License-Identifier: GPL-2.0-only
"""Reading a trace in tests: what the verbs gave, and what a run left behind."""

from __future__ import annotations

from kvm_ref.backend import Backend
from kvm_ref.scenario import Run
from kvm_ref.trace import Event
from kvm_ref.vocabulary import Vocabulary


def events(run: Run, step: int = 0) -> list[Event]:
    """Return the events of one verb, counted from 0."""
    return run.trace.steps[step].events or []


def everything(run: Run) -> list[Event]:
    """Return the events of all verbs."""
    return [event for step in range(len(run.trace.steps)) for event in events(run, step)]


def results(run: Run) -> list[int | None]:
    """Return what each verb gave."""
    return [result for step in run.trace.steps for result in step.results]


def held(backend: Backend, run: Run) -> list[tuple[str, object]]:
    """Return what was acquired and not released, as (kind, object), in order."""
    vocabulary = Vocabulary.of(backend)
    out: list[tuple[str, object]] = []
    for kind, _, name, args, _ in everything(run):
        facts = vocabulary.get(name)
        if facts is None or not args or "obj" not in args:
            continue
        if kind == "exit" and facts.acquires:
            out.append((facts.acquires, args["obj"]))
        elif kind == "enter" and facts.releases and (facts.releases, args["obj"]) in out:
            out.remove((facts.releases, args["obj"]))
    return out


def changed(run: Run) -> dict[tuple[int, str], int]:
    """Return the registers that do not hold what they held before the first write, with their value."""
    before: dict[tuple[int, str], int] = {}
    now: dict[tuple[int, str], int] = {}
    for kind, at, name, args, value in everything(run):
        if kind == "write" and args:
            before.setdefault((at.cpu, name), args["was"])
            now[at.cpu, name] = value
    return {key: value for key, value in now.items() if value != before[key]}
