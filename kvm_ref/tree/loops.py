# SPDX-License-Identifier: GPL-2.0-only
"""From a syntax tree of C to operations: loops, those that are macros, and switch."""

from __future__ import annotations

from collections.abc import Container
from typing import TYPE_CHECKING

import attrs

from kvm_ref.tree.config import Config
from kvm_ref.tree.expressions import Binary, Place
from kvm_ref.tree.lower import part
from kvm_ref.tree.operations import Branch, Jump, Loop, Mark, Set, Turn
from kvm_ref.tree.parse import Parsed, ParseError
from kvm_ref.tree.scopes import Scopes

if TYPE_CHECKING:
    from tree_sitter import Node


@attrs.frozen(eq=False)
class _Around:
    # What "break" and "continue" mean here, and how many scopes there are around it.
    leave: Mark
    again: Mark | None
    scopes: int


class Loops(Scopes):
    """The loops and switches of one function."""

    def __init__(
        self, parsed: Parsed, config: Config, spoken: Container[str], functions: Container[str]
    ) -> None:
        super().__init__(parsed, config, spoken, functions)
        self._around: list[_Around] = []

    def statement(self, node: Node) -> None:
        """Lower one statement."""
        raise NotImplementedError  # Statements does, of which loops are a part

    def _loop(self, body: Node, again: Mark, leave: Mark) -> None:
        self._around.append(_Around(leave, again, len(self._scopes)))
        self.statement(body)
        self._around.pop()

    def _do_while_statement(self, node: Node) -> None:
        macro = self.parsed.loops.get(node.start_byte)
        condition, body = part(node, "condition"), part(node, "body")
        self._enter(node)
        if macro is not None:
            self._macro_loop(macro, _arguments(condition), body, node)
        else:
            self._while(condition, body, node)
        self._leave(self.line_of(node))

    def _while(self, condition: Node, body: Node, node: Node) -> None:
        head, inside, leave = Mark(), Mark(), Mark()
        self.place(head)
        self.emit(Turn(leave, self.line_of(node)))
        self.condition(condition, inside, leave)
        self.place(inside)
        self._loop(body, head, leave)
        self.emit(Jump(head, self.line_of(node)))
        self.place(leave)

    def _macro_loop(self, macro: str, arguments: list[Node], body: Node, node: Node) -> None:
        line = self.line_of(node)
        if macro == "scoped_guard":
            # It is a loop of one turn: break and continue leave the guard, and no other loop.
            end = Mark()
            self._guard(self.text(arguments[0]), arguments[1:], node)
            self._loop(body, end, end)
            self.place(end)
            return
        args = tuple(map(self.value, arguments))
        head, leave = Mark(), Mark()
        variable = args[0] if args and isinstance(args[0], Place) else None
        self.place(head)
        self.emit(Loop(macro, variable, args, tuple(map(self.text, arguments)), leave, line))
        self._loop(body, head, leave)
        self.emit(Jump(head, line))
        self.place(leave)

    def _do_do_statement(self, node: Node) -> None:
        head, again, leave = Mark(), Mark(), Mark()
        line = self.line_of(node)
        self.place(head)
        self.emit(Turn(leave, line))
        self._loop(part(node, "body"), again, leave)
        self.place(again)
        condition = part(node, "condition")
        self.condition(condition, head, leave)
        self.place(leave)

    def _do_for_statement(self, node: Node) -> None:
        first = node.child_by_field_name("initializer")
        test = node.child_by_field_name("condition")
        update = node.child_by_field_name("update")
        head, inside, again, leave = Mark(), Mark(), Mark(), Mark()
        line = self.line_of(node)
        self._enter(node)
        if first is not None:
            self.statement(first)
        self.place(head)
        self.emit(Turn(leave, line))
        if test is not None:
            self.condition(test, inside, leave)
        self.place(inside)
        self._loop(part(node, "body"), again, leave)
        self.place(again)
        if update is not None:
            self.value(update)
        self.emit(Jump(head, line))
        self.place(leave)
        self._leave(line)

    def _do_switch_statement(self, node: Node) -> None:
        line, leave = self.line_of(node), Mark()
        of = self.temp()
        self.emit(Set(of, self.value(part(node, "condition")), line))
        body = part(node, "body")
        cases = [n for n in body.named_children if n.type == "case_statement"]
        marks = [Mark() for _ in cases]
        other = leave
        for case, mark in zip(cases, marks, strict=True):
            value = case.child_by_field_name("value")
            if value is None:
                other = mark
                continue
            following = Mark()
            test = Binary("==", of, self.value(value))
            self.emit(Branch(test, mark, following, f"case {self.text(value)}", self.line_of(case)))
            self.place(following)
        self.emit(Jump(other, line))
        self._around.append(_Around(leave, None, len(self._scopes)))
        self._enter(body)
        for case, mark in zip(cases, marks, strict=True):
            self.place(mark)
            value = case.child_by_field_name("value")
            for child in case.named_children:
                if child != value:
                    self.statement(child)
        self._around.pop()
        self._leave(line)
        self.place(leave)

    def _do_case_statement(self, node: Node) -> None:
        line = self.line_of(node)
        path, name = self.parsed.function.path, self.parsed.function.name
        raise ParseError(
            f"{path}:{line}: a case inside a block of its switch, in {name}(), is not followed", line
        )

    def _do_break_statement(self, node: Node) -> None:
        around = self._around[-1]
        self._unwind(around.scopes, self.line_of(node))
        self.emit(Jump(around.leave, self.line_of(node)))

    def _do_continue_statement(self, node: Node) -> None:
        around = next(a for a in reversed(self._around) if a.again is not None)
        self._unwind(around.scopes, self.line_of(node))
        assert around.again is not None
        self.emit(Jump(around.again, self.line_of(node)))


def _arguments(condition: Node) -> list[Node]:
    # The arguments of a loop macro, which the reader turned into a condition: a, (b, (c, ...)).
    out: list[Node] = []
    node = condition
    while node.type in ("parenthesized_expression", "comma_expression"):
        if node.type == "comma_expression":
            out.append(part(node, "left"))
            node = part(node, "right")
        else:
            node = node.named_children[0]
    return [*out, node]
