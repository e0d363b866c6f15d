# SPDX-License-Identifier: GPL-2.0-only
"""What the model's own text says of a function: its goto ladder, and every way out of it.

Ladders and exits are not declared anywhere: they are read from the functions themselves, as C
programmers read them from the source.
"""

from __future__ import annotations

import ast
import functools
import typing
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import attrs

from kvm_ref import unwind
from kvm_ref.calls import Called, Done, Leave, Text, calls_in, calls_of, children, to_json, written
from kvm_ref.errno import Errno
from kvm_ref.vocabulary import Facts, ending


@attrs.frozen
class Jump:
    """A ``goto label``, the calls whose failure leads to it, its line, and whether anything is wrong then."""

    label: str
    calls: tuple[str, ...]
    line: int
    error: bool = True


@attrs.frozen
class Label:
    """A label, what is done between it and the next one, and its line in the model's file."""

    name: str
    undo: Done
    line: int


@attrs.frozen
class Ladder:
    """The goto ladder of one function: its jumps and labels, each in source order.

    `always` is what stands between the ladder and its first label.
    """

    function: str
    gotos: tuple[Jump, ...]
    labels: tuple[Label, ...]
    always: Done = ()

    def fall(self, label: str) -> Done:
        """Return all that is done after a jump to `label`: its own undo, and that of all below.

        Raises:
            KeyError: there is no such label.
        """
        names = [one.name for one in self.labels]
        if label not in names:
            raise KeyError(label)
        out = self.always
        for one in self.labels[names.index(label) :]:
            out += one.undo
        return out

    def to_json(self) -> dict[str, Any]:
        """Return the ladder as the object that ``json.dump`` takes."""
        return {
            "function": self.function,
            "gotos": [attrs.asdict(jump) for jump in self.gotos],
            "labels": [{"name": x.name, "undo": to_json(x.undo), "line": x.line} for x in self.labels],
        }


@attrs.frozen
class Exit:
    """A way out of a function.

    Attributes:
        name: as in ``kvm_init:-ENOMEM``, ``kvm_init:err_virt``, ``svm_init:kvm_x86_vendor_init``
            (with that callee's error) and ``kvm_init:0``; a second of that name ends in ``#2``.
        kind: "raise", "goto", "call" or "success".
        lines: the first and the last line of each place in the model's file that an error leaves from.
    """

    name: str
    kind: str
    lines: tuple[tuple[int, int], ...]

    def to_json(self) -> dict[str, Any]:
        """Return the exit as the object that ``json.dump`` takes."""
        return attrs.asdict(self)


@functools.cache
def ladder_of(facts: Facts) -> Ladder | None:
    """Return the goto ladder of a function, or None if it has none."""
    if not facts.jumps:
        return None
    text = Text(facts.function)
    found = _find(text, text.body)
    if found is None:
        return None
    opened, after = found
    goto = _opens(text, opened)
    jumps = tuple(_jump(text, goto, *jump) for jump in _jumps(goto, opened.body))
    always, labels = _labels(goto, text, after)
    return Ladder(facts.name, jumps, labels, always)


def _opens(text: Text, node: ast.stmt) -> str:
    # The variable of "with ladder(k) as goto", or "".
    match node:
        case ast.With(items=[ast.withitem(ast.Call(ast.Name(name)), ast.Name(goto))]):
            return goto if text.names.get(name) is unwind.ladder else ""
    return ""


def _suites(node: ast.stmt) -> Iterator[Sequence[ast.stmt]]:
    # The sequences of statements directly in a statement.
    for field in ("body", "orelse", "finalbody"):
        yield getattr(node, field, ())
    for handler in getattr(node, "handlers", ()):
        yield handler.body


def _find(text: Text, body: Sequence[ast.stmt]) -> tuple[ast.With, Sequence[ast.stmt]] | None:
    # The statement that opens the ladder, and those that follow it.
    for n, node in enumerate(body):
        if isinstance(node, ast.With) and _opens(text, node):
            return node, body[n + 1 :]
        for suite in _suites(node):
            found = _find(text, suite)
            if found:
                return found
    return None


def _label(goto: str, node: ast.AST | None) -> str:
    # The label of goto("label") and of goto.reached("label"), or "".
    match node:
        case ast.Call(ast.Name(name), [ast.Constant(str(label))]) if name == goto:
            return label
        case ast.Call(ast.Attribute(ast.Name(name), "reached"), [ast.Constant(str(label))]) if name == goto:
            return label
    return ""


def _goes(goto: str, node: ast.stmt) -> str:
    # The label of "with goto(label)", or "".
    match node:
        case ast.With(items=[ast.withitem(call)]):
            return _label(goto, call)
    return ""


def _jumps(goto: str, body: Sequence[ast.stmt]) -> Iterator[tuple[ast.With, ast.stmt | None]]:
    # Each "with goto(label)", and the statement before it.
    before: ast.stmt | None = None
    for node in body:
        if isinstance(node, ast.With) and _goes(goto, node):
            yield node, before
        else:
            for suite in _suites(node):
                yield from _jumps(goto, suite)
        before = node


def _jump(text: Text, goto: str, node: ast.With, before: ast.stmt | None) -> Jump:
    # As in C, the call may stand before the "if" that tests what it gave, and jumps.
    calls = text.does(node.body)
    if before and isinstance(node.body[0], ast.If) and _variables(before) & _variables(node.body[0].test):
        calls = text.does([before]) + calls
    names = dict.fromkeys(call.name for call in calls_of(calls))
    return Jump(_goes(goto, node), tuple(names), node.lineno, bool(names) or _errs(text, node))


def _errs(text: Text, node: ast.With) -> bool:
    # Whether a block without a call raises anything else than what stands for no error.
    raised = [n.exc for n in ast.walk(node) if isinstance(n, ast.Raise) and n.exc]
    return any(text.names.get(written(error)) is not unwind.NoError for error in raised)


def _variables(node: ast.AST) -> set[str]:
    # The variables in a piece of text, each as it is written, but for the machine.
    if isinstance(node, (ast.Name, ast.Attribute)):
        return {ast.unparse(node)} - {"k"}
    return {name for child in children(node) for name in _variables(child)}


def _labels(goto: str, text: Text, after: Sequence[ast.stmt]) -> tuple[Done, tuple[Label, ...]]:
    # What stands before the first label, and the labels; `after` is what follows the ladder.
    found: list[tuple[str, int]] = [("", 0)]
    undo: list[Done] = [()]
    for node in after:
        match node:
            case ast.If(test, body) if _label(goto, test):
                found.append((_label(goto, test), node.lineno))
                undo.append(text.does(body))
                continue
            case ast.Expr(call) if _label(goto, call):
                found.append((_label(goto, call), node.lineno))
                undo.append(())
                continue
            case ast.If(ast.Attribute(ast.Name(name), "failed"), body) if name == goto:
                does = text.does(body)
            case _:
                does = text.does([node])
        undo[-1] += does
        if Leave() in does:
            undo[-1] = undo[-1][:-1]
            break
    labels = [Label(name, done, line) for (name, line), done in zip(found, undo, strict=True)]
    return labels[0].undo, tuple(labels[1:])


@functools.cache
def exits_of(facts: Facts) -> tuple[Exit, ...]:
    """Return every way out of a function, in source order, success last.

    A function that declares no error number has no other.
    """
    found: list[_Way] = []
    if facts.errnos or facts.jumps:
        ways = _Ways(Text(facts.function))
        ways.out_of(ways.text.body, caught=False)
        found = ways.found
    times: dict[str, int] = {}
    out = []
    for name, kind, lines in [*found, ("0", "success", [])]:
        nth = times[name] = times.get(name, 0) + 1
        out.append(Exit(f"{facts.name}:{name}" + (f"#{nth}" if nth > 1 else ""), kind, tuple(lines)))
    return tuple(out)


# A way out of a function as it is found: name, kind, and the lines.
_Way = tuple[str, str, list[tuple[int, int]]]


class _Ways:
    """The ways out of one function, but for success."""

    def __init__(self, text: Text) -> None:
        self.text = text
        self.goto = ""
        self.found: list[_Way] = []

    def add(self, name: str, kind: str, node: ast.expr | ast.stmt) -> None:
        self.found.append((name, kind, [(node.lineno, node.end_lineno or node.lineno)]))

    def out_of(self, body: Iterable[ast.stmt], *, caught: bool) -> None:
        """Find the ways out of a sequence of statements; those `caught` are none."""
        for node in body:
            match node:
                case ast.With(items, inner) if _opens(self.text, node):
                    self.goto = _opens(self.text, node)
                    self.out_of(inner, caught=caught)
                case ast.With() if self.goto and _goes(self.goto, node):
                    self.add(_goes(self.goto, node), "goto", node)
                case ast.With(items, inner):
                    self.asks(*(i.context_expr for i in items), caught=caught)
                    self.out_of(inner, caught=caught or bool(self.text.suppressed(node)))
                case ast.Try(inner, handlers, orelse, final):
                    self.tries(inner, handlers, caught)
                    self.out_of([*orelse, *final], caught=caught)
                case ast.Raise(ast.Call(ast.Name("KernelError"), [error])) if not caught:
                    self.add(self.errno(error), "raise", node)
                case ast.FunctionDef() | ast.Raise():
                    continue
                case _:
                    self.asks(*(n for n in children(node) if isinstance(n, ast.expr)), caught=caught)
                    for suite in _suites(node):
                        self.out_of(suite, caught=caught)

    def tries(self, body: Sequence[ast.stmt], handlers: Sequence[ast.ExceptHandler], caught: bool) -> None:
        """Find the ways out of a try: what is raised again, and where, leaves the function too."""
        catching = [h for h in handlers if _catches(h)]
        again = [n for h in catching for n in ast.walk(h) if isinstance(n, ast.Raise) and _again(n, h)]
        start = len(self.found)
        self.out_of(body, caught=caught or (bool(catching) and not again))
        for _, _, lines in self.found[start:]:
            lines += [(n.lineno, n.lineno) for n in again if n.exc]
        for handler in handlers:
            self.out_of(handler.body, caught=caught)

    def errno(self, error: ast.expr) -> str:
        """Name the errno of a raise: -ENOMEM, or the expression if it is worked out."""
        text = written(error)
        return f"-{text}" if isinstance(self.text.names.get(text), Errno) else text

    def asks(self, *nodes: ast.AST, caught: bool) -> None:
        """Find the calls in expressions that can leave the function with an error."""
        for call in () if caught else calls_in(nodes):
            called = self.called(call)
            if any(self.fails(one) for one in called):
                self.add(called[0].name, "call", call)

    def called(self, call: ast.Call) -> list[Called]:
        """Return what a call may reach; the machine runs a callback for its caller, too."""
        match call:
            case ast.Call(ast.Attribute(ast.Name(k), "run_on"), [_, _, callback, *_]) if k == self.text.k:
                return self.text.reached(callback)
        return self.text.called(call)

    def fails(self, called: Called) -> bool:
        """Say whether an error can come out of what is called."""
        if called.facts:
            return bool(called.facts.errnos)
        if called.plain:
            return _leaks(called.plain)
        named = ending(called.name)
        return any(f.errnos for f in named) if named else self.returns_int(called.name)

    def returns_int(self, callback: str) -> bool:
        """Say whether a pointer is to a function that returns int, as far as that is known."""
        arguments = self.text.node.args.args if self.text.node else []
        for argument in arguments:
            if argument.arg == callback and argument.annotation:
                text = ast.unparse(argument.annotation)
                return text.endswith(", int]") or typing.get_args(self.text.names.get(text))[-1:] == (int,)
        return True


def _catches(handler: ast.ExceptHandler) -> bool:
    # Whether a kernel's error number is what is caught.
    names = {"KernelError", "OSError", "Exception"}
    return handler.type is None or any(
        isinstance(n, ast.Name) and n.id in names for n in ast.walk(handler.type)
    )


def _again(node: ast.Raise, handler: ast.ExceptHandler) -> bool:
    # Whether the error that was caught is raised again.
    return node.exc is None or (isinstance(node.exc, ast.Name) and node.exc.id == handler.name)


# Whether an error comes out of the functions that leave no trace: a cache of what never changes.
_LEAKS: dict[Callable[..., object], bool] = {}


def _leaks(function: Callable[..., object]) -> bool:
    if function not in _LEAKS:
        _LEAKS[function] = False
        ways = _Ways(Text(function))
        ways.out_of(ways.text.body, caught=False)
        _LEAKS[function] = bool(ways.found)
    return _LEAKS[function]
