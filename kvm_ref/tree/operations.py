# SPDX-License-Identifier: GPL-2.0-only
"""A function of C as a list of simple operations: what `kvm_ref.tree.lower` makes of its text.

Each operation bears the line of the file that it comes from.
"""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from kvm_ref.tree.expressions import Apply, Expression, Place, Temp, Variable


@attrs.define(eq=False)
class Mark:
    """A place in the list to go to; it is known when the operations up to it are there."""

    at: int = -1


@attrs.frozen(eq=False)
class Set:
    """``place = value``."""

    place: Place
    value: Expression
    line: int


@attrs.frozen(eq=False)
class Call:
    """A call.

    Attributes:
        result: where what it returns is kept.
        name: the function, or "" if it is called through a pointer.
        member: of a call through a pointer, the member or variable that holds the pointer.
        pointer: of such a call, the pointer.
        args: the arguments.
        texts: their texts in C.
    """

    result: Place
    name: str
    args: tuple[Expression, ...]
    texts: tuple[str, ...]
    line: int
    member: str = ""
    pointer: Expression | None = None


@attrs.frozen(eq=False)
class Branch:
    """Go to `yes` or to `no`."""

    test: Expression
    yes: Mark
    no: Mark
    text: str
    line: int


@attrs.frozen(eq=False)
class Jump:
    """Go on at a mark."""

    to: Mark
    line: int


@attrs.frozen(eq=False)
class Goto:
    """A goto of the text; `to` is None if it has no such label."""

    label: str
    to: Mark
    line: int


@attrs.frozen(eq=False)
class Asm:
    """Assembly that goes on, or goes to one of some labels; `words` are the words in it."""

    labels: tuple[tuple[str, Mark], ...]
    words: frozenset[str]
    line: int


@attrs.frozen(eq=False)
class Return:
    """Leave the function."""

    value: Expression | None
    line: int


@attrs.frozen(eq=False)
class Loop:
    """The head of ``for_each_*(args)``: take the next, or leave.

    Attributes:
        name: the macro.
        variable: what it sets, if that is an lvalue.
        args: its arguments.
        texts: their texts in C.
        leave: where it goes on after the last.
    """

    name: str
    variable: Place | None
    args: tuple[Expression, ...]
    texts: tuple[str, ...]
    leave: Mark
    line: int


@attrs.frozen(eq=False)
class Turn:
    """The head of any other loop."""

    leave: Mark
    line: int


Operation = Set | Call | Branch | Jump | Goto | Asm | Return | Loop | Turn


@attrs.frozen(eq=False)
class Code:
    """A function, ready to be walked.

    Attributes:
        name, path: the function and its file.
        params: the names of its parameters.
        void: it returns nothing.
        pointer: it returns a pointer.
        operations: what it does.
        labels: the lines of its labels.
        gotos: label and line of each goto, in source order.
        given: the names that it puts into structures: callbacks among them.
        pointers: the variables that it looks through.
    """

    name: str
    path: str
    line: int
    params: tuple[str, ...]
    void: bool
    pointer: bool
    operations: Sequence[Operation]
    labels: dict[str, int]
    gotos: tuple[tuple[str, int], ...]
    given: frozenset[str]
    pointers: frozenset[str]

    def calls(self) -> set[str]:
        """Return the names of the functions that it calls, not through a pointer."""
        return {op.name for op in self.operations if isinstance(op, Call) and op.name}

    def errors(self) -> tuple[str, ...]:
        """Return the variables that it returns, or makes error pointers of: those that hold its error."""
        returns = [self.error(op) for op in self.operations if isinstance(op, Return)]
        return tuple(dict.fromkeys(filter(None, returns)))

    def error(self, op: Return) -> str:
        """Return the variable that one of its returns returns, or makes an error pointer of, or ""."""
        value = op.value
        if isinstance(value, Temp):
            # What is returned past a guard is kept while that unlocks.
            kept = (one.value for one in self.operations if isinstance(one, Set) and one.place == value)
            value = next(kept, None)
        while isinstance(value, Apply):
            value = value.of
        return value.name if isinstance(value, Variable) and value.local else ""
