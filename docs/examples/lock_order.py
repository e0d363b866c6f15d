# SPDX-License-Identifier: GPL-2.0-only
"""A judge of lock order. Reads a trace from standard input; status 1 if it finds anything."""

from __future__ import annotations

import sys
from collections.abc import Iterator

from kvm_ref import backend
from kvm_ref.judges import Finding
from kvm_ref.judges.finding import Place
from kvm_ref.trace import Trace, load
from kvm_ref.vocabulary import Vocabulary

# Outermost first (Documentation/virt/kvm/locking.rst).
ORDER = ("kvm_usage_lock", "cpu_hotplug_lock", "kvm_lock")


def lock_order(trace: Trace, vocabulary: Vocabulary) -> list[Finding]:
    """Find locks that a task takes while it holds one that belongs inside of them."""
    return [found for number in range(len(trace.steps)) for found in _in_step(trace, number)]


def _in_step(trace: Trace, number: int) -> Iterator[Finding]:
    held: dict[str, list[str]] = {}
    for event in trace.steps[number].events or ():
        kind, at, lock, _, _ = event
        if lock not in ORDER:
            continue
        mine = held.setdefault(at.task, [])
        if kind == "lock":
            for inner in mine:
                if ORDER.index(inner) > ORDER.index(lock):
                    message = f"{lock} is taken within {inner}, in {Place(trace, number, event)}"
                    yield Finding("lock_order", message, number, resource=f"lock:{lock}")
            mine.append(lock)
        elif kind == "unlock":
            mine.remove(lock)


if __name__ == "__main__":
    trace = load(sys.stdin.read(), "standard input")
    findings = lock_order(trace, Vocabulary.of(backend.load(str(trace.source["backend"]))))
    for finding in findings:
        print(f"{finding.judge}: {finding.message}")
    print(f"{len(findings)} findings")
    sys.exit(bool(findings))
