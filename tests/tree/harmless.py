# SPDX-License-Identifier: GPL-2.0-only
"""Changes of a function that make no difference to what it does."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from tree.changes import Change, Edit, edited, nodes
from tree.mutants import returning, sections, undoes

from kvm_ref.tree.parse import parse
from kvm_ref.tree.source import Function

if TYPE_CHECKING:
    from tree_sitter import Node

# What a reader who looks for statements in text may stumble over.
_COMMENTS = (
    b"/* } goto out; { out: \" ' */",
    b"// return -5; } goto err; '\n",
    b'\n\n\t/*\n\t * undo(); "\n\tout_err:\n\t * {{{\n\t */\n',
    b"/**/ \t",
)
_SIMPLE = re.compile(rb"([A-Za-z_][\w.>\-]*) = ([\w.>\-]+);")
_MEMBER = re.compile(rb"(->|\.)\s*\w+")
_PLAIN = ("expression_statement", "goto_statement", "return_statement")
_NAME = re.compile(rb"[A-Za-z_]\w*")


class _Changer:
    # The harmless changes of one function.

    def __init__(self, function: Function) -> None:
        self.function = function
        self.parsed = parse(function)
        self.body = self.parsed.body
        self.local = {name.encode() for name in function.params if name}
        self.local |= {self.text(node) for node in self.declared()}

    def text(self, node: Node) -> bytes:
        return self.function.text[node.start_byte : node.end_byte]

    def declared(self) -> Iterator[Node]:
        # The names that declarations introduce.
        for node in nodes(self.body, "declaration"):
            for child in node.children_by_field_name("declarator"):
                found: Node | None = child
                while found is not None and found.type != "identifier":
                    inner = next(iter(found.named_children), None)
                    found = found.child_by_field_name("declarator") or inner
                if found is not None:
                    yield found

    def all(self) -> Iterator[Change]:
        before = sorted({node.start_byte for node in self.statements()})
        comments = [(at, at, _COMMENTS[n % len(_COMMENTS)] + b" ") for n, at in enumerate(before)]
        for kind, edits in (
            ("all variables renamed", self.renamed()),
            ("comments", comments),
            ("blank lines", [(at, at, b"\n\n\t") for at in before]),
            ("conditions put otherwise", self.conditions()),
            ("braces", self.braces()),
        ):
            yield self.change(kind, edited(self.function.raw, edits))
        for edits in self.reordered():
            yield self.change("assignments reordered", edited(self.function.raw, edits))
        for helper, edits in self.helpers():
            text = edited(self.function.raw, edits)
            yield self.change("undo pulled out", helper + b"\n\n" + text)

    def change(self, kind: str, text: bytes) -> Change:
        return Change(self.function, kind, "", (self.function.line,), (), None, text)

    def renamed(self) -> list[Edit]:
        # All parameters and local variables, where they are no member's name and not in quotes.
        out = []
        for found in _NAME.finditer(self.function.text):
            start = found.start()
            before = self.function.text[:start].rstrip()
            other = before.endswith((b"->", b".", b"struct")) or self.quoted(start)
            if found[0] in self.local and not other:
                out.append((start, found.end(), found[0] + b"_renamed"))
        return out

    def quoted(self, at: int) -> bool:
        found = self.parsed.node.descendant_for_byte_range(at, at)
        return found is not None and found.type.startswith(("string", "char", "escape"))

    def statements(self) -> Iterator[Node]:
        for block in nodes(self.body, "compound_statement"):
            yield from block.named_children

    def conditions(self) -> list[Edit]:
        # Each `if` of a variable, of what is not, or of a call, in one of other ways to say it.
        out: list[Edit] = []
        for node in nodes(self.body, "if_statement"):
            condition = node.child_by_field_name("condition")
            inner = condition.named_children if condition is not None else []
            if len(inner) != 1:
                continue
            text = self.text(inner[0])
            ways: Sequence[bytes] = ()
            if inner[0].type == "identifier":
                ways = (b"!!%s", b"%s != 0")
            elif re.fullmatch(rb"![\w.>\-]+", text):
                text = text[1:]
                ways = (b"!(%s)", b"0 == %s")
            elif inner[0].type == "call_expression":
                ways = (b"!(!%s)", b"(%s)")
            if ways:
                out.append((inner[0].start_byte, inner[0].end_byte, ways[len(out) % 2] % text))
        return out

    def braces(self) -> list[Edit]:
        # Around what follows an `if` without any.
        out: list[Edit] = []
        for node in nodes(self.body, "if_statement"):
            inner = node.child_by_field_name("consequence")
            if inner is not None and inner.type in _PLAIN:
                out += [(inner.start_byte, inner.start_byte, b"{ "), (inner.end_byte, inner.end_byte, b" }")]
        return out

    def reordered(self) -> Iterator[list[Edit]]:
        # Two assignments, one after the other, neither of which has to do with the other's variable.
        for block in nodes(self.body, "compound_statement"):
            inner = block.named_children
            for node, other in itertools.pairwise(inner):
                first, second = _SIMPLE.fullmatch(self.text(node)), _SIMPLE.fullmatch(self.text(other))
                if not first or not second:
                    continue
                if first[1] not in second[2] and second[1] not in first[2] and first[1] != second[1]:
                    yield [
                        (node.start_byte, node.end_byte, second[0]),
                        (other.start_byte, other.end_byte, first[0]),
                    ]

    def helpers(self) -> Iterator[tuple[bytes, list[Edit]]]:
        # What undoes something, behind each label and in each block that returns, becomes a function.
        blocks = [list(section.statements) for section in sections(self.function, self.body)]
        blocks += [block.named_children for block in returning(self.body)]
        for block in blocks:
            run = list(itertools.takewhile(lambda node: undoes(self.function, node), block))
            if not run:
                continue
            start, end = run[0].start_byte, run[-1].end_byte
            text = self.function.text[start:end]
            names = _NAME.findall(_MEMBER.sub(b"", text))
            used = [name for name in dict.fromkeys(names) if name in self.local]
            params = b", ".join(b"struct any *" + name for name in used) or b"void"
            helper = b"static void pulled_out(" + params + b")\n{\n\t" + text + b"\n}"
            yield helper, [(start, end, b"pulled_out(" + b", ".join(used) + b");")]


def harmless(function: Function) -> list[Change]:
    """Return harmless changes of a function, of each kind those that it allows."""
    return [change for change in _Changer(function).all() if change.text != function.raw]
