# SPDX-License-Identifier: GPL-2.0-only
"""What C text may call, by its looks: all that it does call, and more, known without parsing it."""

from __future__ import annotations

import re

from kvm_ref.tree.scopes import FREES, GUARDS

_NAME = re.compile(rb"([A-Za-z_]\w*)(\s*\()?")
_FREE = re.compile(rb"__free\s*\(\s*(\w+)")
_MEMBER = re.compile(rb"(?:->|\.)\s*(\w+)")
_LOCKING = frozenset(lock for lock, _ in GUARDS.values())


class Mentions:
    """Looks for names in text.

    Args:
        spoken: functions that the text may name without calling them, as a macro or as a member.
    """

    def __init__(self, spoken: frozenset[str]) -> None:
        self._spoken = frozenset(name.encode() for name in spoken)
        # A function sclp_has_sief2() may be written sclp.has_sief2: those functions by the last member.
        self._members: dict[bytes, set[str]] = {}
        for name in spoken:
            words = name.split("_")
            for n in range(1, len(words)):
                self._members.setdefault("_".join(words[n:]).encode(), set()).add(name)

    def of(self, text: bytes) -> set[str]:
        """Return the names of all functions that a text may call, but for those called through pointers."""
        found = {word for word, called in _NAME.findall(text) if called or word in self._spoken}
        names = set(b" ".join(found).decode("utf-8", "replace").split())
        if self._members:
            for member in _MEMBER.findall(text):
                names |= self._members.get(member, set())
        if "__free" in names:
            frees = (kind.decode() for kind in _FREE.findall(text))
            names |= {FREES.get(kind, kind) for kind in frees}
        if any(name.endswith("guard") for name in names):
            names |= _LOCKING
        return names
