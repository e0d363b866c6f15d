# SPDX-License-Identifier: GPL-2.0-only
"""All that can go wrong in a function of C text: each call that can fail fails in turn.

A walk without a fault shows which calls can fail, and which conditions cannot be known. Of its ways
those are kept that show a call which no other shows; on each of them every call fails once. Up
to that call conditions are what they were on the way, behind it both ways are taken.
"""

from __future__ import annotations

from collections.abc import Iterator

import attrs

from kvm_ref.fault import Fault
from kvm_ref.tree.operations import Code
from kvm_ref.tree.program import Interest
from kvm_ref.tree.roles import Roles
from kvm_ref.tree.walk import Walk
from kvm_ref.tree.ways import Way

# Ways without a fault, and behind each fault.
_CLEAN = 64
_BEHIND = 16


@attrs.frozen
class Explored:
    """A way, the fault on it if there is one, and whether there may be more ways like it."""

    way: Way
    fault: Fault | None
    more: bool


def explore(interest: Interest, roles: Roles, code: Code) -> Iterator[Explored]:
    """Yield the ways through a function: without a fault, then with each."""
    walk = Walk(interest, roles, limit=_CLEAN)
    clean = list(walk.ways(code))
    for way in clean:
        yield Explored(way, None, not walk.complete)
    known: set[tuple[str, int]] = set()
    for way in clean:
        faults = _faults(way, roles)
        if known.issuperset(faults):
            continue
        settled = dict(way.assumed)
        for function, nth in faults:
            if (function, nth) in known:
                continue
            known.add((function, nth))
            fault = Fault(function, nth)
            walk = Walk(interest, roles, fault, settled=settled, limit=_BEHIND)
            for other in walk.ways(code):
                if other.fired:
                    yield Explored(other, fault, not walk.complete)


def _faults(way: Way, roles: Roles) -> list[tuple[str, int]]:
    # The calls of a way that can fail, each with which call of its function it is.
    count: dict[str, int] = {}
    out = []
    for kind, _, name, _, _ in way.trace.steps[0].events or ():
        facts = roles.get(name) if kind == "enter" else None
        if facts is not None and facts.fails and not facts.releases:
            count[name] = count.get(name, 0) + 1
            out.append((name, count[name]))
    return out
