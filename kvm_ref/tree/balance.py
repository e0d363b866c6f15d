# SPDX-License-Identifier: GPL-2.0-only
"""Is each lock that a function takes given back on every way out, whether a run of the model comes there or not?

Every condition is taken both ways. Of a lock whose taking depends on what a call returns, or that a
helper gives back only sometimes, nothing is said.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from kvm_ref.tree.bodies import Remark
from kvm_ref.tree.flow import after
from kvm_ref.tree.locks import lock_of, name_of
from kvm_ref.tree.operations import Call, Code, Return
from kvm_ref.tree.program import Interest
from kvm_ref.tree.values import Memory

# How often a function may take one lock at once, and how deep helpers are looked into.
_MOST = 3
_DEPTH = 4
# Calls that take a lock only if they return so.
_MAYBE = ("trylock", "killable", "interruptible")

# What an operation does to a lock: how often it takes it, less how often it gives it back. None: that depends.
_Steps = dict[int, int | None]
_Nets = dict[str, int | None]


def unbalanced(code: Code, interest: Interest) -> Iterator[Remark]:
    """Yield the ways out on which a lock is held that the function took, and locks given back twice."""
    for which, steps in sorted(_locks(code, interest, 0).items()):
        sure = {at: step for at, step in steps.items() if step is not None}
        if len(sure) == len(steps) and max(sure.values()) > 0:
            yield from _of_lock(code, which, sure)


def _of_lock(code: Code, which: str, steps: Mapping[int, int]) -> Iterator[Remark]:
    for at, counts in sorted(_held(code, steps, 0).items()):
        op = code.operations[at]
        if isinstance(op, Return) and max(counts) > 0:
            yield Remark(code.path, op.line, "lock-held", f"{code.name}() returns with {which} held")
        elif min(counts) + steps.get(at, 0) < 0 and min(counts) >= 0:
            message = f"{code.name}() gives {which} back without having it"
            yield Remark(code.path, op.line, "lock-held", message)


def _held(code: Code, steps: Mapping[int, int], least: int) -> dict[int, set[int]]:
    # How often the lock may be held before each operation that is come to, at least and at most so often.
    held: dict[int, set[int]] = {0: {0}}
    todo = [0]
    while todo:
        at = todo.pop()
        behind = {n + steps.get(at, 0) for n in held[at]}
        behind = {n for n in behind if least <= n <= _MOST}
        for other in after(code.operations, at):
            known = held.setdefault(other, set())
            if not behind <= known:
                known |= behind
                todo.append(other)
    return {at: counts for at, counts in held.items() if counts}


def _locks(code: Code, interest: Interest, depth: int) -> dict[str, _Steps]:
    # Each lock that a function takes or gives back, itself or through helpers, and in which operations.
    out: dict[str, _Steps] = {}
    for at, op in enumerate(code.operations):
        if not isinstance(op, Call) or not op.name:
            continue
        lock = lock_of(op, Memory(), "")
        if lock:
            kind, which = lock
            sign = 1 if kind == "lock" else -1
            out.setdefault(which, {})[at] = None if op.name.endswith(_MAYBE) else sign
        elif op.name not in interest.known and depth < _DEPTH and interest.leads(op.name):
            inner = interest.program.code(op.name)
            for which, step in _net(inner, interest, depth).items() if inner else ():
                # A helper may be given the lock.
                assert inner is not None
                given = inner.params.index(which) if which in inner.params else len(op.texts)
                own = name_of(op.texts[given].strip("&() ")) if given < len(op.texts) else which
                out.setdefault(own, {})[at] = step
    return out


def _net(code: Code, interest: Interest, depth: int) -> _Nets:
    # What a helper does to each lock by its end.
    out: _Nets = {}
    for which, steps in _locks(code, interest, depth + 1).items():
        sure = {at: step for at, step in steps.items() if step is not None}
        held = _held(code, sure, -_MOST)
        ends = {n for at, counts in held.items() if isinstance(code.operations[at], Return) for n in counts}
        out[which] = ends.pop() if len(ends) == 1 and len(sure) == len(steps) else None
    return {which: net for which, net in out.items() if net != 0}
