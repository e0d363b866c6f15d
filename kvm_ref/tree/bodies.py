# SPDX-License-Identifier: GPL-2.0-only
"""What a function of the model did in one call, and where C text does something else."""

from __future__ import annotations

from typing import Any

import attrs

from kvm_ref.text import errno_name
from kvm_ref.tree.values import Error, Pointer, Unset, Value

# What a body consists of: ("call", function, what it returned), ("goto", label, None), ("lock", name, None),
# ("unlock", name, None).
Item = tuple[str, str, Any]


class About(tuple[str, str, Any]):
    """A call that is about a resource, by its name in that run. It equals the same call about any other."""

    resource: str

    @classmethod
    def of(cls, name: str, value: Any, resource: object) -> About:
        """Return the item of a call."""
        item = cls(("call", name, value))
        item.resource = str(resource)
        return item


@attrs.frozen
class Body:
    """What one call of a function did in the model, and what it returned as the trace shows it."""

    items: tuple[Item, ...]
    value: Any


@attrs.frozen
class Difference:
    """Where text and body part.

    Attributes:
        path, line: the place in the tree.
        did: what the text does there.
        due: what the model does there.
        lines: the place of each item of the body that was equal before, in order.
    """

    path: str
    line: int
    did: Item
    due: Item
    lines: tuple[tuple[str, int], ...]

    @property
    def text(self) -> str:
        """What the text does, in words."""
        return shown(self.did, about=self.did[:2] == self.due[:2])

    @property
    def model(self) -> str:
        """What the model does, in words."""
        return shown(self.due, about=self.did[:2] == self.due[:2])

    @property
    def after(self) -> int:
        """How many items were equal."""
        return len(self.lines)


@attrs.frozen
class Remark:
    """What the text itself shows to be wrong: where, the name of the rule, and what it is in words."""

    path: str
    line: int
    rule: str
    message: str


def shown(item: Item, *, about: bool = False) -> str:
    """Say what an item is, in words; of a call, if asked, what it is about, too."""
    kind, name, value = item
    match kind:
        case "call":
            return f"calls {name}({item.resource if about and isinstance(item, About) else ''})"
        case "goto":
            return f"jumps to {name}"
        case "return":
            what = {None: "", "ptr": " a pointer", "?": " something", "unset": " what nobody set"}.get(
                value, f" {errno_name(value)}"
            )
            return f"returns{what}"
    return f"{kind}s {name}"


def plain(value: Value) -> Any:
    """Return a value as a trace shows it; "?" if it is not known."""
    if isinstance(value, Error):
        return f"ERR_PTR({-value.errno})"
    if isinstance(value, Unset):
        return "unset"
    return "ptr" if isinstance(value, Pointer) else "?" if value is None else value


def value_of(shown: Any, number: int) -> Value:
    """Return what a call returned, from how a trace shows it; a pointer is that of the call of a number."""
    if shown == "ptr":
        return Pointer(f"#{number}")
    if shown == "NULL":
        return 0
    if isinstance(shown, str) and shown.startswith("ERR_PTR("):
        return Error(-int(shown[8:-1]))
    return shown if shown is None else int(shown)


def agrees(value: Value, shown: Any) -> bool:
    """Say whether a value of the text may be what a trace shows."""
    if value is None or shown is None:
        return True
    if shown == "ptr":
        return isinstance(value, Pointer)
    return value == value_of(shown, 0)
