# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors include/linux/mmu_notifier.h: being told of changes to a process's memory."""

from __future__ import annotations

from collections.abc import Callable

from kvm_ref.errno import EINTR, ENOMEM
from kvm_ref.kernel import Kernel, Resource
from kvm_ref.vocabulary import kernel_function


class mmu_notifier(Resource):
    """A subscription.

    Attributes:
        release: what the subscriber wants done when its part of the memory goes; None before it is set.
        container: what the subscription lies in.
        hashed: it is on the list of the process.
    """

    __slots__ = ("container", "hashed", "release")

    def __init__(self, id: str, container: object) -> None:
        super().__init__(id)
        self.container = container
        self.release: Callable[[Kernel, mmu_notifier], None] | None = None
        self.hashed = False


@kernel_function(fails=(EINTR, ENOMEM), acquires="mmu_notifier", obj="subscription")
def mmu_notifier_register(k: Kernel, subscription: mmu_notifier) -> None:
    """Subscribe to the memory of the present process (mm/mmu_notifier.c).

    Raises:
        KernelError: EINTR, a signal came while all locks were being taken; or ENOMEM.
    """
    subscription.hashed = True


@kernel_function(releases="mmu_notifier")
def mmu_notifier_unregister(k: Kernel, subscription: mmu_notifier) -> None:
    """Give the subscription up, and let the subscriber release what it has (mm/mmu_notifier.c)."""
    if subscription.hashed:
        if subscription.release:
            subscription.release(k, subscription)
        subscription.hashed = False
