# SPDX-License-Identifier: GPL-2.0-only
"""The wrapper that makes a call of a kernel function leave its events.

What a call returns in the trace follows from the function's return annotation:

==============  ===============================================================
``None``        0 if the C function returns int (it declares errnos), else null
``int, bool``   the integer
anything else   a pointer: ``"ptr"``, ``"NULL"`` or ``"ERR_PTR(-12)"``
==============  ===============================================================

A wrapper is made as source text, because it runs at every call: it takes just the parameters that
its function has, and does only what the function's facts ask for.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from types import CodeType, FunctionType
from typing import TYPE_CHECKING, Any

from kvm_ref.errno import ErrPtr, KernelError
from kvm_ref.kernel import Resource

if TYPE_CHECKING:
    from kvm_ref.vocabulary import Facts


def ident(value: object) -> str | int:
    """Name a call's argument in a trace: a resource by its id, a callback by its name."""
    if isinstance(value, Resource):
        return value.id
    if value is None:
        return "NULL"
    if isinstance(value, (str, int)):
        return value
    name = getattr(value, "__name__", None) or getattr(value, "name", None) or getattr(value, "id", None)
    return str(value if name is None else name)


def pointer(value: object) -> str:
    """Encode a pointer for the trace."""
    if value is None:
        return "NULL"
    return repr(value) if isinstance(value, ErrPtr) else "ptr"


# One wrapper a function, with the function's own parameters: ``*args`` would cost a third of the
# time of a traced call. {obj} and {args} are expressions over those parameters; "NAME" stands for
# the function's name. The interpreter appends to what it knows for a list without a call.
_WRAPPER = """
def traced({params}):
    {config}at = k.at
    events = k.events
    {enter}
    if k.armed is not None and "NAME" in k.armed:
        struck = k.strike(FACTS, {args})
        if struck is not None:
            events.append(("exit", at, "NAME", None, {struck}))
            return struck[0]
    {gone}k.at = at.inner or at.deeper()
    try:
        r = FN({params})
    except KernelError as error:
        k.at = at
        events.append(("exit", at, "NAME", {{"line": error.__traceback__.tb_next.tb_lineno}}, -error.errno))
        raise
    k.at = at
    {leave}
    return r
"""


def traced(facts: Facts, args: tuple[str, ...]) -> Callable[..., Any]:
    """Wrap a function of the model; `args` are the parameters to record in the ``enter`` event."""
    function = facts.function
    obj = facts.obj
    types = {n: getattr(t, "__name__", str(t)) for n, t in function.__annotations__.items()}
    annotation = types.get("return", "None")
    params = function.__code__.co_varnames[: function.__code__.co_argcount]
    if annotation == "None":
        value = "0" if facts.errnos else "None"
    elif annotation in ("int", "bool"):
        value = "+r"
    else:
        value = "pointer(r)"

    def shown(expression: str) -> str:
        plain = types.get(expression) in ("str", "int", "bool")
        return expression if plain or expression[0] == "'" else f"ident({expression})"

    recorded = {name: shown(name) for name in args}
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
        held = shown(obj) if obj else "r.id"
        good = '"ptr"' if value == "pointer(r)" else value
        leave = (
            f"if {got}:\n"
            f'        events.append(("exit", at, "NAME", {{"obj": {held}}}, {good}))\n'
            f"    else:\n"
            f"        {leave}"
        )
    enter = ['events.append(("enter", at, "NAME", None, None))']
    if recorded:
        enter = [
            "args = {" + ", ".join(f'"{n}": {e}' for n, e in recorded.items()) + "}",
            'events.append(("enter", at, "NAME", args, None))',
        ]
    source = _WRAPPER.format(
        params=", ".join(params),
        args="args" if recorded else "None",
        enter="\n    ".join(enter),
        struck="int(struck[0])" if annotation in ("None", "int", "bool") else "pointer(struck[0])",
        leave=leave,
        gone='k.gone(args["obj"])\n    ' if facts.releases else "",
        config=f'if "{facts.config}" not in k.arch.config: return None\n    ' if facts.config else "",
    )
    names: dict[str, Any] = {
        "FACTS": facts,
        "FN": function,
        "ErrPtr": ErrPtr,
        "KernelError": KernelError,
        "ident": ident,
        "pointer": pointer,
    }
    # A copy of the code: the interpreter adapts code to the names that it finds at run time.
    code = _code(source)
    constants = tuple(facts.name if c == "NAME" else c for c in code.co_consts)
    code = code.replace(co_consts=constants)
    wrapper = names["traced"] = FunctionType(code, names, "traced", function.__defaults__)
    return wrapper


@functools.cache
def _code(source: str) -> CodeType:
    # Most functions have the wrapper of some other one.
    code: CodeType = compile(source, "<traced>", "exec").co_consts[0]
    return code
