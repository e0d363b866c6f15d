# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors include/linux/xarray.h: arrays that grow by nodes as entries are stored.

An entry needs a node only where no neighbour has brought one; here each store that is modelled
stands for a whole table of entries and brings one node.
"""

from __future__ import annotations

from kvm_ref.errno import ENOMEM, ERR_PTR, ErrPtr
from kvm_ref.kernel import Kernel, Resource
from kvm_ref.vocabulary import NULL, kernel_function


class xa_node(Resource):
    """A node, which holds entries."""

    __slots__ = ()


class xarray:
    """An array and its nodes."""

    __slots__ = ("name", "nodes")

    def __init__(self, name: str) -> None:
        self.name = name
        self.nodes: list[xa_node] = []


@kernel_function(fails=NULL, acquires="xa_node")
def xas_alloc(k: Kernel, xa: xarray) -> xa_node | None:
    """Allocate a node (lib/xarray.c)."""
    return xa_node(k.new(f"{xa.name} node"))


@kernel_function(releases="xa_node")
def xa_node_free(k: Kernel, node: xa_node) -> None:
    """Free a node (lib/xarray.c)."""


@kernel_function(fails=ERR_PTR(ENOMEM), args=("xa", "entries"))
def xa_store(k: Kernel, xa: xarray, entries: str) -> ErrPtr | None:
    """Store entries, and return what was there: nothing (lib/xarray.c)."""
    node = xas_alloc(k, xa)
    if not node:
        return ERR_PTR(ENOMEM)
    xa.nodes.append(node)
    return None


@kernel_function(args=("xa",))
def xa_destroy(k: Kernel, xa: xarray) -> None:
    """Drop all entries, and free the nodes (lib/xarray.c)."""
    for node in xa.nodes:
        xa_node_free(k, node)
    xa.nodes = []
