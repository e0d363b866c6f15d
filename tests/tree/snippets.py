# SPDX-License-Identifier: GPL-2.0-only
"""Snippets of C for tests: read, lowered, run, walked and held against bodies written by hand."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from kvm_ref.tree.bodies import Body, Item
from kvm_ref.tree.config import Config
from kvm_ref.tree.flow import Idle
from kvm_ref.tree.locks import lock_of
from kvm_ref.tree.machine import Frame, Machine, State
from kvm_ref.tree.match import Agreement, Match
from kvm_ref.tree.operations import Call, Code, Loop, Return, Turn
from kvm_ref.tree.parse import parse
from kvm_ref.tree.program import Interest, Program
from kvm_ref.tree.source import File, Function, Tree
from kvm_ref.tree.statements import lower
from kvm_ref.tree.values import Error, Memory, Pointer, Value

# What a call returns in a run: always the same, or one after the other; what has no entry returns
# what is not known.
Returns = Mapping[str, Value | list[Value]]

# How often any loop turns in a run.
TURNS = 6


def function(text: str, name: str = "f") -> Function:
    """Return a function of C text."""
    found = File("a.c", text.encode(), Config({})).function(name)
    assert found, name
    return found


def body(statements: str, head: str = "int f(int a, int b)") -> Code:
    """Return a function with these statements, lowered."""
    return code(f"{head}\n{{\n{statements}\n}}\n")


def code(
    text: str,
    name: str = "f",
    *,
    spoken: Iterable[str] = (),
    functions: Iterable[str] = (),
    config: Config | None = None,
) -> Code:
    """Return a function of C text, lowered."""
    return lower(parse(function(text, name)), config or Config({}), frozenset(spoken), frozenset(functions))


def word(value: Value) -> str:
    """Say a value: ``?`` for one that is not known, ``&x`` for a pointer to x."""
    if isinstance(value, Pointer):
        return f"&{value.target}"
    if isinstance(value, Error):
        return f"ERR({value.errno})"
    return "?" if value is None else str(value)


class _Seen(State):
    # A way so far: what was called in which order, and how often each.

    __slots__ = ("hits", "words")

    def __init__(self, frames: list[Frame], memory: Memory) -> None:
        super().__init__(frames, memory)
        self.words: tuple[str, ...] = ()
        self.hits: dict[str, int] = {}

    def fork(self) -> _Seen:
        other = super().fork()
        assert isinstance(other, _Seen)
        other.words, other.hits = self.words, self.hits.copy()
        return other


class Run(Machine):
    """Runs one function, with calls that return what they are told to."""

    def __init__(self, returns: Returns, idle: Mapping[int, Idle] | None = None) -> None:
        self.returns = returns
        self._idle = idle or {}

    def ways(self, code: Code, *args: Value) -> list[str]:
        """Return each way through the function as text: calls, locks, jumps, and what it returns."""
        state = _Seen([], Memory())
        state.enter(code, args, "")
        out = []
        for end in self.paths(state):
            assert isinstance(end, _Seen)
            out.append(" ".join(end.words))
        return out

    def _say(self, state: State, text: str) -> None:
        assert isinstance(state, _Seen)
        state.words = (*state.words, text)

    def idle(self, code: Code) -> Mapping[int, Idle]:
        return self._idle

    def called(self, state: State, op: Call) -> list[State] | None:
        assert isinstance(state, _Seen)
        name = op.name or f"->{op.member}"
        lock = lock_of(op, state.memory, state.top.prefix)
        self._say(state, " ".join(lock) if lock else f"{name}({', '.join(map(word, state.values(op)))})")
        value = self.returns.get(name)
        if isinstance(value, list):
            hit = state.hits[name] = state.hits.get(name, 0) + 1
            value = value[hit - 1]
        state.forget(op)
        state.memory.store(self.result(state, op), value)
        return None

    def jumped(self, state: State, label: str, line: int) -> list[State] | None:
        self._say(state, f"goto {label}")
        return None

    def returned(self, state: State, op: Return, value: Value) -> list[State] | None:
        self._say(state, f"return {word(value)}" if op.value else "return")
        self.leave(state, value)
        return None

    def back(self, state: State, frame: Frame) -> bool:
        turn = frame.turns.get(-frame.at, 0)
        frame.turns[-frame.at] = turn + 1
        self._say(state, "back")
        return turn < TURNS

    def looped(self, state: State, frame: Frame, op: Loop) -> list[State] | None:
        turn = frame.turns.get(frame.at, 0)
        frame.turns[frame.at] = turn + 1
        if turn == 2:
            del frame.turns[frame.at]
            frame.at = op.leave.at
        elif op.variable is not None:
            state.store(op.variable, turn)
        return None

    def turned(self, state: State, frame: Frame, op: Turn) -> list[State] | None:
        turn = frame.turns.get(frame.at, 0)
        frame.turns[frame.at] = turn + 1
        if turn == TURNS:
            self._say(state, "...")
            frame.at = op.leave.at
        return None


def ways(code: Code, *args: Value, **returns: Value | list[Value]) -> list[str]:
    """Run a function and return all ways through it."""
    return Run(returns).ways(code, *args)


def way(statements: str, *args: Value, **returns: Value | list[Value]) -> str:
    """Run ``int f(int a, int b)`` with these statements, and return the only way through it."""
    (only,) = ways(body(statements), *args, **returns)
    return only


def tree(root: Path, files: Mapping[str, str]) -> Tree:
    """Write a kernel tree with these files."""
    for path, text in {"Makefile": "VERSION = 6\nPATCHLEVEL = 12\n", "virt/kvm/x.c": "", **files}.items():
        full = root / path
        full.parent.mkdir(parents=True, exist_ok=True)
        full.write_text(text)
    return Tree(root)


def program(
    root: Path, files: Mapping[str, str], *, spoken: Iterable[str] = (), tables: Iterable[str] = ()
) -> Program:
    """Return a program of all of these files but the tables, in their order."""
    paths = [path for path in files if path not in set(tables)]
    return Program(tree(root, files), paths, Config({}), tables=tables, spoken=frozenset(spoken))


class Text:
    """A program of one file and some headers, whose function f() is held against bodies.

    Args:
        root: a directory for the tree.
        text: the file.
        known: the functions that the model shows.
        locks: the locks that it shows.
        optional: those of `known` that only tell something.
        labels: the labels that the model's f() jumps to.
    """

    def __init__(
        self,
        root: Path,
        text: str,
        known: str = "g h",
        *,
        locks: str = "l",
        optional: str = "",
        labels: str = "out",
    ) -> None:
        self.program = program(root, {"virt/kvm/x.c": text})
        self.interest = Interest(self.program, dict.fromkeys([*known.split(), *optional.split()], 0))
        self.locks = frozenset(locks.split())
        self.optional = frozenset(optional.split())
        self.labels = frozenset(labels.split())

    def match(self, items: str, value: object = 0, name: str = "f") -> Match:
        """Return the match of a function with a body, told as for `items_of`."""
        code = self.program.code(name)
        assert code is not None, self.program.errors
        body = Body(items_of(items), value)
        return Match(self.interest, code, body, self.locks, self.optional, self.labels)

    def held(self, items: str, value: object = 0, name: str = "f") -> str:
        """Return "agree", or where and how text and body part: ``LINE: TEXT / MODEL``."""
        found = self.match(items, value, name).run()
        if isinstance(found, Agreement):
            return "agree"
        return f"{found.line}: {found.text} / {found.model}"


def items_of(text: str) -> tuple[Item, ...]:
    """Return the items of a body: ``g h=-12 goto:out lock:l``. A call without value returns 0."""
    out: list[Item] = []
    for one in text.split():
        kind, colon, name = one.partition(":")
        if colon:
            out.append((kind, name, None))
            continue
        name, _, value = one.partition("=")
        out.append(("call", name, int(value) if value.lstrip("-").isdigit() else value or 0))
    return tuple(out)
