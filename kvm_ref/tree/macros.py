# SPDX-License-Identifier: GPL-2.0-only
"""Macros with arguments, read as if they were functions: their text is what the function does.

That is not what the preprocessor does, but for the macros that call something on behalf of their
caller, as ``fops_get()``, it comes to the same.
"""

from __future__ import annotations

import re

from kvm_ref.tree.blank import CONTINUED
from kvm_ref.tree.source import File, Function

_DEFINE = re.compile(
    rb"[ \t]*#[ \t]*define[ \t]+(\w+)\(([\w, \t]*)\)[ \t]*((?:[^\n\\\x01]|[\\\x01]\r?\n|\\.)*)"
)
_STATEMENT = re.compile(rb"\s*(do|if|for|while|switch)\b")
_RETURN = re.compile(rb"\breturn\b")
_GOTO = re.compile(rb"\bgoto\s+(\w+)")
_LABEL = re.compile(rb"[;{}]\s*\\?\s*(\w+)\s*:")
_CALLS = re.compile(rb"\w\s*\(")


def macros(file: File) -> dict[str, Function]:
    """Return the macros of a file that take arguments and call something, by name."""
    known = file.kept.get("macros")
    if isinstance(known, dict):
        return known
    file.kept["macros"] = out = _read(file)
    return out


def leaves(macro: Function) -> bool:
    """Say whether a macro returns from its caller, or jumps to a label of its caller."""
    own = set(_LABEL.findall(macro.raw))
    return bool(_RETURN.search(macro.raw)) or not own.issuperset(_GOTO.findall(macro.raw))


def _read(file: File) -> dict[str, Function]:
    out = {}
    for start, text in file.defines:
        found = _DEFINE.match(text)
        if not found:
            continue
        name, params, body = found.groups()
        # What pastes names together, or makes texts of them, is more than a function can be.
        if b"#" in body or not _CALLS.search(body):
            continue
        body = body.replace(b"\\\n", b" \n").replace(CONTINUED, b" ")
        block = (
            b"{ %s; }" % body if _STATEMENT.match(body) else b"{ return (%s); }" % body.strip().rstrip(b";")
        )
        head = b"static long %s(%s) " % (name, b", ".join(b"long " + p.strip() for p in params.split(b",")))
        out[name.decode()] = Function(
            name=name.decode(),
            path=file.path,
            line=file.line(start),
            text=head + block,
            raw=found[0],
            params=tuple(p.strip().decode() for p in params.split(b",") if p.strip()),
            returns="long",
        )
    return out
