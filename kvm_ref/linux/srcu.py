# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors include/linux/srcu.h: sleepable read-copy-update domains that lie within other objects."""

from __future__ import annotations

from kvm_ref.errno import ENOMEM
from kvm_ref.kernel import Kernel, Resource
from kvm_ref.vocabulary import kernel_function


class srcu_struct(Resource):
    """A domain; its `id` tells what it lies in."""

    __slots__ = ()


@kernel_function(fails=ENOMEM, acquires="srcu", obj="ssp")
def init_srcu_struct(k: Kernel, ssp: srcu_struct) -> None:
    """Set a domain up; it has memory of its own (kernel/rcu/srcutree.c).

    Raises:
        KernelError: ENOMEM, there is no memory.
    """


@kernel_function(releases="srcu")
def cleanup_srcu_struct(k: Kernel, ssp: srcu_struct) -> None:
    """Take down a domain that has no readers (kernel/rcu/srcutree.c)."""
