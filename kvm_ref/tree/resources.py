# SPDX-License-Identifier: GPL-2.0-only
"""Is a call of the text about the resource that the model's call is about?

What is NULL, or a constant of another number, is another. What an earlier call of the same function
returned is known again by that call. What lies in a structure is known by the member's name, and a variable
by its own where another call in the function is given that variable. Of anything else nothing is said.
"""

from __future__ import annotations

from kvm_ref.tree.bodies import About, Item
from kvm_ref.tree.expressions import Variable
from kvm_ref.tree.operations import Call, Code
from kvm_ref.tree.values import Memory, Pointer
from kvm_ref.vocabulary import Facts


def other(
    item: Item, items: tuple[Item, ...], facts: Facts, op: Call, code: Code, memory: Memory, prefix: str
) -> str:
    """Return what a call is about in C's words if that is another resource than the model's, or "".

    Args:
        item: the call of the model.
        items: all that the model's function did.
        facts: the function that is called.
        op: the call of the text.
        code: the function that the call is in.
        memory, prefix: what is known there.
    """
    at = _argument(facts)
    if not isinstance(item, About) or not 0 <= at < len(op.args):
        return ""
    arg = op.args[at]
    value = arg.value(memory, prefix)
    if value == 0 and item.resource != "NULL":
        return "NULL"
    if facts.releases and isinstance(arg, Variable) and arg.constant:
        # A constant by its name in the kernel, which it has in the model.
        number = facts.function.__globals__.get(arg.name)
        return arg.name if isinstance(number, int) and str(number) != item.resource else ""
    if not isinstance(value, Pointer):
        return ""
    target = value.target
    if target.startswith("#") and target[1:].isdigit():
        got = items[int(target[1:]) - 1]
        return op.texts[at] if isinstance(got, About) and got.resource != item.resource else ""
    member, of = target.rpartition(".")[::2], item.resource.rpartition(".")[::2]
    if member[0] and of[0]:
        return op.texts[at] if member[1] != of[1] else ""
    if target != item.resource and f"&{item.resource}" in _beside(code, op.name, at):
        return op.texts[at]
    return ""


def _argument(facts: Facts) -> int:
    # Which argument says what a call is about, or -1.
    code = facts.function.__code__
    params = code.co_varnames[1 : code.co_argcount]
    return params.index(facts.obj) if facts.obj in params else -1


def _beside(code: Code, name: str, at: int) -> set[str]:
    # What the calls of a function are given in a function.
    calls = (op for op in code.operations if isinstance(op, Call) and op.name == name)
    return {op.texts[at] for op in calls if at < len(op.texts)}
