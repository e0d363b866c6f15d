# SPDX-License-Identifier: GPL-2.0-only
"""How each modelled function was verified: against the C text, and against traces of a real kernel."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import attrs

from kvm_ref import backend as backends
from kvm_ref.compare import against_model, scenario_of
from kvm_ref.scenario import run
from kvm_ref.trace import Trace, load
from kvm_ref.tree.check import Check, Held, configuration, is_kvm
from kvm_ref.tree.source import Tree
from kvm_ref.vocabulary import Facts, Vocabulary, mirrored


@attrs.frozen
class Walked:
    """How a function was held against the C text, in all backends that have it.

    Attributes:
        cases: how many different things the model's function does.
        equal: how many of them the text allows.
        why: why it was not compared, or "".
    """

    cases: int = 0
    equal: int = 0
    why: str = ""


def functions() -> dict[Facts, list[str]]:
    """Return every modelled function, with the backends whose kernels have it."""
    owners: dict[Facts, list[str]] = {}
    for name in backends.available():
        for facts in Vocabulary.of(backends.load(name)).values():
            owners.setdefault(facts, []).append(name)
    return owners


def walked(tree: Path) -> dict[Facts, Walked]:
    """Return how each modelled function was held against a kernel's text."""
    held: dict[Facts, list[Held]] = {}
    why: dict[Facts, str] = {}
    for name in backends.available():
        backend = backends.load(name)
        check = Check(Tree(str(tree)), backend, configuration(backend))
        for one in check.all():
            held.setdefault(check.vocabulary[one.name], []).append(one)
        why |= {facts: _why(check, facts) for facts in Vocabulary.of(backend).values() if facts not in held}
    done = {
        facts: Walked(sum(h.cases for h in some), sum(h.equal for h in some)) for facts, some in held.items()
    }
    return {facts: Walked(why=reason) for facts, reason in why.items()} | done


def _why(check: Check, facts: Facts) -> str:
    if not mirrored(facts.module).endswith(".c"):
        return "stands for a header"
    if facts.name not in check.evidence.cases:
        return "no compared run comes to it"
    if not is_kvm(facts.file) and not check.has_body(facts.name):
        return "outside of KVM: its result only"
    return "no C function: a macro, assembly or a hypercall"


def traces(folder: Path) -> Iterator[tuple[str, Trace]]:
    """Yield the traces of a real kernel that the model equals, by name."""
    for path in sorted(folder.glob("*.json")):
        trace = load(path.read_text(encoding="utf-8"), path.name)
        if any(step.events for step in trace.steps):
            found = against_model(trace, {})
            if found.difference is None and not found.note:
                yield path.stem, trace


def seen(folder: Path) -> Counter[Facts]:
    """Return in how many of these traces the real kernel is seen to call each function."""
    out: Counter[Facts] = Counter()
    for _, trace in traces(folder):
        out.update(set(_seen(trace)))
    return out


def _seen(trace: Trace) -> Iterator[Facts]:
    # The model's calls tell which function stands behind a symbol; the kernel's, whether it was seen.
    vocabulary = Vocabulary.of(backends.load(str(trace.source["backend"])))
    logged = {function for kind, _, function, *_ in trace.events() if kind == "enter"}
    callers: dict[tuple[str, int, int], str] = {}
    for kind, at, name, *_ in run(scenario_of(trace)).trace.events():
        if kind != "enter":
            continue
        callers[at.task, at.cpu, at.depth] = name
        facts = vocabulary.get(name)
        caller = callers.get((at.task, at.cpu, at.depth - 1))
        if facts and facts.symbol in logged and caller not in facts.inlined_into:
            yield facts
