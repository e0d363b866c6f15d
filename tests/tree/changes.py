# SPDX-License-Identifier: GPL-2.0-only
"""Trees in which one function is changed, and where a change of it may be seen.

A function is found in the real text and edited there: where statements start and end its syntax tree
says, all else is text.
"""

from __future__ import annotations

import copy
from collections.abc import Collection, Iterable, Iterator
from typing import TYPE_CHECKING

import attrs

from kvm_ref.tree.check import Check, Held
from kvm_ref.tree.config import Config
from kvm_ref.tree.flow import after
from kvm_ref.tree.locks import is_lock, spins
from kvm_ref.tree.match import Agreement, Match
from kvm_ref.tree.needless import Without, needed
from kvm_ref.tree.operations import Asm, Call, Goto, Operation, Return, Set
from kvm_ref.tree.program import Interest, Program
from kvm_ref.tree.source import File, Function, Tree
from kvm_ref.vocabulary import Vocabulary

if TYPE_CHECKING:
    from tree_sitter import Node

Edit = tuple[int, int, bytes]
Place = tuple[str, int]


@attrs.frozen
class Change:
    """A function with one change.

    Attributes:
        function: as it is in the tree.
        kind: what was done to it.
        what: to which statement.
        lines: the lines that were changed.
        touched: of each statement that was changed, its lines.
        entries: lines of gotos: unless one of them is passed, the change makes no difference.
        text: the whole new text, and what is put before the function.
    """

    function: Function
    kind: str
    what: str
    lines: tuple[int, ...]
    touched: tuple[frozenset[int], ...]
    entries: frozenset[int] | None
    text: bytes = attrs.field(repr=False)

    @property
    def name(self) -> str:
        """How it is told from others."""
        return f"{self.function.name}: {self.what} {self.kind}"


def edited(text: bytes, edits: Iterable[Edit]) -> bytes:
    """Return a text with some pieces replaced."""
    for start, end, new in sorted(edits, reverse=True):
        text = text[:start] + new + text[end:]
    return text


def nodes(node: Node, *kinds: str) -> Iterator[Node]:
    """Yield all nodes of some kinds, in source order."""
    if node.type in kinds:
        yield node
    for child in node.named_children:
        yield from nodes(child, *kinds)


def function_of(check: Check, name: str) -> Function | None:
    """Return a function that both the tree and a backend's model have."""
    if name not in check.program or name not in check.evidence.cases:
        return None
    return check.tree.file(check.program.path(name), check.program.config).function(name)


class ChangedTree(Tree):
    """A tree in which one function is changed; all other files it shares with the real one."""

    def __init__(self, tree: Tree, change: Change) -> None:
        self.__dict__.update(vars(tree))
        self._real = tree
        self._path = change.function.path
        real, raw = tree.text(self._path), change.function.raw
        assert real.count(raw) == 1
        self._text = real.replace(raw, change.text)

    def text(self, path: str) -> bytes:
        return self._text if path == self._path else self._real.text(path)

    def file(self, path: str, config: Config) -> File:
        return File(path, self._text, config) if path == self._path else self._real.file(path, config)


class _Patched(Program):
    # A program with another text of one function. That is read as a file of its own, in which the function
    # has the line that it has in the real one: reading the whole file again takes a hundred times as long.

    def __init__(self, program: Program, change: Change) -> None:
        self.__dict__.update(vars(program))
        function = change.function
        file = File(function.path, b"\n" * (function.line - 1) + change.text, program.config)
        changed = file.functions()
        self._where = {**self._where, **dict.fromkeys(changed, file)}
        self._codes = {name: code for name, code in self._codes.items() if name not in changed}
        self.errors = {}


class _Known(Interest):
    # What is known already of the functions of a program that did not change.

    def __init__(self, program: Program, interest: Interest, name: str) -> None:
        super().__init__(program, interest.known)
        self._matters = {known: found for known, found in interest._matters.items() if known != name}
        self._idle = dict(interest._idle)


def held(check: Check, change: Change) -> Held:
    """Hold a changed function against the model."""
    other = copy.copy(check)
    other.program = _Patched(check.program, change)
    other.interest = _Known(other.program, check.interest, change.function.name)
    return other.held(change.function.name)


# Does it matter?


def _is_needed(check: Check, name: str, operations: Collection[Operation]) -> bool:
    # Whether a run of the model cannot do without coming to one of these operations of a function.
    code = check.program.code(name)
    ladder = check.vocabulary[name].ladder
    assert code is not None
    labels = frozenset(jump.label for jump in ladder.gotos) if ladder else frozenset()
    args = (check._locks, check._optional, labels)
    bodies = [case.body for case in check.evidence.cases[name].values()]
    agreed = [b for b in bodies if isinstance(Match(check.interest, code, b, *args).run(), Agreement)]
    return needed(operations, (Without(check.interest, code, body, *args) for body in agreed))


def _shown(check: Check, op: Operation) -> bool:
    # Whether the model shows what an operation does.
    if isinstance(op, Call):
        if is_lock(op.name):
            return not spins(op.name)
        return not op.name or op.name in check.vocabulary or check.interest.leads(op.name)
    return isinstance(op, (Goto, Return, Asm))


def unseen(check: Check, change: Change) -> str:
    """Say why the model need not see a change, "" if it has to."""
    code = check.program.code(change.function.name)
    assert code is not None
    name, lost = code.name, change.kind == "error not set"
    for lines in change.touched:
        inside = [op for op in code.operations if op.line in lines]
        shown = [op for op in inside if _shown(check, op) or (lost and isinstance(op, Set))]
        if not shown:
            calls = [op.name for op in inside if isinstance(op, Call)]
            every = Vocabulary.of(check.backend)
            out = not calls or any(call in every for call in calls)
            return "not configured" if out else f"not modelled: {calls[-1]}"
        if not _is_needed(check, name, shown):
            return "no run comes there"
    if change.entries is not None:
        gotos = [op for op in code.operations if isinstance(op, Goto) and op.line in change.entries]
        if not _is_needed(check, name, gotos):
            return "no run comes there"
    return ""


# Where must it be seen?


def right(check: Check, change: Change) -> set[Place]:
    """Return the places where a change may be reported.

    They are the changed lines, and from there on, as control flows in the unchanged text, each place up to the
    first that the model cannot fail to see: a lock, or a call that it knows, but for another of what
    the changed lines call. Of a call into a function that the model does not show, that function's
    lines are among them. An error that is not set is seen where it is returned.
    """
    path = change.function.path
    code = check.program.code(change.function.name)
    assert code is not None
    out = {(path, line) for line in change.lines}
    lost = change.kind == "error not set"
    todo = [at for at, op in enumerate(code.operations) if op.line in change.lines]
    own = {op.name for op in (code.operations[at] for at in todo) if isinstance(op, Call)}
    seen = set(todo)
    while todo:
        at = todo.pop()
        op = code.operations[at]
        if isinstance(op, Return) or (not lost and isinstance(op, (Call, Goto))):
            out |= _places(check, path, op)
        if not lost and op.line not in change.lines and _stops(check, op, own):
            continue
        for other in after(code.operations, at):
            if other not in seen:
                seen.add(other)
                todo.append(other)
    return out


def _places(check: Check, path: str, op: Operation) -> set[Place]:
    out = {(path, op.line)}
    if isinstance(op, Call) and op.name not in check.vocabulary and check.interest.leads(op.name):
        inner = check.program.code(op.name)
        if inner is not None:
            out |= {(inner.path, one.line) for one in inner.operations}
    return out


def _stops(check: Check, op: Operation, own: Collection[str]) -> bool:
    if not isinstance(op, Call) or op.name in own:
        return False
    if is_lock(op.name):
        return not spins(op.name)
    return op.name in check.vocabulary and op.name not in check._optional
