# SPDX-License-Identifier: GPL-2.0-only
"""What a function of the model calls, and in which order, read from its text with `ast`.

What is done is a sequence of these:

=========  =============================================================================
`Call`     a call of a kernel function; ``indirect`` through a pointer, of any function
           whose name ends so
`Loop`     its body runs any number of times
`Branch`   one of several ways is taken
`Leave`    the function returns here, or the turn of a loop ends
`Block`    a function that leaves no trace of its own; a `Leave` in it ends only the block
=========  =============================================================================

Calls of functions that leave no trace are replaced by what these call.
"""

from __future__ import annotations

import ast
import functools
import linecache
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from types import FunctionType, ModuleType
from typing import Any, NamedTuple

import attrs

from kvm_ref.vocabulary import Facts, facts_of


@attrs.frozen
class Call:
    """A call. `config` is the Kconfig option without which it leaves no trace, or ""."""

    name: str
    indirect: bool = False
    config: str = ""


@attrs.frozen
class Loop:
    """Something that is done any number of times."""

    body: Done


@attrs.frozen
class Branch:
    """Ways of which one is taken; an empty one means that nothing need be done."""

    ways: tuple[Done, ...]


@attrs.frozen
class Block:
    """What a function does that leaves no trace of its own."""

    body: Done


@attrs.frozen
class Leave:
    """The way out of a function, or with `turn` of this turn of a loop."""

    turn: bool = False


Done = tuple[Call | Loop | Branch | Block | Leave, ...]


def to_json(undo: Done) -> list[Any]:
    """Return what is done as the lists and objects that ``json.dump`` takes."""
    out: list[Any] = []
    for part in undo:
        if isinstance(part, Call):
            out.append({"indirect" if part.indirect else "call": part.name})
        elif isinstance(part, Branch):
            out.append({"branch": [to_json(way) for way in part.ways]})
        elif isinstance(part, Leave):
            out.append({"leave": "loop" if part.turn else "function"})
        else:
            out.append({"loop" if isinstance(part, Loop) else "block": to_json(part.body)})
    return out


def calls_of(undo: Done) -> Iterator[Call]:
    """Yield the calls of what is done, in source order."""
    for part in undo:
        if isinstance(part, Call):
            yield part
        elif isinstance(part, Branch):
            for way in part.ways:
                yield from calls_of(way)
        elif not isinstance(part, Leave):
            yield from calls_of(part.body)


class Called(NamedTuple):
    """What a call reaches: a kernel function, one that leaves no trace, or (neither) a pointer."""

    name: str
    facts: Facts | None = None
    plain: Callable[..., object] | None = None


@functools.cache
def _lines(file: str) -> list[str]:
    return linecache.getlines(file)


# Python 3.11 counts how deep ast.parse() is for all threads together, and gives up if two are at it.
_PARSING = threading.Lock()


def _parse(text: str) -> ast.Module:
    with _PARSING:
        return ast.parse(text)


@functools.cache
def _functions(file: str) -> dict[int, ast.FunctionDef]:
    # The functions of a file, each by the line that its code object gives as its first.
    nodes = ast.walk(_parse("".join(_lines(file))))
    functions = [n for n in nodes if isinstance(n, ast.FunctionDef)]
    return {n.decorator_list[0].lineno if n.decorator_list else n.lineno: n for n in functions}


# What the lines of a function may begin with after the first.
_GOES_ON = frozenset(" \t\r\n\f#)]}")


@functools.cache
def _function(file: str, line: int) -> ast.FunctionDef | None:
    # The function whose code object gives `line` as its first. Its text ends where something else than a
    # comment or a bracket stands at the margin; where that is not so, as within a class, the whole
    # file is read. What is above the "def" says nothing of what the function does, and is left out.
    lines = _lines(file)[line - 1 :]
    head = next((n for n, text in enumerate(lines) if text.startswith("def ")), -1)
    if head < 0 or not lines[0].startswith(("def ", "@")):
        return _functions(file).get(line)
    ends = (n for n, text in enumerate(lines) if n > head and text[0] not in _GOES_ON)
    text = "".join(lines[head : next(ends, None)])
    try:
        # Lines keep their numbers.
        tree = _parse("\n" * (line - 1 + head) + text)
    except SyntaxError:
        return _functions(file).get(line)
    return tree.body[0] if isinstance(tree.body[0], ast.FunctionDef) else None


def written(node: ast.expr) -> str:
    """Return an expression as text; nearly all are names, and no more than that."""
    return node.id if isinstance(node, ast.Name) else ast.unparse(node)


def children(node: ast.AST) -> list[Any]:
    """Return the nodes directly in a node, as ``ast.iter_child_nodes`` yields them, but sooner."""
    found = []
    for field in node._fields:
        value = getattr(node, field, None)
        if isinstance(value, list):
            found += [item for item in value if isinstance(item, ast.AST)]
        elif isinstance(value, ast.AST):
            found.append(value)
    return found


# Nodes that hold no call.
_BARE = (ast.Name, ast.Constant, ast.expr_context, ast.operator, ast.cmpop)


def calls_in(nodes: Iterable[ast.AST]) -> list[ast.Call]:
    """Return the calls in expressions, each behind those in its arguments."""
    found = []
    for node in nodes:
        if isinstance(node, ast.Attribute):
            found += calls_in((node.value,))
        elif not isinstance(node, _BARE):
            found += calls_in(children(node))
            if isinstance(node, ast.Call):
                found.append(node)
    return found


class Text:
    """The text of one function: its syntax tree, and what its names stand for."""

    def __init__(self, function: Callable[..., object]) -> None:
        code = function.__code__
        file, line = code.co_filename, code.co_firstlineno
        self.node = _function(file, line)
        self.body = self.node.body if self.node else []
        self.names = function.__globals__
        self.k = code.co_varnames[0] if code.co_argcount else ""

    def called(self, call: ast.Call) -> list[Called]:
        """Return what a call may reach; nothing if it does not hand on the machine."""
        first = call.args[0] if call.args else None
        if not (isinstance(first, ast.Name) and first.id == self.k):
            return []
        return [found for func in _ways(call.func) for found in self.reached(func)]

    def reached(self, func: ast.expr) -> list[Called]:
        """Return what a called expression stands for; nothing if that is a class."""
        name = func.attr if isinstance(func, ast.Attribute) else written(func)
        target: object = None
        match func:
            case ast.Name():
                target = self.names.get(name)
            case ast.Attribute(ast.Name(base)) if isinstance(self.names.get(base), ModuleType):
                target = getattr(self.names[base], name)
        if target is None:
            return [Called(name)]
        if not isinstance(target, FunctionType):
            return []
        facts = facts_of(target)
        return [Called(facts.name, facts) if facts else Called(name, plain=target)]

    def does(self, statements: Iterable[ast.stmt]) -> Done:
        """Return the calls of a sequence of statements."""
        out: Done = ()
        for statement in statements:
            out += self._statement(statement)
        return out

    def _statement(self, node: ast.stmt) -> Done:
        match node:
            case ast.If(test, body, orelse):
                return self.asks(test) + branch(self.does(body), self.does(orelse))
            case ast.For(iter=first, body=body):
                return self.asks(first) + loop(self.does(body))
            case ast.While(test, body):
                return loop(self.asks(test) + self.does(body))
            case ast.With(items, body):
                opened = self.asks(*(i.context_expr for i in items))
                return opened + self.tries(body, self.suppressed(node), ())
            case ast.Try(body, handlers, orelse, final):
                caught = [self.does(h.body) for h in handlers]
                return self.tries(body, caught, orelse) + self.does(final)
            case ast.Return() | ast.Raise():
                return (*self.asks(node), Leave())
            case ast.Break() | ast.Continue():
                return (Leave(turn=True),)
            case ast.FunctionDef():
                return ()
        return self.asks(node)

    def suppressed(self, node: ast.With) -> list[Done]:
        """Return what follows an error in the block: nothing, if it is ``unchecked``."""
        return [()] if any(written(i.context_expr) == "unchecked" for i in node.items) else []

    def tries(self, body: Sequence[ast.stmt], caught: list[Done], orelse: Sequence[ast.stmt]) -> Done:
        """Return the calls of a body that may be cut short by an error, and what is done then."""
        out = self.does(orelse)
        for statement in reversed(body):
            does = self._statement(statement)
            out = does + (branch(out, *caught) if does and caught else out)
        return out

    def asks(self, *nodes: ast.AST) -> Done:
        """Return the calls of expressions, as they are evaluated."""
        out: Done = ()
        for node in nodes:
            match node:
                case ast.Lambda(body=body):
                    # Whoever gets it may call it, or not.
                    out += branch(self.asks(body), ())
                case ast.BoolOp(values=[first, *others]):
                    out += self.asks(first) + branch(self.asks(*others), ())
                case ast.IfExp(test, one, other):
                    out += self.asks(test) + branch(self.asks(one), self.asks(other))
                case ast.ListComp() | ast.SetComp() | ast.GeneratorExp() | ast.DictComp():
                    out += loop(self.asks(*children(node)))
                case ast.Call(_, args, keywords):
                    out += self.asks(*args, *(word.value for word in keywords))
                    ways = [_as_done(found) for found in self.called(node)]
                    out += ways[0] if len(ways) == 1 else branch(*ways)
                case _:
                    out += self.asks(*children(node))
        return out


def branch(*ways: Done) -> Done:
    """Return a branch, or nothing if there is nothing to do on any way."""
    return (Branch(ways),) if any(ways) else ()


def loop(body: Done) -> Done:
    """Return a loop, or nothing if no turn does anything."""
    return (Loop(body),) if any(calls_of(body)) else ()


def _ways(func: ast.expr) -> list[ast.expr]:
    # The functions that an expression such as (a or b) may give.
    match func:
        case ast.BoolOp(values=values):
            return values
        case ast.IfExp(body=one, orelse=other):
            return [one, other]
    return [func]


def _as_done(found: Called) -> Done:
    if found.facts:
        return (Call(found.name, config=found.facts.config),)
    if found.plain is None:
        return (Call(found.name, indirect=True),)
    body = _does(found.plain)
    if body[-1:] == (Leave(),):
        body = body[:-1]
    return (Block(body),) if any(calls_of(body)) else ()


# What the functions do that leave no trace: a cache of what never changes.
_DOES: dict[Callable[..., object], Done] = {}


def _does(function: Callable[..., object]) -> Done:
    if function not in _DOES:
        # If it calls itself, it does nothing more the second time.
        _DOES[function] = ()
        text = Text(function)
        _DOES[function] = text.does(text.body)
    return _DOES[function]
