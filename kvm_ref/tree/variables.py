# SPDX-License-Identifier: GPL-2.0-only
"""The variables that C text declares outside of functions, and what they hold at first."""

from __future__ import annotations

import re
from collections.abc import Iterator

from kvm_ref.tree.blank import plain, split
from kvm_ref.tree.config import integer

# The name at the end of a declarator, and the brackets of an array.
LAST_NAME = re.compile(rb"[\w*}]\s*\b([A-Za-z_]\w*)\s*((?:\[[^\]]*\]\s*)*)\Z")
_NO_VARIABLE = re.compile(rb"\s*(?:(?:typedef|extern)\b|(?:struct|union|enum)\s+\w+\s*\Z)")
_PER_CPU = re.compile(rb"\s*(?:static\s+)?DEFINE_PER_CPU\w*\(.*,\s*(\w+)\s*\)\s*(?:=(.*))?", re.DOTALL)
# What a variable holds at first; without an initialiser it is 0.
_WORDS = {"": 0, "true": 1, "false": 0, "NULL": 0}


def variables(chunk: bytes) -> Iterator[tuple[str, int | None]]:
    """Yield the variables that a declaration defines, and what they hold at first; None if that is not known.

    Args:
        chunk: what stands between two semicolons of masked text.
    """
    found = _PER_CPU.fullmatch(chunk)
    if found:
        yield found[1].decode(), _constant(found[2] or b"")
        return
    text = plain(chunk)
    if b"(" in text.partition(b"=")[0] or _NO_VARIABLE.match(text):
        return
    before = b""
    for piece in split(text, 0, len(text)):
        left, _, value = text[slice(*piece)].partition(b"=")
        found = LAST_NAME.search(before + left)
        if found:
            # What an array holds is not one value.
            yield found[1].decode(), None if found[2] else _constant(value)
        before = b"* "


def _constant(value: bytes) -> int | None:
    text = value.strip(b" \t\n()").decode("utf-8", "replace")
    number = integer(text.removeprefix("-").lstrip())
    if number is None:
        return _WORDS.get(text)
    return -number if text[0] == "-" else number
