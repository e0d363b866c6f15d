# SPDX-License-Identifier: GPL-2.0-only
"""Is there a loop that no run of the model needs, because it is there twice?

How often a loop turns is often not known. Then a second one allows what the model did as well as the first
alone does: one of them is passed without a turn.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Container, Iterable, Iterator
from typing import Any

from kvm_ref.tree.bodies import Body, Difference, Remark
from kvm_ref.tree.machine import Frame, State
from kvm_ref.tree.match import Match
from kvm_ref.tree.operations import Branch, Call, Code, Loop, Operation, Turn


class Without(Match):
    """Walks a function that must not come to some of its operations."""

    closed: Collection[Operation] = ()

    def step(self, state: State, frame: Frame, op: Any) -> list[State] | None:
        if len(state.frames) == 1 and op in self.closed:
            return self._part(state, op.line, ("return", "", None))
        return super().step(state, frame, op)


def needed(operations: Collection[Operation], walks: Iterable[Without]) -> bool:
    """Say whether one of these walks, of bodies that the text allows, cannot do without some operations."""
    for walk in walks:
        walk.closed = operations
        if isinstance(walk.run(), Difference):
            return True
    return False


def needless(
    code: Code, bodies: Collection[Body], walk: Callable[[Body], Without], known: Container[str]
) -> Iterator[Remark]:
    """Yield the loops of a function that no run needs, where another one has the same condition and calls.

    Args:
        code: the function.
        bodies: what the model's function did, as far as the text allows it.
        walk: makes a walk along a body.
        known: the functions that the model shows.
    """
    loops: dict[tuple[str, ...], dict[int, list[Call]]] = {}
    for at, op in enumerate(code.operations):
        if isinstance(op, Call) and (not op.name or op.name in known):
            head = _loop(code, at)
            if head is not None:
                alike = loops.setdefault((op.name or op.member, *_says(code, head)), {})
                alike.setdefault(head, []).append(op)
    for (name, *_), found in loops.items():
        if len(found) < 2:
            continue
        every = [op for calls in found.values() for op in calls]
        # Where nobody makes such a call, there is nothing to say.
        if not needed(every, map(walk, bodies)):
            continue
        for calls in found.values():
            if not needed(calls, map(walk, bodies)):
                message = f"{code.name}() calls {name}() in one more loop"
                yield Remark(code.path, calls[0].line, "differs", message)


def _loop(code: Code, at: int) -> int | None:
    # The head of the outermost loop around an operation.
    for head, op in enumerate(code.operations[:at]):
        if isinstance(op, (Loop, Turn)) and at < op.leave.at:
            return head
    return None


def _says(code: Code, head: int) -> tuple[str, ...]:
    # What is written at the head of a loop.
    op = code.operations[head]
    if isinstance(op, Loop):
        return (op.name, *op.texts)
    assert isinstance(op, Turn)
    inside = code.operations[head : op.leave.at]
    return tuple(one.text for one in inside if isinstance(one, Branch) and one.line == op.line)
