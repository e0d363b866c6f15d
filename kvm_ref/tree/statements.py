# SPDX-License-Identifier: GPL-2.0-only
"""From a syntax tree of C to operations: statements, labels, loops, and what unlocks by itself."""

from __future__ import annotations

import re
from collections.abc import Container
from typing import TYPE_CHECKING

from kvm_ref.tree.config import Config
from kvm_ref.tree.expressions import Constant, Expression, Unknown
from kvm_ref.tree.loops import Loops
from kvm_ref.tree.lower import part
from kvm_ref.tree.operations import Asm, Code, Goto, Jump, Mark, Return, Set
from kvm_ref.tree.parse import Parsed
from kvm_ref.tree.values import UNSET, Pointer

if TYPE_CHECKING:
    from tree_sitter import Node

_WORD = re.compile(r"\w+")


class Statements(Loops):
    """Statements of one function."""

    def body(self) -> None:
        """Lower the whole function."""
        self.statement(self.parsed.body)
        end = self.parsed.function.line + self.parsed.function.text.count(b"\n")
        self.emit(Return(None, end))

    def statement(self, node: Node) -> None:
        """Lower one statement."""
        lower = getattr(self, f"_do_{node.type}", None)
        if lower is not None:
            lower(node)
        else:
            self.value(node)

    def statements_as_expression(self, node: Node) -> Expression:
        inner = node.named_children
        self._enter(node)
        for child in inner[:-1]:
            self.statement(child)
        result: Expression = Unknown()
        if inner and inner[-1].type == "expression_statement" and inner[-1].named_children:
            result = self.value(inner[-1].named_children[0])
        elif inner:
            self.statement(inner[-1])
        self._leave(self.line_of(node))
        return result

    def _do_compound_statement(self, node: Node) -> None:
        self._enter(node)
        for child in node.named_children:
            self.statement(child)
        self._leave(self.parsed.function.line + node.end_point[0])

    # Statements, each method named as tree-sitter names the node.

    def _do_expression_statement(self, node: Node) -> None:
        for child in node.named_children:
            value = self.value(child)
            if child.type == "call_expression" and self.text(part(child, "function")) == "return_ptr":
                self._return(value, self.line_of(node))

    def _do_declaration(self, node: Node) -> None:
        # What a static variable holds is left from the last time.
        static = any(self.text(n) == "static" for n in node.children if n.type == "storage_class_specifier")
        for child in node.children_by_field_name("declarator"):
            value = child.child_by_field_name("value") if child.type == "init_declarator" else None
            found = child
            while found.type not in ("identifier", "field_identifier"):
                found = found.child_by_field_name("declarator") or found.named_children[0]
            name = self.text(found)
            initial: Expression = Constant(UNSET) if found is child else Unknown()
            if value is not None:
                known = self.value(value)
                initial = known if value.type != "initializer_list" else Unknown()
            variable = self.declare(name)
            if not static:
                self.emit(Set(variable, initial, self.line_of(node)))
            if found.end_byte in self.parsed.frees:
                self._free(self.parsed.frees[found.end_byte], variable, name, self.line_of(node))

    def _initializer_list(self, node: Node) -> Expression:
        for child in node.named_children:
            inner = child.child_by_field_name("value") if child.type == "initializer_pair" else child
            found = self.value(inner) if inner is not None else None
            if isinstance(found, Constant) and isinstance(found.of, Pointer):
                self.given.add(found.of.target)
        return Unknown()

    def _compound_literal_expression(self, node: Node) -> Expression:
        return self._initializer_list(part(node, "value"))

    def _do_if_statement(self, node: Node) -> None:
        yes, no, end = Mark(), Mark(), Mark()
        self.condition(part(node, "condition"), yes, no)
        self.place(yes)
        self.statement(part(node, "consequence"))
        other = node.child_by_field_name("alternative")
        if other is None:
            self.place(no)
            return
        self.emit(Jump(end, self.line_of(node)))
        self.place(no)
        self.statement(other.named_children[-1] if other.type == "else_clause" else other)
        self.place(end)

    def _do_return_statement(self, node: Node) -> None:
        line = self.line_of(node)
        value: Expression | None = None
        if node.named_children:
            value = self.value(node.named_children[0])
        self._return(value, line)

    def _return(self, value: Expression | None, line: int) -> None:
        if value and any(scope.cleanup for scope in self._scopes) and not isinstance(value, Constant):
            kept = self.temp()
            self.emit(Set(kept, value, line))
            value = kept
        self._unwind(0, line)
        self.emit(Return(value, line))

    def _do_goto_statement(self, node: Node) -> None:
        label = self.text(part(node, "label"))
        line = self.line_of(node)
        self.gotos.append((label, line))
        self._unwind_to(label, line)
        self.emit(Goto(label, self._marks[label], line))

    def _do_labeled_statement(self, node: Node) -> None:
        label = self.text(part(node, "label"))
        self.labels[label] = self.line_of(node)
        self._there[label] = tuple(len(scope.cleanup) for scope in self._scopes)
        self.place(self._marks.setdefault(label, Mark()))
        for child in node.named_children[1:]:
            self.statement(child)

    def _gnu_asm_expression(self, node: Node) -> Expression:
        labels = self.parsed.asm_gotos.get(node.start_byte, ())
        if labels:
            line = self.line_of(node)
            marks = tuple((label, Mark()) for label in labels)
            text = self.parsed.function.text[node.start_byte : node.end_byte]
            words = frozenset(_WORD.findall(text.decode("utf-8", "replace")))
            self.emit(Asm(marks, words, line))
            over = Mark()
            self.emit(Jump(over, line))
            for label, mark in marks:
                self.place(mark)
                self._unwind_to(label, line)
                self.emit(Jump(self._marks[label], line))
            self.place(over)
        return Unknown()


def lower(
    parsed: Parsed, config: Config, spoken: Container[str] = (), functions: Container[str] = ()
) -> Code:
    """Return a parsed function as operations.

    Args:
        parsed: the function.
        config: the configuration, for IS_ENABLED().
        spoken: functions that the text may name without calling them: as a macro, or as a member.
        functions: the functions that there are: what a name of one is worth is a pointer to it.
    """
    statements = Statements(parsed, config, spoken, functions)
    statements.body()
    function = parsed.function
    return Code(
        name=function.name,
        path=function.path,
        line=function.line,
        params=tuple(function.params),
        void=function.returns == "void",
        pointer=function.returns.endswith("*"),
        operations=tuple(statements.operations),
        labels=statements.labels,
        gotos=tuple(statements.gotos),
        given=frozenset(statements.given),
        pointers=frozenset(statements.pointers),
    )
