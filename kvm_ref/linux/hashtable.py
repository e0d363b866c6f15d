# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors include/linux/hashtable.h: tables whose entries lie within other objects."""

from __future__ import annotations

from kvm_ref.kernel import Kernel, Resource
from kvm_ref.vocabulary import kernel_function


class hlist_node(Resource):
    """An entry; its `id` tells what it lies in."""

    __slots__ = ()


@kernel_function(acquires="hlist_node", obj="node", args=("hashtable",))
def hash_add(k: Kernel, hashtable: str, node: hlist_node) -> None:
    """Put an entry into a table."""


@kernel_function(releases="hlist_node", idempotent=True)
def hash_del(k: Kernel, node: hlist_node) -> None:
    """Take an entry out of its table; one that is in none is legal."""
