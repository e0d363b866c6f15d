# SPDX-License-Identifier: GPL-2.0-only
"""Changes of a function, each of which puts one mistake into the way it unwinds.

Lines keep their numbers: what is removed leaves its lines blank, and what is put somewhere else stands
there on the line that there is.
"""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import attrs
from tree.changes import Change, Edit, edited, nodes

from kvm_ref.tree.parse import line_of, parse
from kvm_ref.tree.source import Function

if TYPE_CHECKING:
    from tree_sitter import Node

# Calls that only tell somebody what happened.
_TALK = re.compile(r"pr_\w+|kvm_(err|info|debug)|dev_\w+|printk|WARN\w*|BUG\w*|trace_\w+|KVM_EVENT")
_UNLOCK = re.compile(r"\w*unlock\w*|up_(read|write)|cpu_maps_update_done")
# Functions that take down what others set up: all their calls undo something.
_TEARDOWN = frozenset({"kvm_exit", "kvm_destroy_vm", "kvm_disable_virtualization"})


@attrs.frozen
class Section:
    """The statements behind a label, up to the next one."""

    label: str
    named: Node
    begin: Node
    statements: tuple[Node, ...]


def _text(function: Function, node: Node) -> bytes:
    return function.raw[node.start_byte : node.end_byte]


def _called(function: Function, node: Node) -> str:
    # The function that a statement calls, if it does nothing else.
    if node.type != "expression_statement" or not node.named_children:
        return ""
    call = node.named_children[0]
    if call.type != "call_expression":
        return ""
    return _text(function, call.children[0]).decode()


def undoes(function: Function, node: Node) -> bool:
    """Say whether a statement is a call, or a loop or condition around calls, that may undo something."""
    if node.type == "compound_statement":
        return bool(node.named_children) and all(undoes(function, one) for one in node.named_children)
    if node.type == "if_statement" and node.child_by_field_name("alternative") is not None:
        return False
    if node.type in ("if_statement", "while_statement", "for_statement"):
        inner = node.child_by_field_name("consequence") or node.child_by_field_name("body")
        return inner is not None and undoes(function, inner)
    name = _called(function, node)
    return bool(name) and not _TALK.fullmatch(name)


def sections(function: Function, body: Node) -> list[Section]:
    """Return the sections of a function's labels, in source order."""
    out: list[Section] = []
    statements: list[Node] = []
    for node in body.named_children:
        while node.type == "labeled_statement":
            statements = []
            label, node = node.named_children[0], node.named_children[-1]
            out.append(Section(_text(function, label).decode(), label, node, ()))
        if out and node.type != "comment":
            statements.append(node)
            out[-1] = attrs.evolve(out[-1], statements=tuple(statements))
    return out


def returning(body: Node) -> Iterator[Node]:
    """Yield the blocks in a function's body that end with a return."""
    for block in nodes(body, "compound_statement"):
        inner = block.named_children
        if inner and inner[-1].type == "return_statement" and block.start_byte != body.start_byte:
            yield block


class _Mutator:
    # All changes of one function that break it.

    def __init__(self, function: Function) -> None:
        self.function = function
        self.parsed = parse(function)
        self.body = self.parsed.body
        self.sections = sections(function, self.body)

    def text(self, node: Node) -> bytes:
        return self.function.text[node.start_byte : node.end_byte]

    def flat(self, node: Node) -> bytes:
        return b" ".join(self.text(node).split())

    def undoes(self, node: Node) -> bool:
        return undoes(self.function, node)

    def lines(self, node: Node) -> frozenset[int]:
        first = self.function.line
        return frozenset(range(first + node.start_point[0], first + node.end_point[0] + 1))

    def change(
        self,
        kind: str,
        touched: Sequence[Node],
        *edits: Edit,
        beside: Sequence[Node] = (),
        entries: frozenset[int] | None = None,
    ) -> Change:
        at = line_of(self.parsed, touched[0])
        others = {line for node in touched for line in self.lines(node)}
        others |= {line_of(self.parsed, node) for node in beside}
        text = edited(self.function.raw, edits)
        lines = tuple(self.lines(node) for node in touched)
        what = self.flat(touched[0]).decode()
        return Change(self.function, kind, what, (at, *sorted(others - {at})), lines, entries, text)

    def all(self) -> Iterator[Change]:
        yield from self.runs([node for one in self.sections for node in one.statements])
        yield from self.moved()
        yield from self.gotos()
        for block in returning(self.body):
            yield from self.runs(block.named_children)
        if self.function.name in _TEARDOWN:
            yield from self.runs(self.body.named_children)
        for node in nodes(self.body, "expression_statement"):
            if _UNLOCK.fullmatch(_called(self.function, node)):
                yield self.change("unlock lost", (node,), self.without(node))

    def without(self, node: Node) -> Edit:
        # An empty statement is left: it may be the only one of a label or a condition.
        return self.instead(node, b";")

    def instead(self, node: Node, text: bytes) -> Edit:
        return node.start_byte, node.end_byte, text + b"\n" * self.text(node).count(b"\n")

    def runs(self, statements: Sequence[Node]) -> Iterator[Change]:
        undone = [node for node in statements if self.undoes(node)]
        for node in undone:
            yield self.change("removed", (node,), self.without(node))
            more = (node.end_byte, node.end_byte, b" " + self.flat(node))
            yield self.change("doubled", (node,), more)
        for node, other in itertools.pairwise(undone):
            edits = (self.instead(node, self.flat(other)), self.instead(other, self.flat(node)))
            yield self.change("swapped", (node, other), *edits)

    def moved(self) -> Iterator[Change]:
        lines = self.jumps()
        for upper, lower in itertools.pairwise(self.sections):
            entries = frozenset(lines.get(lower.label, ()))
            for node in filter(self.undoes, upper.statements):
                more = (lower.begin.start_byte, lower.begin.start_byte, self.flat(node) + b" ")
                edits = (self.without(node), more)
                beside = (lower.named, lower.begin)
                yield self.change("one label down", (node,), *edits, beside=beside, entries=entries)
            at, last = upper.begin.start_byte, upper.named
            if upper.statements:
                last = upper.statements[-1]
                at = last.start_byte if last.type.startswith(("return", "goto")) else last.end_byte
            for node in filter(self.undoes, lower.statements):
                edits = (self.without(node), (at, at, b" " + self.flat(node) + b" "))
                yield self.change("one label up", (node,), *edits, beside=(last,), entries=entries)

    def jumps(self) -> dict[str, list[int]]:
        out: dict[str, list[int]] = {}
        for node in nodes(self.body, "goto_statement"):
            label = self.text(node.named_children[0]).decode()
            out.setdefault(label, []).append(line_of(self.parsed, node))
        return out

    def gotos(self) -> Iterator[Change]:
        labels = [one.label for one in self.sections]
        lower = dict(itertools.pairwise(labels))
        returns = [self.text(node) for node in nodes(self.body, "return_statement")]
        for node in nodes(self.body, "goto_statement"):
            label = self.text(node.named_children[0]).decode()
            if label in lower:
                text = b"goto %s;" % lower[label].encode()
                yield self.change("goto too low", (node,), self.instead(node, text))
            text = returns[-1] if returns else b"return;"
            yield self.change("goto made return", (node,), self.instead(node, text))
            before = node.prev_named_sibling
            if before is not None and re.fullmatch(rb"\w+ = -E\w+;", self.text(before)):
                yield self.change("error not set", (before,), self.without(before))


def mutants(function: Function) -> list[Change]:
    """Return all changes of a function that break it; of two that come to the same the first.

    Of statements that read alike the second is told from the first by a ``#2`` behind it.
    """
    texts = {b"".join(function.raw.split())}
    names: Counter[str] = Counter()
    out = []
    for change in _Mutator(function).all():
        text = b"".join(change.text.split())
        if text not in texts:
            texts.add(text)
            names[change.name] += 1
            number = names[change.name]
            out.append(attrs.evolve(change, what=f"{change.what}#{number}") if number > 1 else change)
    return out
