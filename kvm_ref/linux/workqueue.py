# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors include/linux/workqueue.h: queues of work for kernel threads."""

from __future__ import annotations

from kvm_ref.kernel import Kernel, Resource
from kvm_ref.vocabulary import NULL, kernel_function


class workqueue_struct(Resource):
    """A queue of work."""

    __slots__ = ()


@kernel_function(fails=NULL, acquires="workqueue", args=("name",))
def alloc_workqueue(k: Kernel, name: str) -> workqueue_struct | None:
    """Make a queue (kernel/workqueue.c)."""
    return workqueue_struct(k.new(name))


@kernel_function(releases="workqueue")
def destroy_workqueue(k: Kernel, wq: workqueue_struct | None) -> None:
    """Finish a queue's work and destroy it; NULL is not legal (kernel/workqueue.c)."""
