# SPDX-License-Identifier: GPL-2.0-only
"""What there is to name on the command line; a function a list, each row a dict."""

from __future__ import annotations

from collections.abc import Iterator

from kvm_ref import backend as backends
from kvm_ref.backend import Backend
from kvm_ref.judges import JUDGES
from kvm_ref.kernel import Commit
from kvm_ref.linux.module import full_name
from kvm_ref.reading import ladder_of
from kvm_ref.scenarios import SCENARIOS
from kvm_ref.verbs import VERBS
from kvm_ref.vocabulary import Facts, Vocabulary

Rows = list[dict[str, object]]


def _chosen(name: str) -> list[Backend]:
    return [backends.load(n) for n in ([name] if name else backends.available())]


def _functions(name: str) -> Iterator[tuple[Facts, list[str]]]:
    # Each function once, with the backends whose kernels have it, by name.
    owners: dict[Facts, list[str]] = {}
    for backend in _chosen(name):
        for facts in Vocabulary.of(backend).values():
            owners.setdefault(facts, []).append(backend.name)
    yield from sorted(owners.items(), key=lambda item: (item[0].name, item[0].module))


def backends_(name: str) -> Rows:
    """List the installed backends."""
    return [
        {"name": b.name, "modules": [m.name for m in b.modules], "summary": b.summary} for b in _chosen(name)
    ]


def functions(name: str) -> Rows:
    """List the functions that are modelled, with their kernel files."""
    every = len(_chosen(""))
    return [
        {"name": f.name, "file": f.file, "backends": ["all"] if len(b) == every else b}
        for f, b in _functions(name)
    ]


def faults(name: str) -> Rows:
    """List the functions that can fail, and how: the natural failure first."""
    return [
        {"name": f.name, "fails": [_failure(x) for x in f.fails], "file": f.file}
        for f, _ in _functions(name)
        if f.fails
    ]


def _failure(failure: object) -> str:
    return f"-{failure.name}" if hasattr(failure, "name") else repr(failure)


def labels(name: str) -> Rows:
    """List the labels that gotos jump to."""
    rows: Rows = []
    for facts, _ in _functions(name):
        ladder = ladder_of(facts)
        if ladder:
            rows += [{"name": f"{facts.name}:{label.name}", "file": facts.file} for label in ladder.labels]
    return rows


def commits(name: str) -> Rows:
    """List the upstream commits that can be added or taken out."""
    _chosen(name)
    return [
        {"name": c.hash, "in 6.12.117": "yes" if c.default else "no", "title": c.title}
        for c in sorted(Commit.known.values(), key=lambda c: c.hash)
    ]


def judges(name: str) -> Rows:
    """List the judges."""
    return [{"name": n, "about": (j.__doc__ or "").partition("\n")[0]} for n, j in JUDGES.items()]


def verbs(name: str) -> Rows:
    """List the verbs."""
    return [{"name": n + _taken(v.takes), "about": v.help} for n, v in VERBS.items()]


def _taken(takes: str) -> str:
    if not takes:
        return ""
    return f"[={takes[1:]}" if takes[0] == "[" else f"={takes}"


def scenarios(name: str) -> Rows:
    """List the scenarios that have a name, and what comes of them."""
    return [{"name": n, "about": s.about, "outcome": s.outcome} for n, s in SCENARIOS.items()]


def features(name: str) -> Rows:
    """List what the CPUs of each backend can have, with the default."""
    return [
        {"name": f, "default": int(on), "backend": b.name}
        for b in _chosen(name)
        for f, on in b.features.items()
    ]


def params(name: str) -> Rows:
    """List the module parameters of each backend."""
    return [
        {"name": full_name(m, p), "takes": p.expects, "backend": b.name}
        for b in _chosen(name)
        for m in b.modules
        for p in m.params
    ]


LISTS = {
    "backends": backends_,
    "functions": functions,
    "faults": faults,
    "labels": labels,
    "commits": commits,
    "judges": judges,
    "verbs": verbs,
    "scenarios": scenarios,
    "features": features,
    "params": params,
}
