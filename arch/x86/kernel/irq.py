# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors arch/x86/kernel/irq.c: who is called when a posted interrupt finds no vCPU running."""

from __future__ import annotations

from collections.abc import Callable

from kvm_ref.kernel import Kernel, Statics
from kvm_ref.vocabulary import kernel_function

wakeup_handler = Callable[[Kernel], None]


class Irq(Statics):
    """The static variables of arch/x86/kernel/irq.c; None stands for dummy_handler."""

    __slots__ = ("kvm_posted_intr_wakeup_handler",)

    def __init__(self) -> None:
        self.kvm_posted_intr_wakeup_handler: wakeup_handler | None = None


@kernel_function(
    acquires="posted_intr_wakeup_handler",
    releases="posted_intr_wakeup_handler",
    obj="'kvm_posted_intr_wakeup_handler'",
    args=("handler",),
    idempotent=True,
)
def kvm_set_posted_intr_wakeup_handler(k: Kernel, handler: wakeup_handler | None) -> wakeup_handler | None:
    """Set the handler, or with NULL take it back and wait until nobody runs it.

    Returns:
        The handler that is set now, where the C returns nothing: one is held until NULL is set.
    """
    k[Irq].kvm_posted_intr_wakeup_handler = handler
    return handler
