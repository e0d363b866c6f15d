# SPDX-License-Identifier: GPL-2.0-only
"""What does a function do when one of its calls fails, wherever the call stands?

In the model the failure of a call leads to certain labels, or out of the function. In the text each call
of that function must lead there too, as far as that is certain: from the call on, with its failure and
with what surely holds there, up to the first condition that cannot be known or the first call that
matters. A run of the model may pass another call of the same function; here each one is looked at.
"""

from __future__ import annotations

import itertools
from collections.abc import Container, Iterable, Iterator, Mapping

import attrs

from kvm_ref.reading import Ladder
from kvm_ref.tree.bodies import Body, Remark, plain, shown, value_of
from kvm_ref.tree.expressions import Variable
from kvm_ref.tree.flow import Idle, after, sets, turns
from kvm_ref.tree.machine import Frame, Machine, State
from kvm_ref.tree.operations import Branch, Call, Code, Goto, Loop, Operation, Return, Set, Turn
from kvm_ref.tree.program import Interest
from kvm_ref.tree.values import Memory, Unset, Value
from kvm_ref.vocabulary import Facts, Null

# What is known before an operation, however control came there: local variables by their addresses.
_Sure = dict[str, Value]
# The address of a local variable begins so in the only function that is looked at.
_PREFIX = "0:"


@attrs.define
class _Failure:
    # What follows in the model when a call fails: what it returned, the labels, "" for a return. `error`: the
    # function around it always returns an error then. `sure`: nothing else follows.
    value: Value
    labels: set[str] = attrs.Factory(set)
    error: bool = True
    sure: bool = True


def astray(
    code: Code, bodies: Iterable[Body], interest: Interest, ladder: Ladder | None = None
) -> Iterator[Remark]:
    """Yield the calls of a function whose failure leads somewhere else than in the model.

    Args:
        code: the function.
        bodies: all that the model's function did.
        interest: the functions that the model shows.
        ladder: the ladder of the model's function: no run may come to some of its jumps.
    """
    failures = {name: one for name, one in _failures(bodies, interest).items() if one.sure}
    for jump in ladder.gotos if ladder else ():
        for name in failures.keys() & set(jump.calls):
            failures[name].labels.add(jump.label)
    sites = [
        (at, op)
        for at, op in enumerate(code.operations)
        if isinstance(op, Call) and op.name in failures and _asked(code, op)
    ]
    known = _constants(code) if sites else {}
    for at, op in sites:
        if at in known:
            onward = _Onward(interest, op.name, failures[op.name])
            yield from onward.remarks(code, at, op, known[at])


def unset(code: Code, ladder: Ladder | None, untried: Container[int]) -> Iterator[Remark]:
    """Yield the jumps that surely have no error to return, to labels that undo something.

    Args:
        code: the function.
        ladder: the ladder of the model's function.
        untried: the lines of jumps that no run of the model comes to: of the others more is known.
    """
    found = ladder.labels if ladder and not code.void else ()
    labels = {one.name for one in found if ladder and ladder.fall(one.name)}
    jumps = [
        (at, op)
        for at, op in enumerate(code.operations)
        if isinstance(op, Goto) and op.label in labels and op.line in untried
    ]
    known = _constants(code) if jumps else {}
    without = _without_jumps(code) if jumps else set()
    for at, op in jumps:
        behind = (one for one in code.operations[op.to.at :] if isinstance(one, (Return, Goto)))
        end = next(behind)
        # What goes on elsewhere is no end, and NULL is an error where a pointer is returned.
        if isinstance(end, Goto) or op.to.at in without or (code.pointer and isinstance(end.value, Variable)):
            continue
        value = known.get(at, {}).get(_PREFIX + code.error(end))
        if isinstance(value, int) and value >= 0:
            message = f"{code.name}() jumps to {op.label} without an error"
            yield Remark(code.path, op.line, "success-after-unwind", message)


def _without_jumps(code: Code) -> set[int]:
    # The operations that control comes to without a goto.
    seen: set[int] = set()
    todo = [0]
    while todo:
        at = todo.pop()
        if at not in seen:
            seen.add(at)
            todo += () if isinstance(code.operations[at], Goto) else after(code.operations, at)
    return seen


def _asked(code: Code, call: Call) -> bool:
    # Whether the function looks at what a call returns.
    values = (getattr(op, "value", None) or getattr(op, "test", None) for op in code.operations)
    return any(value is not None and value.reads(call.result) for value in values)


def _failures(bodies: Iterable[Body], interest: Interest) -> dict[str, _Failure]:
    out: dict[str, _Failure] = {}
    for body in bodies:
        every = (*body.items, ("return", "", body.value))
        for (kind, name, value), (then, label, _) in itertools.pairwise(every):
            facts = interest.known.get(name)
            failed = _failed(facts, value) if kind == "call" and isinstance(facts, Facts) else None
            if failed is None:
                continue
            one = out.setdefault(name, _Failure(failed))
            one.sure &= then in ("goto", "return")
            one.labels.add(label)
            one.error &= _is_error(body.value)
    return out


def _failed(facts: Facts, value: object) -> Value:
    # What a call returned in C that failed, None if it did not.
    null = value == "NULL" and any(isinstance(one, Null) for one in facts.fails)
    flag = isinstance(value, int) and any(one is bool(value) for one in facts.fails)
    return value_of(value, 0) if null or flag or _is_error(value) else None


def _is_error(value: object) -> bool:
    return (isinstance(value, int) and value < 0) or (isinstance(value, str) and value.startswith("ERR_PTR("))


def _constants(code: Code) -> dict[int, _Sure]:
    # What is known before each operation.
    out: dict[int, _Sure] = {0: {}}
    todo = [0]
    while todo:
        at = todo.pop()
        op = code.operations[at]
        for other in after(code.operations, at):
            behind = _behind(op, out[at], other)
            known = out.get(other)
            both = behind if known is None else dict(known.items() & behind.items())
            if both != known:
                out[other] = both
                todo.append(other)
    return out


def _behind(op: Operation, known: _Sure, to: int) -> _Sure:
    # What is known after an operation, on the way to another.
    memory = Memory()
    memory.values = known.copy()
    if isinstance(op, Branch):
        if isinstance(op.test, Variable) and op.test.local and to == op.no.at != op.yes.at:
            memory.values[_PREFIX + op.test.name] = 0
        return memory.values
    value = op.value.value(memory, _PREFIX) if isinstance(op, Set) else None
    for place in sets(op):
        if isinstance(place, Variable) and place.local:
            memory.values.pop(_PREFIX + place.name, None)
            if value is not None:
                memory.values[_PREFIX + place.name] = value
    return memory.values


class _Onward(Machine):
    # Walks on from a call that failed, as long as it is certain where to.

    def __init__(self, interest: Interest, name: str, failure: _Failure) -> None:
        self.interest = interest
        self.name = name
        self.failure = failure
        self.unwinds = False
        self.found: dict[Remark, None] = {}

    def remarks(self, code: Code, at: int, op: Call, known: Mapping[str, Value]) -> list[Remark]:
        state = State([], Memory())
        state.enter(code, (), "")
        state.memory.values = dict(known)
        state.memory.store(self.result(state, op), self.failure.value)
        state.top.at = at + 1
        for _ in self.paths(state):
            pass
        return list(self.found)

    def _remark(self, state: State, line: int, rule: str, does: str) -> None:
        code = state.frames[0].code
        due = " or ".join(
            shown(("goto", one, None)) if one else "returns" for one in sorted(self.failure.labels)
        )
        message = f"{code.name}(): when {self.name}() fails, the text {does}, the model {due}"
        self.found[Remark(code.path, line, rule, message)] = None

    def idle(self, code: Code) -> Mapping[int, Idle]:
        return self.interest.idle(code)

    def branch(self, state: State, frame: Frame, op: Branch) -> list[State] | None:
        out = super().branch(state, frame, op)
        return out if out is None or self.unwinds else []

    def called(self, state: State, op: Call) -> list[State] | None:
        matters = not op.name or op.name in self.interest.known or self.interest.leads(op.name)
        if matters and not self.unwinds:
            return []
        state.forget(op)
        state.memory.store(self.result(state, op), None)
        return None

    def jumped(self, state: State, label: str, line: int) -> list[State] | None:
        if label in self.failure.labels or self.unwinds:
            self.unwinds = True
            return None
        self._remark(state, line, "wrong-label", f"jumps to {label}")
        return []

    def returned(self, state: State, op: Return, value: Value) -> list[State] | None:
        code = state.top.code
        returns = shown(("return", "", None if code.void else plain(value)))
        if not self.unwinds and "" not in self.failure.labels:
            self._remark(state, op.line, "wrong-label", returns)
        elif self.failure.error and _succeeds(value) and not code.void:
            self._remark(state, op.line, "success-after-unwind", returns)
        self.leave(state, value)
        return None

    def back(self, state: State, frame: Frame) -> bool:
        return False

    def looped(self, state: State, frame: Frame, op: Loop) -> list[State] | None:
        return self._past(state, frame, op)

    def turned(self, state: State, frame: Frame, op: Turn) -> list[State] | None:
        return self._past(state, frame, op)

    def _past(self, state: State, frame: Frame, op: Loop | Turn) -> list[State] | None:
        if not self.unwinds:
            return []
        for inside in turns(frame.code.operations, frame.at, op.leave.at):
            for place in sets(inside):
                state.memory.forget(place.address(state.memory, frame.prefix))
        frame.at = op.leave.at
        return None


def _succeeds(value: Value) -> bool:
    return isinstance(value, Unset) or (isinstance(value, int) and value >= 0)
