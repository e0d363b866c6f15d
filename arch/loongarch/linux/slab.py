# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors include/linux/slab.h: one large object, in whichever way there is room."""

from __future__ import annotations

from kvm_ref.kernel import Kernel
from kvm_ref.linux.slab import kmemory
from kvm_ref.vocabulary import NULL, kernel_function


@kernel_function(fails=NULL, acquires="kmalloc", args=("type",), symbol="__kvmalloc_node_noprof")
def kvzalloc(k: Kernel, type: str) -> kmemory | None:
    """Allocate a zeroed `type`, whose pages need not lie together."""
    return kmemory(k.new(type))
