# SPDX-License-Identifier: GPL-2.0-only
"""What a function of the model did in one call, and where C text does something else."""

from __future__ import annotations

from typing import Any

import attrs

from kvm_ref.text import errno_name

# What a body consists of: ("call", function, what it returned), ("goto", label, None), ("lock", name, None),
# ("unlock", name, None).
Item = tuple[str, str, Any]


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
        return shown(self.did)

    @property
    def model(self) -> str:
        """What the model does, in words."""
        return shown(self.due)

    @property
    def after(self) -> int:
        """How many items were equal."""
        return len(self.lines)


def shown(item: Item) -> str:
    """Say what an item is, in words."""
    kind, name, value = item
    match kind:
        case "call":
            return f"calls {name}()"
        case "goto":
            return f"jumps to {name}"
        case "return":
            what = {None: "", "ptr": " a pointer", "?": " something", "unset": " what nobody set"}.get(
                value, f" {errno_name(value)}"
            )
            return f"returns{what}"
    return f"{kind}s {name}"
