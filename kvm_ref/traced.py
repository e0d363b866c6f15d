# SPDX-License-Identifier: GPL-2.0-only
"""The wrapper that makes a call of a kernel function leave its events.

What a call returns in the trace follows from the function's return annotation:

==============  ===============================================================
``None``        0 if the C function returns int (it declares errnos), else null
``int, bool``   the integer
anything else   a pointer: ``"ptr"``, ``"NULL"`` or ``"ERR_PTR(-12)"``
==============  ===============================================================

Only a function whose annotation names ErrPtr can return one.

A wrapper is made as source text, because it runs at every call: it takes just the parameters that
its function has, and does only what the function's facts ask for. As a run needs few of all there are,
a wrapper is written when it is called first.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from types import CodeType, FunctionType
from typing import TYPE_CHECKING, Any

from kvm_ref.errno import ErrPtr, KernelError
from kvm_ref.kernel import Resource, pointer

if TYPE_CHECKING:
    from kvm_ref.vocabulary import Facts


def ident(value: object) -> str | int:
    """Name a call's argument in a trace: a resource by its id, a callback by its name."""
    if isinstance(value, Resource):
        return value.id
    if isinstance(value, FunctionType):
        return value.__name__
    if value is None:
        return "NULL"
    if isinstance(value, (str, int)):
        return value
    name = getattr(value, "__name__", None) or getattr(value, "name", None) or getattr(value, "id", None)
    return str(value if name is None else name)


# One wrapper a function, with the function's own parameters: ``*args`` would cost a third of the
# time of a traced call. It is written with stand-ins, so that functions of one shape share what the
# compiler made: NAME for the function's name, ARG1 and so on for its parameters after `k`, VALUE for
# what it returns if it returns nothing, CONFIG for the option that it depends on.
# The interpreter appends to what it knows for a list without a call. Calls with equal arguments have
# one dictionary of these: to make one for each would take as long as all else that a call does.
_WRAPPER = """
def traced({params}):
    {config}at = k.at
    events = k.events
    {known}events.append(("enter", at, "NAME", {args}, None))
    if k.armed is not None and "NAME" in k.armed:
        struck = k.strike(FACTS, {args})
        if struck is not None:
            return struck[0]
    {gone}k.at = at.inner or at.deeper()
    try:
        r = FN({params})
        k.at = at
        {leave}
        return r
    except KernelError as error:
        k.failed(at, "NAME", error)
        raise
"""


# What each wrapper does when it is called first.
_UNWRITTEN = """
def traced(*args, **named):
    traced.__code__ = written(FACTS, ARGS)
    return traced(*args, **named)
"""


def traced(facts: Facts, args: tuple[str, ...]) -> Callable[..., Any]:
    """Wrap a function of the model; `args` are the parameters to record in the ``enter`` event."""
    names: dict[str, Any] = {
        "FACTS": facts,
        "ARGS": args,
        "FN": facts.function,
        "ENTERED": {},
        "LEFT": {},
        "ErrPtr": ErrPtr,
        "KernelError": KernelError,
        "ident": ident,
        "pointer": pointer,
        "written": _written,
    }
    defaults = facts.function.__defaults__
    wrapper = names["traced"] = FunctionType(_code(_UNWRITTEN), names, "traced", defaults)
    return wrapper


def _written(facts: Facts, args: tuple[str, ...]) -> CodeType:
    # The code of a function's wrapper.
    function = facts.function
    obj = facts.obj
    types = {n: getattr(t, "__name__", str(t)) for n, t in function.__annotations__.items()}
    annotation = types.get("return", "None")
    params = function.__code__.co_varnames[: function.__code__.co_argcount]
    # What a resource is called, or an argument is worth, may be any expression, over the parameters' own names.
    alike = obj in ("", "r", *params) and not any("=" in arg for arg in args)
    stand_in = {p: f"ARG{n}" if n and alike else p for n, p in enumerate(params)}
    points = annotation not in ("None", "int", "bool")
    if annotation == "None":
        value = '"VALUE"'
    elif not points:
        value = "+r"
    else:
        value = "pointer(r)" if "ErrPtr" in annotation else '"NULL" if r is None else "ptr"'

    def shown(expression: str) -> str:
        plain = types.get(expression) in ("str", "int", "bool")
        spelt = stand_in.get(expression, expression)
        return spelt if plain or expression[0] == "'" else f"ident({spelt})"

    recorded = {}
    for arg in args:
        name, _, expression = arg.partition("=")
        recorded[name if expression else stand_in[name]] = shown(expression or name)
    if facts.releases:
        recorded["obj"] = shown(obj)
    elif facts.uses:
        recorded["uses"] = shown(obj)
    elif facts.acquires and obj not in ("", "r") and not obj.endswith("]"):
        recorded["obj"] = shown(obj)
    leave = f'events.append(("exit", at, "NAME", None, {value}))'
    if facts.acquires:
        got = {"None": "True", "int": "r >= 0", "bool": "r"}.get(annotation, "r is not None")
        if "ErrPtr" in annotation:
            got += " and not isinstance(r, ErrPtr)"
        if "obj" in recorded:
            held = 'ENTERED_NOW["obj"]'
        else:
            held = shown(obj) if obj else "r.id"
        good = '"ptr"' if points else value
        # What names nothing but the resource on the way in does so on the way out.
        left = "ENTERED_NOW" if list(recorded) == ["obj"] else "LEFT_NOW"
        known = "" if left == "ENTERED_NOW" else _known("LEFT", {"obj": held}, 12) + "\n            "
        leave = (
            f"if {got}:\n"
            f'            {known}events.append(("exit", at, "NAME", {left}, {good}))\n'
            f"        else:\n"
            f"            {leave}"
        )
    source = _WRAPPER.format(
        params=", ".join(stand_in.values()),
        known=_known("ENTERED", recorded, 4) + "\n    " if recorded else "",
        args="ENTERED_NOW" if recorded else "None",
        leave=leave,
        gone='k.gone(ENTERED_NOW["obj"])\n    ' if facts.releases else "",
        config='if "CONFIG" not in k.arch.config: return None\n    ' if facts.config else "",
    )
    # A copy of the code: the interpreter adapts code to the names that it finds at run time.
    nothing = 0 if facts.errnos else None
    return _spelt(
        _code(source),
        {**{s: p for p, s in stand_in.items()}, "NAME": facts.name, "VALUE": nothing, "CONFIG": facts.config},
    )


def _known(among: str, recorded: dict[str, str], indent: int) -> str:
    # The statement that looks up the dictionary of what is recorded, or makes it.
    key = ", ".join(dict.fromkeys(recorded.values()))
    made = ", ".join(f'"{name}": {value}' for name, value in recorded.items())
    lines = [
        "try:",
        f"    {among}_NOW = {among}[{key}]",
        "except KeyError:",
        f"    {among}_NOW = {among}[{key}] = {{{made}}}",
    ]
    return f"\n{' ' * indent}".join(lines)


def _spelt(code: CodeType, names: dict[str, Any]) -> CodeType:
    # A copy of the code with names for its stand-ins; those of keys may be in a tuple.
    constants = []
    for constant in code.co_consts:
        if isinstance(constant, tuple):
            constants.append(tuple(names.get(c, c) for c in constant))
        else:
            constants.append(names.get(constant, constant))
    return code.replace(
        co_varnames=tuple(names.get(v, v) for v in code.co_varnames), co_consts=tuple(constants)
    )


@functools.cache
def _code(source: str) -> CodeType:
    # Most functions have the shape of some other one.
    code: CodeType = compile(source, "<traced>", "exec").co_consts[0]
    return code
