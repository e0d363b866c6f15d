# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors virt/kvm/eventfd.c: the queue that takes irqfds apart."""

from __future__ import annotations

from kvm_ref.errno import ENOMEM, KernelError
from kvm_ref.kernel import Kernel, Statics
from kvm_ref.linux.workqueue import alloc_workqueue, destroy_workqueue, workqueue_struct
from kvm_ref.virt.kvm_host import kvm
from kvm_ref.vocabulary import kernel_function


class Eventfd(Statics):
    """The static variables of virt/kvm/eventfd.c."""

    __slots__ = ("irqfd_cleanup_wq",)
    module = "kvm"

    def __init__(self) -> None:
        self.irqfd_cleanup_wq: workqueue_struct | None = None


@kernel_function(fails=ENOMEM, config="HAVE_KVM_IRQCHIP")
def kvm_irqfd_init(k: Kernel) -> None:
    """Make the queue."""
    k[Eventfd].irqfd_cleanup_wq = alloc_workqueue(k, "kvm-irqfd-cleanup")
    if not k[Eventfd].irqfd_cleanup_wq:
        raise KernelError(ENOMEM)


@kernel_function(config="HAVE_KVM_IRQCHIP")
def kvm_irqfd_exit(k: Kernel) -> None:
    """Destroy the queue."""
    destroy_workqueue(k, k[Eventfd].irqfd_cleanup_wq)


@kernel_function()
def kvm_eventfd_init(k: Kernel, kvm: kvm) -> None:
    """Give a VM empty lists of irqfds and ioeventfds."""


@kernel_function(config="HAVE_KVM_IRQCHIP")
def kvm_irqfd_release(k: Kernel, kvm: kvm) -> None:
    """Take a VM's irqfds apart, and wait until that is done."""
