# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors include/linux/list.h: what goes on a list, and what comes off it.

Lists are Python's own, with the head's successor first. An entry is no resource by itself: whoever puts something on a
list acquires the thing.
"""

from __future__ import annotations

from typing import TypeVar

from kvm_ref.kernel import Kernel
from kvm_ref.vocabulary import kernel_function

Entry = TypeVar("Entry")


@kernel_function(args=("new",))
def list_add(k: Kernel, new: Entry, head: list[Entry]) -> None:
    """Put an entry first."""
    head.insert(0, new)


@kernel_function(args=("new",))
def list_add_tail(k: Kernel, new: Entry, head: list[Entry]) -> None:
    """Put an entry last."""
    head.append(new)


@kernel_function(args=("entry",))
def list_del(k: Kernel, entry: Entry, head: list[Entry]) -> None:
    """Take an entry off; in C it does not say of which list."""
    head.remove(entry)


@kernel_function(args=("entry",))
def list_del_init(k: Kernel, entry: Entry, head: list[Entry]) -> None:
    """Take an entry off; in C it is then one that is on no list."""
    head.remove(entry)
