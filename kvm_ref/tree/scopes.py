# SPDX-License-Identifier: GPL-2.0-only
"""Blocks of C: the variables that are visible in them, the guards that unlock on every way out, labels."""

from __future__ import annotations

from collections.abc import Container
from typing import TYPE_CHECKING

import attrs

from kvm_ref.tree.config import Config
from kvm_ref.tree.expressions import Apply, Expression, Unknown, Variable
from kvm_ref.tree.lower import Lowering, part
from kvm_ref.tree.operations import Branch, Call, Mark
from kvm_ref.tree.parse import Parsed, ParseError, line_of

if TYPE_CHECKING:
    from tree_sitter import Node

# What guard(class) does, and what is done on every way out.
GUARDS = {
    "mutex": ("mutex_lock", "mutex_unlock"),
    "spinlock": ("spin_lock", "spin_unlock"),
    "spinlock_irq": ("spin_lock_irq", "spin_unlock_irq"),
    "spinlock_irqsave": ("spin_lock_irqsave", "spin_unlock_irqrestore"),
    "raw_spinlock": ("raw_spin_lock", "raw_spin_unlock"),
    "raw_spinlock_irqsave": ("raw_spin_lock_irqsave", "raw_spin_unlock_irqrestore"),
    "rwsem_read": ("down_read", "up_read"),
    "rwsem_write": ("down_write", "up_write"),
    "read_lock": ("read_lock", "read_unlock"),
    "write_lock": ("write_lock", "write_unlock"),
    "rcu": ("rcu_read_lock", "rcu_read_unlock"),
    "srcu": ("srcu_read_lock", "srcu_read_unlock"),
    "preempt": ("preempt_disable", "preempt_enable"),
    "irq": ("local_irq_disable", "local_irq_enable"),
    "cpus_read_lock": ("cpus_read_lock", "cpus_read_unlock"),
}
# What __free() calls for which the kernel has another name than that of the function.
FREES = {"bitmap": "bitmap_free", "device_node": "of_node_put", "fwnode_handle": "fwnode_handle_put"}

# What has variables and guards of its own.
_SCOPES = frozenset({"compound_statement", "for_statement", "while_statement"})


@attrs.define(eq=False)
class _Scope:
    # A block, what is to be called on every way out of it, the last first, and what is visible around it.
    block: int
    visible: dict[str, str]
    cleanup: list[Call] = attrs.Factory(list)


class Scopes(Lowering):
    """The blocks of one function, on the way through it."""

    def __init__(
        self, parsed: Parsed, config: Config, spoken: Container[str], functions: Container[str]
    ) -> None:
        params = tuple(parsed.function.params)
        super().__init__(parsed.source, lambda node: line_of(parsed, node), config, params, spoken, functions)
        self.parsed = parsed
        self._marks: dict[str, Mark] = {}
        self._scopes: list[_Scope] = []
        self.labels: dict[str, int] = {}
        self.gotos: list[tuple[str, int]] = []
        self.given: set[str] = set()
        # The blocks around each label; and of those behind us, how much of each was to be cleaned up there.
        self._blocks: dict[str, tuple[int, ...]] = {}
        self._there: dict[str, tuple[int, ...]] = {}
        if b"goto" in parsed.source:
            self._find_labels(parsed.body, ())

    def _find_labels(self, node: Node, blocks: tuple[int, ...]) -> None:
        if node.type in _SCOPES:
            blocks = (*blocks, node.start_byte)
        elif node.type == "labeled_statement":
            name = self.text(part(node, "label"))
            self._blocks[name] = blocks
            self._marks[name] = Mark()
        for child in node.named_children:
            self._find_labels(child, blocks)

    def _enter(self, node: Node) -> None:
        self._scopes.append(_Scope(node.start_byte, self.locals.copy()))

    def _leave(self, line: int) -> None:
        self._unwind(len(self._scopes) - 1, line)
        self.locals = self._scopes.pop().visible

    def _unwind(self, depth: int, line: int) -> None:
        for scope in reversed(self._scopes[depth:]):
            for call in reversed(scope.cleanup):
                self._clean(call, line)

    def _clean(self, call: Call, line: int) -> None:
        over, there = Mark(), Mark()
        if call.member:
            # What __free() calls tests the variable first.
            unset = Apply("IS_ERR_OR_NULL", call.args[0])
            self.emit(Branch(unset, over, there, f"IS_ERR_OR_NULL({call.texts[0]})", line))
            self.place(there)
        self.emit(attrs.evolve(call, line=line, member=""))
        self.place(over)

    def _free(self, kind: str, of: Variable, text: str, line: int) -> None:
        # The variable is freed at the end of its block.
        call = Call(self.temp(), FREES.get(kind, kind), (of,), (text,), line, member=kind)
        self._scopes[-1].cleanup.append(call)

    def _unwind_to(self, label: str, line: int) -> None:
        blocks = self._blocks.get(label)
        if blocks is None:
            function = self.parsed.function
            raise ParseError(f"{function.path}:{line}: {function.name}() has no label {label}", line)
        common = sum(scope.block == block for scope, block in zip(self._scopes, blocks, strict=False))
        self._unwind(common, line)
        # A jump back leaves what was entered behind the label.
        known = list(zip(self._scopes[:common], self._there.get(label, ()), strict=False))
        for scope, count in reversed(known):
            for call in reversed(scope.cleanup[count:]):
                self._clean(call, line)

    def call(self, node: Node, name: str, args: tuple[Expression, ...], arguments: list[Node]) -> Expression:
        if name == "guard":
            return Variable(self.text(arguments[0]), local=False)
        return super().call(node, name, args, arguments)

    def _indirect(self, node: Node, function: Node, arguments: list[Node]) -> Expression:
        if function.type == "call_expression" and self.text(part(function, "function")) == "guard":
            self._guard(self.text(part(function, "arguments").named_children[0]), arguments, node)
            return Unknown()
        return super()._indirect(node, function, arguments)

    def _guard(self, kind: str, arguments: list[Node], node: Node) -> None:
        lock, unlock = GUARDS.get(kind, (f"guard_{kind}", f"unguard_{kind}"))
        args, texts = tuple(map(self.value, arguments)), tuple(map(self.text, arguments))
        line = self.line_of(node)
        self.emit(Call(self.temp(), lock, args, texts, line))
        self._scopes[-1].cleanup.append(Call(self.temp(), unlock, args, texts, line))
