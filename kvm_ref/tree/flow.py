# SPDX-License-Identifier: GPL-2.0-only
"""Which conditions make no difference: where both ways do nothing of interest before they meet again.

Such a condition need not be tried both ways; what is set on one of them is not known afterwards.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import attrs

from kvm_ref.tree.expressions import AddressOf, Place
from kvm_ref.tree.operations import Asm, Branch, Call, Code, Goto, Jump, Loop, Operation, Return, Set, Turn


@attrs.frozen(eq=False)
class Idle:
    """Where both ways meet, and what is set on them."""

    meet: int
    places: tuple[Place, ...]


def after(operations: Sequence[Operation], at: int) -> tuple[int, ...]:
    """Return where control may go from one operation."""
    op = operations[at]
    match op:
        case Jump() | Goto():
            return (op.to.at,)
        case Branch():
            return (op.yes.at, op.no.at)
        case Loop() | Turn():
            return (at + 1, op.leave.at)
        case Asm():
            return (at + 1, *(mark.at for _, mark in op.labels))
        case Return():
            return ()
    return (at + 1,)


def _beyond(operations: Sequence[Operation]) -> list[int]:
    # For each operation those that every way from it comes through, itself included, as a number: bit n
    # stands for operation n, and one bit more for the end.
    count = len(operations)
    nexts = [after(operations, at) or (count,) for at in range(count)]
    every = (1 << (count + 1)) - 1
    beyond = [every] * count + [1 << count]
    changed = True
    while changed:
        changed = False
        for at in range(count - 1, -1, -1):
            common = every
            for other in nexts[at]:
                common &= beyond[other]
            common |= 1 << at
            if common != beyond[at]:
                beyond[at] = common
                changed = True
    return beyond


def _meet(beyond: Sequence[int], at: int) -> int:
    # Where all ways from an operation meet first.
    rest = beyond[at] & ~(1 << at)
    return next((n for n in range(len(beyond)) if rest >> n & 1 and beyond[n] == rest), len(beyond) - 1)


def idle(code: Code, matters: Callable[[Operation], bool]) -> dict[int, Idle]:
    """Return the conditions of a function that make no difference, by the number of the operation.

    Args:
        code: the function.
        matters: whether an operation is of interest; jumps and returns are always.
    """
    operations = code.operations
    out: dict[int, Idle] = {}
    beyond: Sequence[int] = ()
    for at, op in enumerate(operations):
        if not isinstance(op, Branch):
            continue
        beyond = beyond or _beyond(operations)
        meet = _meet(beyond, at)
        if meet == len(operations):
            continue
        inside: set[int] = set()
        todo = [op.yes.at, op.no.at]
        while todo:
            n = todo.pop()
            if n != meet and n not in inside:
                inside.add(n)
                todo += after(operations, n)
        if at in inside or any(
            isinstance(operations[n], (Goto, Return, Asm)) or matters(operations[n]) for n in inside
        ):
            continue
        out[at] = Idle(meet, tuple(place for n in sorted(inside) for place in sets(operations[n])))
    return out


def sets(op: Operation) -> tuple[Place, ...]:
    """Return what an operation may change."""
    match op:
        case Set():
            return (op.place,)
        case Call():
            return (op.result, *(arg.of for arg in op.args if isinstance(arg, AddressOf)))
        case Loop() if op.variable is not None:
            return (op.variable,)
    return ()


def turns(operations: Sequence[Operation], start: int, leave: int) -> list[Operation]:
    """Return the operations of a loop that come before another turn of it, or before its end.

    What jumps out of the loop to somewhere else is none of them.

    Args:
        operations: those of the function.
        start: the first in the loop; its head is the one before.
        leave: the first behind it.
    """
    back = {start - 1, leave}
    grown = True
    while grown:
        grown = False
        for at in range(leave - 1, start - 1, -1):
            if at not in back and not back.isdisjoint(after(operations, at)):
                back.add(at)
                grown = True
    return [operations[at] for at in sorted(back) if start <= at < leave]


def straight(code: Code) -> list[Set]:
    """Return what a function stores in structures that it is given, if there is but one way through it."""
    if any(not isinstance(op, (Set, Call, Return)) for op in code.operations):
        return []
    sets = (op for op in code.operations if isinstance(op, Set))
    return [op for op in sets if op.place.of_parameter(code.params)]
