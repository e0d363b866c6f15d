# SPDX-License-Identifier: GPL-2.0-only
"""What the calls in C text acquire, release and fail with: from the vocabulary, and from pairs of the user."""

from __future__ import annotations

import re
from collections.abc import Container, Mapping

from kvm_ref.errno import Errno, ErrPtr
from kvm_ref.tree.expressions import Place, Variable
from kvm_ref.tree.operations import Call
from kvm_ref.tree.values import Error, Memory, Pointer, Value
from kvm_ref.vocabulary import Facts, Vocabulary

# Functions that give the same thing in another way, as its address or as the structure that it is in.
CONVERTS = re.compile(r"container_of|to_\w+|\w+_to_\w+|page_address|__p?v?a|__sme_\w+")
# Calls after which a count of references, a list or a queue keeps what the argument lies in; and those
# that take it back.
KEEPS = re.compile(
    r"(device|kobject|kset|cdev_device)_(initialize|init|init_and_add|add|register)|kref_init"
    r"|h?list_add\w*|(queue|schedule)_\w*work\w*|call_rcu"
)
LETS_GO = re.compile(r"h?list_del\w*|cancel_\w*work\w*")
_INNER = re.compile(r"^.*\(([^()]*)\)+$")


def converted(name: str, value: Value) -> Value:
    """Return what a conversion makes of a value: what is not NULL stays so, and is the same thing."""
    return Pointer(f"{name}({value.target})") if isinstance(value, Pointer) else value


class Roles(Vocabulary):
    """The functions that are of interest in C text, by name.

    Args:
        facts: what is known of functions, the vocabulary of a backend for instance.
        walked: the functions that the text has, and that are walked into unless they acquire or
            release something.
    """

    def __init__(self, facts: Mapping[str, Facts], walked: Container[str] = ()) -> None:
        super().__init__()
        self._facts = {n: f for n, f in facts.items() if f.fails or f.acquires or f.releases or f.uses}
        self._walked = walked
        # What is told apart by the pointer that the call that acquired it returned.
        self._by_value = {f.acquires for f in self._facts.values() if f.acquires and f.obj in ("", "r")}

    def leaf(self, name: str) -> bool:
        """Say whether a function is not walked into."""
        facts = self._facts[name]
        return bool(facts.acquires or facts.releases) or name not in self._walked

    def resource(self, facts: Facts, call: Call, memory: Memory, prefix: str, value: Value) -> str:
        """Return which resource a call is about; `value` is what it returns."""
        if facts.acquires and isinstance(value, Pointer) and facts.obj in ("", "r"):
            return value.target
        if facts.obj in ("", "r"):
            return str(value)
        if facts.obj.startswith(("'", "f'")):
            return facts.obj.strip("f'\"")
        code = facts.function.__code__
        params = code.co_varnames[1 : code.co_argcount]
        name = facts.obj.partition("[")[0]
        at = params.index(name) if name in params else 0
        if at >= len(call.args):
            return ""
        arg = call.args[at]
        known = arg.value(memory, prefix)
        if isinstance(known, Pointer):
            return _INNER.sub(r"\1", known.target)
        if not self._by_value.isdisjoint((facts.acquires, facts.releases, facts.uses)):
            if isinstance(known, Error) or known == 0:
                return "NULL"
            # One that is not known may be any of that kind.
            return "" if known is None else str(known)
        if isinstance(known, int) and isinstance(arg, Variable) and arg.local:
            return str(known)
        if isinstance(arg, Place):
            return arg.address(memory, prefix)
        return arg.key(prefix) or call.texts[at]


def fails_with(facts: Facts, errno: int | None) -> Value:
    """Return what a call returns that fails, with a chosen error number or its natural one."""
    failure = facts.fails[0]
    if isinstance(failure, ErrPtr):
        return Error(errno or failure.error)
    if isinstance(failure, Errno):
        return -(errno or int(failure))
    return int(failure is True)


def gives(facts: Facts, here: str) -> Value:
    """Return what a call returns that succeeds; `here` is the name of what it acquires."""
    annotation = _returns(facts)
    if annotation == "None":
        return 0 if facts.errnos else None
    if annotation == "bool":
        return int(not facts.fails[0]) if facts.fails else None
    if annotation == "int":
        # A number that is none of the usual: a descriptor, say.
        return 3 if facts.obj in ("", "r") and facts.acquires else 0 if facts.errnos else None
    return Pointer(here)


def _returns(facts: Facts) -> str:
    return str(facts.function.__annotations__.get("return", "None"))
