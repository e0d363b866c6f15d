# SPDX-License-Identifier: GPL-2.0-only
"""Every way through a function of the text, as a trace: with no call failing, or with one.

What the vocabulary knows to acquire, to release or to fail is done as the vocabulary says; every other
function that the text has, and that leads to such calls, is walked into. What any other call
returns is not known. Where a condition cannot be known both ways are taken, and the trace says so.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from kvm_ref.errno import ENOMEM
from kvm_ref.fault import Fault
from kvm_ref.trace import At, Event, Step, Trace, place
from kvm_ref.tree.conditions import Conditions
from kvm_ref.tree.expressions import Place
from kvm_ref.tree.flow import Idle
from kvm_ref.tree.locks import lock_of
from kvm_ref.tree.machine import Frame, State
from kvm_ref.tree.operations import Branch, Call, Code, Loop, Operation, Return, Turn
from kvm_ref.tree.program import Interest
from kvm_ref.tree.roles import CONVERTS, KEEPS, LETS_GO, Roles, converted, fails_with, gives
from kvm_ref.tree.values import Memory, Pointer, Value
from kvm_ref.tree.ways import Condition, WalkState, Way, shown

# How many CPUs there are, and how often a loop turns whose end cannot be known.
CPUS = 2
_TURNS = 2
# A loop whose end is known turns no more often than this.
_LONG = 64
# How many operations the ways through one function may take together.
_STEPS = 20_000


class _Enough(Exception):
    # The ways are too long, or too many.
    pass


class Walk(Conditions):
    """Walks a function of a program.

    Args:
        interest: the text, and what is of interest in it: the roles.
        roles: what is known of the functions that it calls.
        fault: the call that is to fail, or None.
        settled: conditions that are known for this walk, by file, line and text.
        limit: how many ways to take at most.
    """

    def __init__(
        self,
        interest: Interest,
        roles: Roles,
        fault: Fault | None = None,
        *,
        settled: Mapping[Condition, bool] | None = None,
        limit: int = 64,
    ) -> None:
        self.program = interest.program
        self.interest = interest
        self.roles = roles
        self.fault = fault
        self.settled = settled or {}
        self.limit = limit
        self.complete = True
        self.steps = 0

    def paths(self, start: State) -> Iterator[State]:
        try:
            yield from super().paths(start)
        except _Enough:
            self.complete = False

    def step(self, state: State, frame: Frame, op: Operation) -> list[State] | None:
        self.steps += 1
        if self.steps > _STEPS:
            raise _Enough
        return super().step(state, frame, op)

    def ways(self, code: Code) -> Iterator[Way]:
        """Yield the ways through a function; `complete` says afterwards whether that was all."""
        state = WalkState([], Memory(self.program.statics))
        at = place("task", 0)
        state.shown = (at,)
        state.enter(code, (), "")
        for name in code.params:
            if name in code.pointers:
                state.memory.store(state.top.prefix + name, Pointer("*" + name))
        state.emit("enter", at, code.name, code.line, {}, None)
        seen = set()
        for n, end in enumerate(self.paths(state)):
            assert isinstance(end, WalkState)
            events = end.events
            key = tuple(
                (kind, name, at.depth, str(value), str(args and (args.get("obj"), args.get("uses"))))
                for kind, at, name, args, value in events
            )
            if key not in seen:
                seen.add(key)
                yield Way(self._trace(code, events), end.assumed, end.fired, end.kept, end.given)
            if n + 1 == self.limit:
                self.complete = False
                return

    def _trace(self, code: Code, events: list[Event]) -> Trace:
        value = events[-1][4]
        result = 0
        if isinstance(value, int) and value < 0:
            result = value
        elif isinstance(value, str) and value.startswith("ERR_PTR("):
            result = int(value[8:-1])
        elif code.pointer and value == 0:
            # A function that fails with NULL gives no number; memory is what there mostly is too little of.
            result = -ENOMEM
        return Trace(
            source={"kind": "c-source", "kernel": self.program.tree.version},
            machine={"cpus": CPUS},
            params={},
            faults=[self.fault.to_json()] if self.fault else [],
            steps=[Step([code.name], [result], events)],
        )

    def idle(self, code: Code) -> Mapping[int, Idle]:
        return self.interest.idle(code)

    def called(self, state: State, op: Call) -> list[State] | None:
        assert isinstance(state, WalkState)
        at = state.shown[-1].inner or state.shown[-1].deeper()
        lock = lock_of(op, state.memory, state.top.prefix)
        if lock is not None:
            free = state.fork() if op.name.endswith("trylock") else None
            state.emit(lock[0], at, lock[1], op.line, {}, None)
            state.memory.store(self.result(state, op), int(free is not None))
            if free is not None:
                free.memory.store(self.result(free, op), 0)
            return [free, state] if free else None
        name = op.name
        if not name:
            targets = self.program.targets(op, state.memory, state.top.prefix)
            name = next(iter(targets)) if len(targets) == 1 else ""
        facts = self.roles.get(name)
        code = self._entered(state, op, name)
        if code is not None and (split := self.asked(state, op, code)):
            return split
        if facts is not None:
            nth = state.hits[name] = state.hits.get(name, 0) + 1
            fault = self.fault
            if fault is not None and fault.function == name and fault.nth == nth and facts.fails:
                value = fails_with(facts, fault.errno)
                state.fired = True
                state.emit("enter", at, name, op.line, {}, None)
                state.emit("inject", at, name, op.line, {}, shown(value))
                state.emit("exit", at, name, op.line, {}, shown(value))
                state.forget(op)
                state.memory.store(self.result(state, op), value)
                return None
            if self.roles.leaf(name):
                self._leaf(state, op, name, at)
                return None
        values = state.values(op)
        if code is not None:
            result = self.result(state, op)
            state.emit("enter", at, name, op.line, {}, None)
            state.shown = (*state.shown, at)
            known = [(name, key) for name, _, key in self.tested(state, op, code)]
            state.enter(code, self._pointers(state, op, code, values), result)
            for param, key in known:
                state.memory.decided[state.top.prefix + param] = state.memory.decided[key]
            return None
        targets = {value.target for value in values if isinstance(value, Pointer)}
        if self._keeps(name):
            state.given |= targets
        elif LETS_GO.fullmatch(name):
            state.given -= targets
        state.forget(op)
        value = None
        if facts is not None:
            value = gives(facts, self._here(state, op))
            state.emit("enter", at, name, op.line, {}, None)
            state.emit("exit", at, name, op.line, {}, shown(value))
        elif op.args and CONVERTS.fullmatch(name):
            value = converted(name, op.args[0].value(state.memory, state.top.prefix))
        elif self.asks(state, op):
            return self.answers(state, op)
        state.memory.store(self.result(state, op), value)
        return None

    def _entered(self, state: WalkState, op: Call, name: str) -> Code | None:
        # The function that a call goes into, if it does.
        leaf = name in self.roles and self.roles.leaf(name)
        code = self.program.code(name) if name and not leaf and len(state.frames) < 12 else None
        # What calls itself does so for something else, and ends: that is followed if a number says when.
        again = any(frame.code is code for frame in state.frames)
        ends = not again or any(isinstance(value, int) for value in state.values(op))
        return code if code is not None and ends and self.interest.leads(name) else None

    def _keeps(self, name: str) -> bool:
        # Whether a function that is not walked into gives its argument to somebody who keeps it.
        code = self.program.code(name) if name else None
        return any(map(KEEPS.fullmatch, {name} | (code.calls() if code else set())))

    def _here(self, state: WalkState, op: Call) -> str:
        # A name for what is acquired here: the place in the text, and which time.
        here = f"{state.top.code.path.rpartition('/')[2]}:{op.line}"
        nth = state.hits[here] = state.hits.get(here, 0) + 1
        return here if nth == 1 else f"{here}#{nth}"

    def _pointers(
        self, state: WalkState, op: Call, code: Code, values: tuple[Value, ...]
    ) -> tuple[Value, ...]:
        # An unknown pointer that a function is given points to the same there as here.
        prefix = state.top.prefix
        out = list(values)
        for n, (name, arg) in enumerate(zip(code.params, op.args, strict=False)):
            if out[n] is None and name in code.pointers and isinstance(arg, Place):
                out[n] = Pointer("*" + arg.address(state.memory, prefix))
        return tuple(out)

    def _leaf(self, state: WalkState, op: Call, name: str, at: At) -> None:
        # A call that acquires, releases or uses something, or that can fail, and is not walked into.
        facts = self.roles[name]
        value = gives(facts, self._here(state, op))
        what = self.roles.resource(facts, op, state.memory, state.top.prefix, value)
        before = {"obj": what} if facts.releases else {"uses": what} if facts.uses else {}
        state.emit("enter", at, name, op.line, before, None)
        state.forget(op)
        state.memory.store(self.result(state, op), value)
        done = {"obj": what} if facts.acquires else {}
        state.emit("exit", at, name, op.line, done, shown(value))

    def jumped(self, state: State, label: str, line: int) -> list[State] | None:
        assert isinstance(state, WalkState)
        at = state.shown[-1]
        frame = state.top
        value = self.error(state)
        if value is not None:
            inner = at.inner or at.deeper()
            state.emit("goto", inner, frame.code.name, line, {"label": label}, value)
        return None

    def returned(self, state: State, op: Return, value: Value) -> list[State] | None:
        assert isinstance(state, WalkState)
        code = state.top.code
        at = state.shown[-1]
        value = None if code.void else value
        state.emit("exit", at, code.name, op.line, {}, shown(value))
        state.shown = state.shown[:-1]
        self.leave(state, value)
        return None

    def branch(self, state: State, frame: Frame, op: Branch) -> list[State] | None:
        assert isinstance(state, WalkState)
        before = self.settled.get(self.condition(state, op))
        if before is not None and not state.fired and op.test.value(state.memory, frame.prefix) is None:
            self.decide(state, op, op.test.key(frame.prefix), before)
            return None
        # The test of a loop that cannot be known is true a few times, then false.
        for mark, other in ((op.no, op.yes), (op.yes, op.no)):
            turns = frame.turns.get(mark.at)
            if turns is not None and op.test.value(state.memory, frame.prefix) is None:
                if turns > _TURNS:
                    del frame.turns[mark.at]
                frame.at = mark.at if turns > _TURNS else other.at
                return None
        return super().branch(state, frame, op)

    def back(self, state: State, frame: Frame) -> bool:
        turn = frame.turns[-frame.at] = frame.turns.get(-frame.at, 0) + 1
        return turn <= _TURNS

    def looped(self, state: State, frame: Frame, op: Loop) -> list[State] | None:
        turn = frame.turns.get(frame.at, 0)
        over_cpus = "cpu" in op.name
        if turn >= (CPUS if over_cpus else 1):
            frame.turns[frame.at] = 0
            frame.at = op.leave.at
            return None
        frame.turns[frame.at] = turn + 1
        if op.variable is not None:
            state.store(op.variable, turn if over_cpus else Pointer(f"*{op.texts[-1]}"))
        return None

    def turned(self, state: State, frame: Frame, op: Turn) -> list[State] | None:
        assert isinstance(state, WalkState)
        turn = frame.turns.get(op.leave.at, 0) + 1
        frame.turns[op.leave.at] = turn
        # A loop without a test of its own that something unknown ends: not for ever more ways.
        before = frame.turns.get(~op.leave.at, len(state.assumed))
        frame.turns[~op.leave.at] = len(state.assumed)
        if turn > _TURNS and len(state.assumed) > before:
            return []
        if turn > _LONG:
            del frame.turns[op.leave.at]
            frame.at = op.leave.at
        return None
