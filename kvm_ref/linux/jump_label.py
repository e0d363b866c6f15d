# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors include/linux/jump_label.h: static keys, branches that are patched into the code."""

from __future__ import annotations

from kvm_ref.kernel import Kernel
from kvm_ref.vocabulary import kernel_function


class static_key:
    """A branch that is on while `enabled` is above zero; `name` is the C variable."""

    __slots__ = ("enabled", "name")

    def __init__(self, name: str, enabled: int = 0) -> None:
        self.name = name
        self.enabled = enabled


@kernel_function(args=("key",))
def static_branch_enable(k: Kernel, key: static_key) -> None:
    """Turn the branch on (kernel/jump_label.c)."""
    key.enabled = 1


@kernel_function(args=("key",))
def static_branch_disable(k: Kernel, key: static_key) -> None:
    """Turn the branch off (kernel/jump_label.c)."""
    key.enabled = 0


def static_branch_unlikely(key: static_key) -> bool:
    """Say whether the branch is on."""
    return key.enabled > 0
