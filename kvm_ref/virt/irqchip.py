# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors virt/kvm/irqchip.c: the table that tells where a VM's interrupts go."""

from __future__ import annotations

from kvm_ref.errno import ENOMEM, KernelError
from kvm_ref.kernel import Kernel
from kvm_ref.linux.slab import kfree, kzalloc
from kvm_ref.virt.kvm_host import kvm
from kvm_ref.vocabulary import kernel_function


@kernel_function(fails=ENOMEM, config="HAVE_KVM_IRQ_ROUTING")
def kvm_init_irq_routing(k: Kernel, kvm: kvm) -> None:
    """Give a VM an empty table.

    Raises:
        KernelError: ENOMEM, there is no memory.
    """
    # A number for each pin and the length, then one empty list.
    size = -(-4 * (k.arch.irqchip_pins + 1) // 8) * 8 + 8
    new = kzalloc(k, "kvm_irq_routing_table", size)
    if not new:
        raise KernelError(ENOMEM)

    kvm.irq_routing = new


@kernel_function(config="HAVE_KVM_IRQ_ROUTING")
def kvm_free_irq_routing(k: Kernel, kvm: kvm) -> None:
    """Free a VM's table."""
    if kvm.irq_routing:
        kfree(k, kvm.irq_routing)
