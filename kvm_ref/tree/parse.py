# SPDX-License-Identifier: GPL-2.0-only
"""The syntax tree of one function, checked against a count of its gotos and labels by tokens."""

from __future__ import annotations

import re
from collections.abc import Iterator

import attrs

from kvm_ref.misuse import Misuse
from kvm_ref.tree.blank import SPACES, blank
from kvm_ref.tree.source import Function

try:
    import tree_sitter
    import tree_sitter_c
except ImportError:
    raise Misuse("reading C needs tree-sitter: pip install 'kvm-ref[tree]'") from None

_LANGUAGE = tree_sitter.Language(tree_sitter_c.language())
_PARSER = tree_sitter.Parser(_LANGUAGE)
_NODES = tree_sitter.Query(
    _LANGUAGE,
    """
    (goto_statement label: (statement_identifier) @goto)
    (labeled_statement label: (statement_identifier) @label)
    (function_definition) @function
    """,
)

_QUOTED = re.compile(rb'"(?:[^"\\]|\\.)*"|\'(?:[^\'\\]|\\.)*\'', re.DOTALL)
_GOTO = re.compile(rb"\bgoto\s+(\w+)\s*;")
_RETURN = re.compile(rb"\breturn\b")
_MAY_BE_LABEL = re.compile(rb"(?:[;{}:)]|\belse|\bdo)\s*(?!default\b)[A-Za-z_]\w*\s*:")
_NAME = re.compile(rb"[A-Za-z_]")
_TOKEN = re.compile(rb"\w+|[^\s\w]")
_BEFORE_STATEMENT = frozenset({b";", b"{", b"}", b":", b")", b"else", b"do"})


class ParseError(Exception):
    """A function that cannot be read. The message is one line; `line` is where in the file."""

    def __init__(self, message: str, line: int) -> None:
        super().__init__(message)
        self.line = line


@attrs.frozen
class Counts:
    """The labels that gotos name, the labels, each in source order, and how many returns there are."""

    gotos: tuple[str, ...]
    labels: tuple[str, ...]
    returns: int


@attrs.frozen(eq=False)
class Parsed:
    """A function and its syntax tree.

    Attributes:
        source: the text that the nodes are of; offsets in it are offsets in the function's text.
        loops: the macros that are loops, by the offset of the ``while`` that stands for them.
        asm_gotos: the labels of each ``asm goto``, by the offset of the statement.
        ranges: the offset of each ``case 1 ... 5:``, which is written ``1 % 5``.
        frees: what ``__free()`` names, by the offset behind the variable's name.
        body: the block that is the function's body.
        node: the root of the tree.
    """

    function: Function
    source: bytes
    loops: dict[int, str]
    asm_gotos: dict[int, tuple[str, ...]]
    ranges: frozenset[int]
    frees: dict[int, str]
    body: tree_sitter.Node
    node: tree_sitter.Node


def tokens(function: Function) -> Counts:
    """Count gotos, labels and returns by tokens, without a grammar. Those of assembly are not counted."""
    mask = _QUOTED.sub(b'""', function.text)
    return Counts(
        gotos=tuple(name.decode() for name in _GOTO.findall(mask)),
        labels=tuple(_labels(mask)) if _MAY_BE_LABEL.search(mask) else (),
        returns=len(_RETURN.findall(mask)),
    )


def _labels(mask: bytes) -> Iterator[str]:
    # A colon ends a case, belongs to a question mark, or follows a label; else it is in brackets.
    around = []
    bracket, questions, case = b"", 0, False
    last = before = b""
    for token in _TOKEN.findall(mask):
        if token in b"([{":
            around.append((bracket, questions, case))
            bracket, questions, case = token, 0, False
        elif token in b")]}":
            bracket, questions, case = around.pop() if around else (b"", 0, False)
        elif token == b"?":
            questions += 1
        elif token in (b"case", b"default"):
            case = True
        elif token == b":":
            if questions:
                questions -= 1
            elif case:
                case = False
            elif bracket == b"{" and before in _BEFORE_STATEMENT and _NAME.match(last):
                yield last.decode()
        last, before = token, last


def parse(function: Function) -> Parsed:
    """Return the syntax tree of a function's body.

    Raises:
        ParseError: the grammar does not take the function, or the tree has other gotos or labels than the
            text.
    """
    head = function.text.find(b"{")
    blanked = blank(function.text[:head].translate(SPACES) + function.text[head:])
    root = _PARSER.parse(blanked.text).root_node
    parsed = Parsed(
        function=function,
        source=blanked.text,
        loops=blanked.loops,
        asm_gotos=blanked.asm_gotos,
        ranges=blanked.ranges,
        frees=blanked.frees,
        body=root.children[0],
        node=root,
    )
    if root.has_error:
        wrong = _wrong(root)
        line = line_of(parsed, wrong)
        near = function.text[wrong.start_byte :].split(b"\n", 1)[0].strip()[:40].decode("utf-8", "replace")
        raise ParseError(f"{function.path}:{line}: cannot read {function.name}() at {near!r}", line)
    _check(parsed)
    return parsed


def line_of(parsed: Parsed, node: tree_sitter.Node) -> int:
    """Return the line of a node in the file."""
    row: int = node.start_point[0]
    return parsed.function.line + row


def _check(parsed: Parsed) -> None:
    # That the tree has the gotos and labels that the text has, and no function in the function.
    function, counted = parsed.function, tokens(parsed.function)
    found = tree_sitter.QueryCursor(_NODES).captures(parsed.body)
    for what, names in (("goto", counted.gotos), ("label", counted.labels)):
        nodes = sorted(found.get(what, ()), key=_start)
        seen = tuple(
            parsed.source[node.start_byte : node.end_byte].decode("utf-8", "replace") for node in nodes
        )
        if seen != names:
            at = f"{function.path}:{function.line}: {function.name}()"
            raise ParseError(
                f"{at} has the {what}s {_list(names)}, but was read with {_list(seen)}", function.line
            )
    for node in found.get("function", ()):
        line = line_of(parsed, node)
        words = parsed.source[node.start_byte : node.end_byte].split(b"(", 1)[0].split()[-1:]
        what = b"".join(words).decode("utf-8", "replace")
        raise ParseError(
            f"{function.path}:{line}: {what}() before a block in {function.name}() is not known", line
        )


def _list(names: tuple[str, ...]) -> str:
    return ", ".join(names) or "none"


def _start(node: tree_sitter.Node) -> int:
    return node.start_byte


def _wrong(node: tree_sitter.Node) -> tree_sitter.Node:
    # The first node that is an error, or missing.
    while not (node.is_error or node.is_missing):
        node = next(child for child in node.children if child.has_error)
    return node
