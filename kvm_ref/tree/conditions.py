# SPDX-License-Identifier: GPL-2.0-only
"""Conditions on a walk that cannot be known: each is taken both ways, and what it was taken for holds.

That is so for what is tested more than once: by several functions that are given it, or by several calls
that ask for the same.
"""

from __future__ import annotations

from collections.abc import Mapping

from kvm_ref.errno import EIO
from kvm_ref.tree.expressions import Binary, Expression, Variable
from kvm_ref.tree.machine import Machine, State
from kvm_ref.tree.operations import Branch, Call, Code, Mark
from kvm_ref.tree.ways import Condition, WalkState

# Variables that hold an error by custom.
_ERRORS = frozenset({"r", "ret", "err", "error", "rc", "retval"})


class Conditions(Machine):
    """Takes conditions for true and for false. `settled` are those that are known for this walk."""

    settled: Mapping[Condition, bool]

    def decide(self, state: State, op: Branch, key: str, known: bool) -> None:
        assert isinstance(state, WalkState)
        super().decide(state, op, key, known)
        place = op.test.left if isinstance(op.test, Binary) and op.test.op == "<" else op.test
        if known and isinstance(place, Variable) and place.name in _ERRORS:
            # Some error, the same for all who ask later.
            state.store(place, -EIO)
        state.assumed = (*state.assumed, (self.condition(state, op), known))

    def condition(self, state: State, op: Branch) -> Condition:
        """Return the condition of a branch, as it is told."""
        return state.top.code.path, op.line, op.text

    def tested(self, state: WalkState, op: Call, code: Code) -> list[tuple[str, Expression, str]]:
        """Return the unknown arguments that a function tests: parameter, argument, and the condition here."""
        prefix, skipped = state.top.prefix, self.idle(code)
        names = {
            test.test.name
            for at, test in enumerate(code.operations)
            if isinstance(test, Branch) and isinstance(test.test, Variable) and at not in skipped
        }
        given = zip(code.params, op.args, strict=False)
        return [
            (name, arg, arg.key(prefix))
            for name, arg in given
            if name in names and arg.key(prefix) and arg.value(state.memory, prefix) is None
        ]

    def asked(self, state: WalkState, op: Call, code: Code) -> list[State]:
        """Return the states in which one more of these arguments is decided, none if all are.

        What several functions are given to decide something by is the same for all of them.
        """
        for _, arg, key in self.tested(state, op, code):
            if key not in state.memory.decided:
                text = op.texts[op.args.index(arg)]
                test = Branch(arg, Mark(state.top.at - 1), Mark(state.top.at - 1), text, op.line)
                before = self.settled.get(self.condition(state, test))
                if before is not None and not state.fired:
                    self.decide(state, test, key, before)
                    return [state]
                other = state.fork()
                self.decide(state, test, key, True)
                self.decide(other, test, key, False)
                return [other, state]
        return []

    def asks(self, state: WalkState, op: Call) -> bool:
        """Say whether a call asks for a fact that does not change, to decide something by it at once."""
        after = state.top.code.operations[state.top.at]
        plain = all(isinstance(arg, Variable) and arg.constant for arg in op.args)
        turns = state.top.turns
        asked = (
            isinstance(after, Branch)
            and after.test is op.result
            and not {after.yes.at, after.no.at} & turns.keys()
        )
        return plain and asked and state.top.at not in self.idle(state.top.code)

    def answers(self, state: WalkState, op: Call) -> list[State] | None:
        """Let such a call say yes and no, or what it said before."""
        text = f"{op.name}({', '.join(op.texts)})"
        known = state.memory.get(text)
        if known is not None:
            state.memory.store(self.result(state, op), known)
            return None
        out: list[State] = []
        for answer in (0, 1):
            other = state.fork()
            other.memory.store(text, answer)
            other.memory.store(self.result(other, op), answer)
            condition = (state.top.code.path, op.line, text)
            other.assumed = (*other.assumed, (condition, bool(answer)))
            out.append(other)
        before = self.settled.get((state.top.code.path, op.line, text))
        return [out[before]] if before is not None and not state.fired else out
