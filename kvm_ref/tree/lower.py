# SPDX-License-Identifier: GPL-2.0-only
"""From a syntax tree of C to operations: expressions, with the calls taken out of them in order."""

from __future__ import annotations

import re
from collections.abc import Callable, Container
from typing import TYPE_CHECKING

from kvm_ref.tree.config import Config
from kvm_ref.tree.expressions import (
    AddressOf,
    Apply,
    Binary,
    Constant,
    Element,
    Expression,
    Member,
    Place,
    Pointed,
    Temp,
    Unknown,
    Variable,
)
from kvm_ref.tree.meanings import meaning
from kvm_ref.tree.operations import Branch, Call, Jump, Mark, Operation, Set
from kvm_ref.tree.values import Pointer

if TYPE_CHECKING:
    from tree_sitter import Node

# Macros that test a configuration option, that set a variable, that read a per-CPU one, and those that do
# nothing which can be seen.
_OPTION = frozenset({"IS_ENABLED", "IS_REACHABLE", "IS_BUILTIN", "IS_MODULE"})
_SILENT = frozenset({"BUILD_BUG_ON", "BUILD_BUG_ON_MSG", "static_assert", "__builtin_unreachable"})
# Calls through a table of static calls: the argument names the member.
_STATIC_CALL = re.compile(r"static_call(_cond)?|kvm_x86_call|kvm_pmu_call")
_CONTRARY = {"<=": ">", ">=": "<", "!=": "=="}
_NO_WORD = re.compile(r"\W+")
_HERE = Unknown("this CPU")
_NUMBER = re.compile(r"([-+]?)(0[xX][0-9a-fA-F]+|0[bB][01]+|\d+)[uUlL]*")


class Lowering:
    """Expressions of one function.

    Args:
        source: the text that the nodes are of.
        line_of: gives the line of a node.
        config: the configuration, for IS_ENABLED().
        params: the names of the function's parameters.
        spoken: functions that the text may name without calling them.
        functions: the functions that there are.
    """

    def __init__(
        self,
        source: bytes,
        line_of: Callable[[Node], int],
        config: Config,
        params: tuple[str, ...],
        spoken: Container[str],
        functions: Container[str],
    ) -> None:
        self.source = source
        self.line_of = line_of
        self.config = config
        self.spoken = spoken
        self.functions = functions
        # The local variables that can be seen, by the names that tell those of one block from another's.
        self.locals = dict(zip(params, params, strict=True))
        self._declared = set(params)
        self.operations: list[Operation] = []
        # The variables that are looked through.
        self.pointers: set[str] = set()
        self._temps = 0

    def text(self, node: Node) -> str:
        """Return the text of a node, on one line."""
        return " ".join(self.source[node.start_byte : node.end_byte].decode("utf-8", "replace").split())

    def temp(self) -> Temp:
        """Return a temporary variable that nobody else uses."""
        self._temps += 1
        return Temp(self._temps)

    def emit(self, operation: Operation) -> None:
        """Add an operation."""
        self.operations.append(operation)

    def place(self, mark: Mark) -> None:
        """Let a mark be here."""
        mark.at = len(self.operations)

    def value(self, node: Node) -> Expression:
        """Return an expression; the calls and assignments in it are emitted, in order."""
        lower = getattr(self, f"_{node.type}", None)
        if lower is None:
            # Not understood: it is worth anything, but what it calls is called.
            for child in node.named_children:
                if child.type not in ("type_descriptor", "type_identifier"):
                    self.value(child)
            return Unknown(self.text(node))
        found: Expression = lower(node)
        return found

    def declare(self, name: str) -> Variable:
        """Return a new local variable; one of that name in an outer block is hidden from now on."""
        own, n = name, 1
        while own in self._declared:
            n += 1
            own = f"{name}~{n}"
        self._declared.add(own)
        self.locals[name] = own
        return Variable(own, local=True)

    def lvalue(self, node: Node) -> Place:
        """Return where an expression is stored, or a place that nobody reads."""
        found = self.value(node)
        return found if isinstance(found, Place) else self.temp()

    # One method for each type of node, named as tree-sitter names it.

    def _identifier(self, node: Node) -> Expression:
        name = self.text(node)
        if name in self.spoken and name not in self.locals:
            return self.call(node, name, (), [])
        if name in self.functions and name not in self.locals:
            return Constant(Pointer(name))
        return Variable(self.locals.get(name, name), name in self.locals)

    def _null(self, node: Node) -> Expression:
        return Constant(0)

    def _false(self, node: Node) -> Expression:
        return Constant(0)

    def _true(self, node: Node) -> Expression:
        return Constant(1)

    def _number_literal(self, node: Node) -> Expression:
        found = _NUMBER.fullmatch(self.text(node))
        if not found:
            return Unknown(self.text(node))
        sign, digits = found.groups()
        number = int(digits, 8 if digits[0] == "0" and digits.isdigit() and len(digits) > 1 else 0)
        return Constant(-number if sign == "-" else number)

    def _string_literal(self, node: Node) -> Expression:
        return Constant(Pointer(self.text(node)))

    def _concatenated_string(self, node: Node) -> Expression:
        return Constant(Pointer(self.text(node)))

    def _char_literal(self, node: Node) -> Expression:
        return Unknown(self.text(node))

    def _sizeof_expression(self, node: Node) -> Expression:
        return Unknown(self.text(node))

    def _offsetof_expression(self, node: Node) -> Expression:
        return Unknown(self.text(node))

    def _parenthesized_expression(self, node: Node) -> Expression:
        inner = node.named_children
        if inner and inner[0].type == "compound_statement":
            return self.statements_as_expression(inner[0])
        return self.value(inner[0])

    def statements_as_expression(self, node: Node) -> Expression:
        """Return what GNU C's ``({ ... })`` is worth."""
        raise NotImplementedError  # Statements does, which knows the statements

    def _cast_expression(self, node: Node) -> Expression:
        return self.value(part(node, "value"))

    def _comma_expression(self, node: Node) -> Expression:
        self.value(part(node, "left"))
        return self.value(part(node, "right"))

    def _field_expression(self, node: Node) -> Expression:
        arrow = self.text(part(node, "operator")) == "->"
        name = _NO_WORD.sub("_", self.text(node))
        if name in self.spoken:
            return self.call(node, name, (), [])
        of = self.value(part(node, "argument"))
        if arrow and isinstance(of, Variable):
            self.pointers.add(of.name)
        return Member(of, self.text(part(node, "field")), arrow)

    def _subscript_expression(self, node: Node) -> Expression:
        return Element(self.value(part(node, "argument")), self.value(part(node, "index")))

    def _pointer_expression(self, node: Node) -> Expression:
        of = self.value(part(node, "argument"))
        if self.text(part(node, "operator")) == "*":
            return of.of if isinstance(of, AddressOf) else Pointed(of)
        if isinstance(of, Constant) and isinstance(of.of, Pointer) and of.of.target in self.functions:
            # The address of a function is the function.
            return of
        return AddressOf(of) if isinstance(of, Place) else Unknown(self.text(node))

    def _unary_expression(self, node: Node) -> Expression:
        return Apply(self.text(part(node, "operator")), self.value(part(node, "argument")))

    def _binary_expression(self, node: Node) -> Expression:
        op = self.text(part(node, "operator"))
        if op in ("&&", "||"):
            return self._chosen(node, Constant(1), Constant(0))
        return Binary(op, self.value(part(node, "left")), self.value(part(node, "right")))

    def _conditional_expression(self, node: Node) -> Expression:
        yes, no, end = Mark(), Mark(), Mark()
        result, line = self.temp(), self.line_of(node)
        consequence = node.child_by_field_name("consequence")
        if consequence is None:
            # GNU: a ?: b
            first = self.value(part(node, "condition"))
            self.emit(Set(result, first, line))
            self.emit(Branch(result, end, no, self.text(node), line))
        else:
            self.condition(part(node, "condition"), yes, no)
            self.place(yes)
            self.emit(Set(result, self.value(consequence), line))
            self.emit(Jump(end, line))
        self.place(no)
        self.emit(Set(result, self.value(part(node, "alternative")), line))
        self.place(end)
        return result

    def _chosen(self, node: Node, if_true: Expression, if_false: Expression) -> Expression:
        yes, no, end = Mark(), Mark(), Mark()
        result, line = self.temp(), self.line_of(node)
        self.condition(node, yes, no)
        self.place(yes)
        self.emit(Set(result, if_true, line))
        self.emit(Jump(end, line))
        self.place(no)
        self.emit(Set(result, if_false, line))
        self.place(end)
        return result

    def _assignment_expression(self, node: Node) -> Expression:
        op = self.text(part(node, "operator"))
        value = self.value(part(node, "right"))
        place = self.lvalue(part(node, "left"))
        if op != "=":
            value = Binary(op[:-1], place, value)
        self.emit(Set(place, value, self.line_of(node)))
        return place

    def _update_expression(self, node: Node) -> Expression:
        place = self.lvalue(part(node, "argument"))
        line = self.line_of(node)
        after = Binary(self.text(part(node, "operator"))[0], place, Constant(1))
        if self.source[node.start_byte : node.start_byte + 2] in (b"++", b"--"):
            self.emit(Set(place, after, line))
            return place
        before = self.temp()
        self.emit(Set(before, place, line))
        self.emit(Set(place, after, line))
        return before

    def condition(self, node: Node, yes: Mark, no: Mark) -> None:
        """Emit what goes to one mark if an expression is true, and to another if not."""
        match node.type:
            case "parenthesized_expression" if node.named_children[0].type != "compound_statement":
                return self.condition(node.named_children[0], yes, no)
            case "unary_expression" if self.text(part(node, "operator")) == "!":
                return self.condition(part(node, "argument"), no, yes)
            case "binary_expression" if (op := self.text(part(node, "operator"))) in ("&&", "||"):
                more = Mark()
                first = (more, no) if op == "&&" else (yes, more)
                self.condition(part(node, "left"), *first)
                self.place(more)
                return self.condition(part(node, "right"), yes, no)
            case "binary_expression" if other := _CONTRARY.get(self.text(part(node, "operator"))):
                # The one and the other are one condition, which is known by one of them.
                left, right = part(node, "left"), part(node, "right")
                test = Binary(other, self.value(left), self.value(right))
                text = f"{self.text(left)} {other} {self.text(right)}"
                self.emit(Branch(test, no, yes, text, self.line_of(node)))
                return None
            case "call_expression" if self.text(part(node, "function")) in ("likely", "unlikely"):
                return self.condition(part(node, "arguments").named_children[0], yes, no)
        self.emit(Branch(self.value(node), yes, no, self.text(node), self.line_of(node)))
        return None

    def _call_expression(self, node: Node) -> Expression:
        function = part(node, "function")
        arguments = part(node, "arguments").named_children
        if function.type != "identifier":
            return self._indirect(node, function, arguments)
        name = self.text(function)
        if name in self.locals:
            return self._indirect(node, function, arguments)
        if name in _OPTION and arguments:
            return Constant(int(self.config.get(self.text(arguments[0]))))
        if name in _SILENT or name.startswith("lockdep_assert"):
            return Unknown()
        if _STATIC_CALL.fullmatch(name):
            return Variable(self.text(arguments[0]), local=False)
        args = tuple(self.value(argument) for argument in arguments)
        found = meaning(name, args, self.temp)
        if found is None:
            return self.call(node, name, args, arguments)
        stores, result = found
        for place, value in stores:
            self.emit(Set(place, value, self.line_of(node)))
        return result

    def call(self, node: Node, name: str, args: tuple[Expression, ...], arguments: list[Node]) -> Expression:
        """Emit a call of a function by its name, and return what it returns."""
        texts = tuple(map(self.text, arguments))
        result = self.temp()
        self.emit(Call(result, name, args, texts, self.line_of(node)))
        return result

    def _indirect(self, node: Node, function: Node, arguments: list[Node]) -> Expression:
        while function.type in ("parenthesized_expression", "pointer_expression"):
            function = function.named_children[-1]
        pointer = self.value(function)
        member = pointer.name if isinstance(pointer, (Member, Variable)) else self.text(function)
        member = member.removeprefix("kvm_x86_")
        args = tuple(self.value(argument) for argument in arguments)
        texts = tuple(map(self.text, arguments))
        result = self.temp()
        self.emit(Call(result, "", args, texts, self.line_of(node), member, pointer))
        return result


def part(node: Node, field: str) -> Node:
    """Return the part of a node that the grammar says is there."""
    found = node.child_by_field_name(field)
    assert found is not None, (node.type, field)
    return found
