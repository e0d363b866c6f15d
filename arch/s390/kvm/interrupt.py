# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors arch/s390/kvm/interrupt.c: the guest information block (GIB), and who is told of alerts.

With the facility for adapter-interruption virtualization (feature aiv), firmware delivers adapters'
interrupts to running guests, and alerts the host through the GIB of those for guests that sleep.
"""

from __future__ import annotations

from arch.s390.cio.airq import airq_struct, register_adapter_interrupt, unregister_adapter_interrupt
from arch.s390.cio.chsc import chsc_sgib
from arch.s390.kvm.pci import (
    Pci,
    aift,
    kvm_s390_pci_aen_exit,
    kvm_s390_pci_aen_init,
    kvm_s390_pci_interp_allowed,
)
from kvm_ref.errno import EIO, ENOMEM, KernelError
from kvm_ref.kernel import Kernel, Statics
from kvm_ref.linux.gfp import free_page, get_zeroed_page, pages
from kvm_ref.linux.mutex import mutex_lock, mutex_unlock
from kvm_ref.linux.printk import pr_err
from kvm_ref.unwind import ladder, unchecked
from kvm_ref.vocabulary import kernel_function

# arch/s390/include/asm/isc.h: the interruption subclass of GIB alerts.
GAL_ISC = 5
# Where the model puts the block: firmware must be seen to know "none" or "KVM's".
GIB_ADDRESS = 0x2000


class Interrupt(Statics):
    """The static variables of arch/s390/kvm/interrupt.c."""

    __slots__ = ("gib", "gib_alert_irq")
    module = "kvm"

    def __init__(self) -> None:
        self.gib: pages | None = None
        self.gib_alert_irq = airq_struct("gib_alert_irq")


@kernel_function()
def kvm_s390_gib_destroy(k: Kernel) -> None:
    """Undo kvm_s390_gib_init(), if it made a block."""
    g = k[Interrupt]
    if not g.gib:
        return
    if kvm_s390_pci_interp_allowed(k) and k[Pci].aift:
        mutex_lock(k, aift(k).aift_lock)
        kvm_s390_pci_aen_exit(k)
        mutex_unlock(k, aift(k).aift_lock)
    with unchecked:
        chsc_sgib(k, 0)
    unregister_adapter_interrupt(k, g.gib_alert_irq)
    free_page(k, g.gib)
    g.gib = None


@kernel_function(fails=(ENOMEM, EIO), translates=True)
def kvm_s390_gib_init(k: Kernel, nisc: int) -> None:
    """Make the block, handle alerts, and tell firmware, if the machine has AIV."""
    g = k[Interrupt]
    with ladder(k) as goto:
        if not k.features["aiv"]:
            return

        g.gib = get_zeroed_page(k, "gib")
        with goto("out"):
            if not g.gib:
                raise KernelError(ENOMEM)

        g.gib_alert_irq.isc = nisc
        with goto("out_free_gib"):
            try:
                register_adapter_interrupt(k, g.gib_alert_irq)
            except KernelError:
                pr_err(k, "kvm: no handler for GIB alerts")
                raise KernelError(EIO) from None

        with goto("out_unreg_gal"):
            try:
                chsc_sgib(k, GIB_ADDRESS)
            except KernelError:
                pr_err(k, "kvm: firmware does not take the GIB")
                free_page(k, g.gib)
                g.gib = None
                raise KernelError(EIO) from None

        if kvm_s390_pci_interp_allowed(k):
            with goto("out_unreg_gal"):
                try:
                    kvm_s390_pci_aen_init(k, nisc)
                except KernelError:
                    pr_err(k, "kvm: no forwarding of PCI interrupts")
                    raise KernelError(EIO) from None

        return

    # Firmware is not told that the block goes.
    if goto.reached("out_unreg_gal"):
        unregister_adapter_interrupt(k, g.gib_alert_irq)
    if goto.reached("out_free_gib"):
        free_page(k, g.gib)
        g.gib = None
    goto.reached("out")
    raise goto.error
