# SPDX-License-Identifier: GPL-2.0-only
"""Walking operations: one state at a time, forked where a condition cannot be known.

`Machine` does what C itself determines. What a call does, which jumps are allowed and how often a loop
turns is for its subclasses to say: `kvm_ref.tree.match` follows a trace of the model,
`kvm_ref.tree.walk` goes by itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from kvm_ref.tree.expressions import Binary, Place
from kvm_ref.tree.flow import Idle
from kvm_ref.tree.operations import Asm, Branch, Call, Code, Goto, Jump, Loop, Operation, Return, Set, Turn
from kvm_ref.tree.values import Error, Memory, Pointer, Unset, Value, settled, truth


class Frame:
    """A call that is being walked: which function, where in it, and where its result is to go."""

    __slots__ = ("at", "code", "prefix", "result", "turns")

    def __init__(self, code: Code, prefix: str, result: str) -> None:
        self.code = code
        self.at = 0
        self.prefix = prefix
        self.result = result
        # How far the walk was when it last came to the head of each loop.
        self.turns: dict[int, int] = {}

    def copy(self) -> Frame:
        """Return a frame of its own."""
        other = Frame(self.code, self.prefix, self.result)
        other.at = self.at
        other.turns = self.turns.copy()
        return other


class State:
    """One way through the text, so far. Subclasses add what they have seen on it."""

    __slots__ = ("frames", "memory")

    def __init__(self, frames: list[Frame], memory: Memory) -> None:
        self.frames = frames
        self.memory = memory

    @property
    def top(self) -> Frame:
        """The innermost call."""
        return self.frames[-1]

    def fork(self) -> State:
        """Return a state that is the same, and goes its own way."""
        return type(self)([frame.copy() for frame in self.frames], self.memory.copy())

    def enter(self, code: Code, args: tuple[Value, ...], result: str) -> None:
        """Go into a function."""
        frame = Frame(code, f"{len(self.frames)}:", result)
        for name, value in zip(code.params, args, strict=False):
            self.memory.store(frame.prefix + name, value)
        self.frames.append(frame)

    def store(self, place: Place, value: Value) -> None:
        """Store a value where an expression of the innermost call says."""
        self.memory.store(place.address(self.memory, self.top.prefix), value)

    def values(self, call: Call | Loop) -> tuple[Value, ...]:
        """Return what the arguments of a call are worth."""
        prefix = self.top.prefix
        return tuple(settled(arg.value(self.memory, prefix)) for arg in call.args)

    def forget(self, call: Call) -> None:
        """Forget the local variables that a call was given the addresses of, and may set."""
        prefix = self.top.prefix
        for arg in call.args:
            value = arg.value(self.memory, prefix)
            if isinstance(value, Pointer) and value.target.startswith(prefix):
                self.memory.forget(value.target)
            elif isinstance(value, Unset) and isinstance(arg, Place):
                # A macro, which sets it.
                self.memory.forget(arg.address(self.memory, prefix))


class Machine:
    """Walks states until they return."""

    def paths(self, start: State) -> Iterator[State]:
        """Yield the states that came to the end of the outermost function, one way after the other."""
        todo = [start]
        while todo:
            state = todo.pop()
            while state.frames:
                frame = state.frames[-1]
                operation = frame.code.operations[frame.at]
                frame.at += 1
                others = self.step(state, frame, operation)
                if others is not None:
                    todo += others
                    break
            else:
                yield state

    def step(self, state: State, frame: Frame, op: Operation) -> list[State] | None:
        """Do one operation. Return the states to go on with if that is not `state` alone."""
        if isinstance(op, Call):
            return self.called(state, op)
        if isinstance(op, Set):
            state.store(op.place, op.value.value(state.memory, frame.prefix))
        elif isinstance(op, Branch):
            return self.branch(state, frame, op)
        elif isinstance(op, Jump):
            frame.at = op.to.at
        elif isinstance(op, Goto):
            if op.to.at < frame.at:
                # A loop by other means, and no unwinding.
                again = self.back(state, frame)
                frame.at = op.to.at
                return None if again else []
            frame.at = op.to.at
            return self.jumped(state, op.label, op.line)
        elif isinstance(op, Return):
            value = op.value.value(state.memory, frame.prefix) if op.value else None
            return self.returned(state, op, value)
        elif isinstance(op, Loop):
            return self.looped(state, frame, op)
        elif isinstance(op, Turn):
            return self.turned(state, frame, op)
        else:
            return self.assembly(state, frame, op)
        return None

    def branch(self, state: State, frame: Frame, op: Branch) -> list[State] | None:
        """Go the way that a condition says, or both."""
        known = truth(op.test.value(state.memory, frame.prefix))
        fact = op.test.fact(state.memory, frame.prefix, op.text) if isinstance(op.test, Binary) else ""
        key = fact or op.test.key(frame.prefix)
        if known is None and key:
            known = state.memory.decided.get(key)
        if known is not None:
            frame.at = op.yes.at if known else op.no.at
            return None
        skipped = self.idle(frame.code).get(frame.at - 1)
        if skipped is not None:
            for place in skipped.places:
                state.memory.forget(place.address(state.memory, frame.prefix))
            frame.at = skipped.meet
            return None
        other = state.fork()
        self.decide(state, op, key, True)
        self.decide(other, op, key, False)
        return [other, state]

    def decide(self, state: State, op: Branch, key: str, known: bool) -> None:
        """Go on with a condition taken to be true, or false."""
        frame = state.top
        frame.at = op.yes.at if known else op.no.at
        if not known and isinstance(op.test, Place):
            state.store(op.test, 0)
        elif key:
            state.memory.decided[key] = known

    def assembly(self, state: State, frame: Frame, op: Asm) -> list[State] | None:
        """Go on after assembly, and to each of its labels."""
        out = []
        for label, mark in op.labels:
            other = state.fork()
            other.top.at = mark.at
            more = self.jumped(other, label, op.line)
            out += [other] if more is None else more
        return [*out, state]

    def leave(self, state: State, value: Value) -> None:
        """Return from the innermost call."""
        frame = state.frames.pop()
        state.memory.drop(frame.prefix)
        if state.frames and frame.result:
            state.memory.store(frame.result, value)

    def result(self, state: State, call: Call) -> str:
        """Return where what a call returns is kept."""
        return call.result.address(state.memory, state.top.prefix)

    def error(self, state: State) -> int | None:
        """Return the error number that the innermost function has in hand, or None."""
        frame = state.top
        for name in frame.code.errors():
            value = state.memory.get(frame.prefix + name)
            if isinstance(value, Error):
                return -value.errno
            if isinstance(value, int) and value < 0:
                return value
        return None

    # What subclasses say.

    def idle(self, code: Code) -> Mapping[int, Idle]:
        """Return the conditions of a function that make no difference to this walk."""
        raise NotImplementedError  # what makes a difference depends on what is looked for

    def called(self, state: State, op: Call) -> list[State] | None:
        """Do a call."""
        raise NotImplementedError  # a walk and a comparison each do it their own way

    def jumped(self, state: State, label: str, line: int) -> list[State] | None:
        """Allow a jump that was just done, or not."""
        raise NotImplementedError  # a walk takes every jump, a comparison those of the model

    def returned(self, state: State, op: Return, value: Value) -> list[State] | None:
        """Return from the innermost call, if that is allowed."""
        raise NotImplementedError  # likewise

    def back(self, state: State, frame: Frame) -> bool:
        """Say whether a jump back may be done once more."""
        raise NotImplementedError

    def looped(self, state: State, frame: Frame, op: Loop) -> list[State] | None:
        """Turn a loop over things once more, or leave it, or both."""
        raise NotImplementedError

    def turned(self, state: State, frame: Frame, op: Turn) -> list[State] | None:
        """Come to the head of a loop with a condition."""
        raise NotImplementedError
