# SPDX-License-Identifier: GPL-2.0-only
"""Does the text of a function allow what the model's function did?

What the model did in one call of a function is its `Body`: the calls that it made directly, with what
they returned, its jumps and locks, and what it returned itself. The text is walked along it: each
call of the text that the model knows must be the next of the body, and returns what it returned
there. Where the text tests what cannot be known, both ways are tried. If one way leads through the
whole body to the return, text and model agree on it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import attrs

from kvm_ref.tree.bodies import About, Body, Difference, Item, agrees, plain, value_of
from kvm_ref.tree.flow import Idle, sets, straight, turns
from kvm_ref.tree.locks import lock_of, spins
from kvm_ref.tree.machine import Frame, Machine, State
from kvm_ref.tree.operations import Asm, Call, Code, Loop, Return, Turn
from kvm_ref.tree.program import Interest
from kvm_ref.tree.resources import other
from kvm_ref.tree.values import Memory, Value
from kvm_ref.vocabulary import Facts

# Operations that one match may take. A function of the kernel takes some hundred.
_LIMIT = 100_000
# How deep calls are followed that the model does not show.
_DEPTH = 4


class _State(State):
    """A way through the text, and how many items of the body it has come through."""

    __slots__ = ("done", "leaves", "lines", "sure", "turned")

    def __init__(self, frames: list[Frame], memory: Memory) -> None:
        super().__init__(frames, memory)
        self.done = 0
        # How far that was when it first jumped to a label without the error that the model has there.
        self.sure: int | None = None
        # Where each item was found, and the jumps and returns that were passed.
        self.lines: tuple[tuple[str, int], ...] = ()
        self.leaves: tuple[int, ...] = ()
        # How often each loop was turned, by the depth of its frame and its head.
        self.turned: dict[tuple[int, int], int] = {}

    def fork(self) -> _State:
        other = super().fork()
        assert isinstance(other, _State)
        other.done, other.lines, other.leaves = self.done, self.lines, self.leaves
        other.turned, other.sure = self.turned, self.sure
        return other


@attrs.frozen
class Agreement:
    """That text and body agree, and the lines of the jumps and returns that the text took."""

    lines: frozenset[int]


class Match(Machine):
    """Walks the text of one function along one body.

    Args:
        interest: the text, and the functions that the model shows.
        code: the function.
        body: what the model did.
        locks: the locks that the model shows.
        optional: the functions that only tell something, and that the model calls where it matters.
        labels: the labels that the model's function jumps to.
        cpus: how many CPUs the model's machine had.
    """

    def __init__(
        self,
        interest: Interest,
        code: Code,
        body: Body,
        locks: frozenset[str],
        optional: frozenset[str],
        labels: frozenset[str],
        cpus: int = 4,
    ) -> None:
        self.interest = interest
        self.program = interest.program
        self.known = interest.known
        self.code = code
        self.body = body
        self.locks = locks
        self.optional = optional
        self.labels = labels
        self.cpus = cpus
        self.best: Difference | None = None
        self.rank: tuple[int, bool, bool, bool, int] = (-1, False, False, False, 0)
        self.steps = 0
        self.seen: set[object] = set()

    def run(self) -> Agreement | Difference:
        """Return that they agree, or where they part at the latest."""
        state = _State([], Memory())
        state.enter(self.code, (), "")
        try:
            for end in self.paths(state):
                assert isinstance(end, _State)
                return Agreement(frozenset(end.leaves))
        except Limit:
            if self.best is None:
                raise
        assert self.best is not None, "every way ends somewhere"
        return self.best

    def _next(self, state: State) -> Item:
        assert isinstance(state, _State)
        items = self.body.items
        return items[state.done] if state.done < len(items) else ("return", "", self.body.value)

    def _take(self, state: State, line: int) -> None:
        assert isinstance(state, _State)
        state.done += 1
        state.lines = (*state.lines, (state.top.code.path, line))

    def _part(self, state: State, line: int, did: Item) -> list[State]:
        # The end of a way that the model did not go. Of those that come as far the most telling is kept.
        assert isinstance(state, _State)
        found = Difference(state.top.code.path, line, did, self._next(state), state.lines)
        rank = self._rank(state, found)
        if self.best is None or rank > self.rank:
            self.best, self.rank = found, rank
        return []

    def _rank(self, state: _State, found: Difference) -> tuple[int, bool, bool, bool, int]:
        # The way of the model is one that has an error in hand if a jump is due, and that is not in one
        # more turn of a loop in which nothing happened.
        jump = found.due[0] == "goto"
        error = not jump or (len(state.frames) == 1 and self.error(state) is not None)
        leaves = found.did[0] != "call"
        astray = not (jump and leaves) and any(_astray(frame, state.done) for frame in state.frames)
        says = leaves if jump else found.did[0] != "return"
        after = found.after if state.sure is None else state.sure
        return after, error, not astray, says, found.line

    def step(self, state: State, frame: Frame, op: Any) -> list[State] | None:
        self.steps += 1
        if self.steps > _LIMIT:
            raise Limit(f"{self.code.name}() has more ways than can be tried")
        return super().step(state, frame, op)

    def idle(self, code: Code) -> Mapping[int, Idle]:
        return self.interest.idle(code)

    def called(self, state: State, op: Call) -> list[State] | None:
        kind, name, value = self._next(state)
        lock = lock_of(op, state.memory, state.top.prefix)
        if lock is not None:
            what, which = lock
            if (kind, name) == lock:
                self._take(state, op.line)
                state.memory.store(self.result(state, op), int(op.name.endswith("trylock")))
            elif op.name.endswith("trylock"):
                state.memory.store(self.result(state, op), 0)
            elif which in self.locks and not spins(op.name):
                return self._part(state, op.line, (what, which, None))
            else:
                state.memory.store(self.result(state, op), 0)
            return None
        names = {op.name} if op.name else self.program.targets(op, state.memory, state.top.prefix)
        modelled = [n for n in names if n in self.known]
        if not op.name and not names:
            names = {name} & self.program.given
        elif name in op.texts and not modelled:
            # A macro or a function that calls what it is given.
            names = {name}
        if kind == "call" and name in names:
            wrong = self._another(state, op, name)
            if wrong:
                return self._part(state, op.line, About.of(name, None, wrong))
            without = self._skip(state.fork(), op) if name in self.optional else None
            self._take(state, op.line)
            state.forget(op)
            if self.interest.waits(name):
                state.memory.forget_structures()
            assert isinstance(state, _State)
            self._stores(state, op, name)
            state.memory.store(self.result(state, op), value_of(value, state.done))
            return [without, state] if without else None
        if modelled and len(modelled) == len(names) and not self.optional.issuperset(modelled):
            return self._part(state, op.line, ("call", " or ".join(sorted(modelled)), None))
        codes = self._inside(op.name, names) if len(state.frames) < _DEPTH else []
        if codes:
            # A pointer may be to something else, too.
            out = [] if op.name else [self._skip(state.fork(), op)]
            for code in codes:
                inside = state.fork()
                inside.enter(code, state.values(op), self.result(state, op))
                out.append(inside)
            return out
        if kind == "call" and name in state.top.code.given:
            # What is called may call back what the structure holds that it was given, and more than once.
            other = self._skip(state.fork(), op)
            self._take(state, op.line)
            state.top.at -= 1
            return [other, state]
        self._skip(state, op)
        return None

    def _stores(self, state: State, op: Call, name: str) -> None:
        # What a call that is not gone into leaves in the structures that it is given, if it has but one way.
        code = self.program.code(name)
        stores = straight(code) if code else ()
        if code and stores:
            values = state.values(op)
            state.enter(code, values, "")
            for one in stores:
                state.store(one.place, one.value.value(state.memory, state.top.prefix))
            state.memory.drop(state.frames.pop().prefix)

    def _another(self, state: State, op: Call, name: str) -> str:
        # What a call is about if that is something else than in the model, or "".
        facts = self.known.get(name)
        if not isinstance(facts, Facts):
            return ""
        item, items = self._next(state), self.body.items
        return other(item, items, facts, op, state.top.code, state.memory, state.top.prefix)

    def _inside(self, name: str, targets: Collection[str]) -> list[Code]:
        # The functions that a call goes into, of those that lead to something that the model knows.
        wanted = (name,) if name else sorted(targets)
        codes = (self.program.code(one) for one in wanted if self.interest.leads(one))
        return [code for code in codes if code is not None]

    def _skip(self, state: State, op: Call) -> State:
        # Pass over a call of which nothing is known.
        state.forget(op)
        state.memory.store(self.result(state, op), None)
        return state

    def assembly(self, state: State, frame: Frame, op: Asm) -> list[State] | None:
        # The model calls the instruction that may fault; whether it does, it says there.
        kind, name, _ = self._next(state)
        if kind == "call" and name in op.words:
            self._take(state, op.line)
        return super().assembly(state, frame, op)

    def jumped(self, state: State, label: str, line: int) -> list[State] | None:
        if len(state.frames) > 1:
            return None
        assert isinstance(state, _State)
        kind, name, _ = self._next(state)
        if (kind, name) == ("goto", label):
            if state.sure is None and self._denies(state):
                state.sure = state.done
            self._take(state, line)
            state.leaves = (*state.leaves, line)
            return None
        if label in self.labels and self.error(state) is not None:
            return self._part(state, line, ("goto", label, None))
        state.leaves = (*state.leaves, line)
        return None

    def _denies(self, state: State) -> bool:
        # Whether the text is known to have no error in hand, where the model ends with an error number.
        value = self.body.value
        if not isinstance(value, int) or value >= 0:
            return False
        held = [state.memory.get(state.top.prefix + name) for name in state.top.code.errors()]
        return bool(held) and all(isinstance(one, int) and one >= 0 for one in held)

    def returned(self, state: State, op: Return, value: Value) -> list[State] | None:
        if len(state.frames) > 1:
            self.leave(state, value)
            # Two ways through what was called that make no difference behind it are one.
            here = tuple((frame.code, frame.at) for frame in state.frames)
            assert isinstance(state, _State)
            key = (state.done, here, state.memory.known())
            if key in self.seen:
                return []
            self.seen.add(key)
            return None
        kind, _, expected = self._next(state)
        if kind != "return":
            return self._part(state, op.line, ("return", "", None if self.code.void else plain(value)))
        if not self.code.void and not agrees(value, expected):
            return self._part(state, op.line, ("return", "", plain(value)))
        assert isinstance(state, _State)
        state.leaves = (*state.leaves, op.line)
        self.leave(state, value)
        return None

    def back(self, state: State, frame: Frame) -> bool:
        assert isinstance(state, _State)
        return self._again(state, frame)

    def looped(self, state: State, frame: Frame, op: Loop) -> list[State] | None:
        assert isinstance(state, _State)
        if op.variable is not None:
            state.store(op.variable, None)
        head = frame.at
        if not self._again(state, frame):
            self._away(state, frame, op)
            return None
        # Each turn until now did something: then the loop turns as often as there are CPUs.
        turned = state.turned.get((len(state.frames), head), 0)
        state.turned = {**state.turned, (len(state.frames), head): turned + 1}
        if op.name == "for_each_possible_cpu" and turned != self.cpus:
            return [state]
        # What the last turn set is known then.
        other = state.fork()
        other.turned = {key: n for key, n in state.turned.items() if key != (len(state.frames), head)}
        other.top.at = op.leave.at
        return [other, state]

    def turned(self, state: State, frame: Frame, op: Turn) -> list[State] | None:
        assert isinstance(state, _State)
        if not self._again(state, frame):
            self._away(state, frame, op)
        return None

    def _away(self, state: State, frame: Frame, op: Loop | Turn) -> None:
        assert isinstance(state, _State)
        state.turned = {key: n for key, n in state.turned.items() if key != (len(state.frames), frame.at)}
        # Leave a loop at its head, after any number of turns: what they set is not known.
        for inside in turns(frame.code.operations, frame.at, op.leave.at):
            for place in sets(inside):
                state.memory.forget(place.address(state.memory, frame.prefix))
        frame.at = op.leave.at

    def _again(self, state: _State, frame: Frame) -> bool:
        # Whether the body went on since the walk was here: else it would turn for ever.
        before = frame.turns.get(frame.at)
        frame.turns[frame.at] = state.done
        return before != state.done


class Limit(Exception):
    """The walk was given up."""


def _astray(frame: Frame, done: int) -> bool:
    # Whether a frame is inside a loop that was turned once more without anything happening in it.
    for at, before in frame.turns.items():
        op = frame.code.operations[at - 1]
        if isinstance(op, (Loop, Turn)) and before == done and at <= frame.at - 1 < op.leave.at:
            return True
    return False
