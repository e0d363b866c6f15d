# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors arch/s390/kvm/interrupt.c: a VM's own part of what firmware knows, the GISA."""

from __future__ import annotations

from kvm_ref.errno import EBUSY, KernelError
from kvm_ref.kernel import Kernel
from kvm_ref.linux.mutex import mutex_lock, mutex_unlock
from kvm_ref.linux.printk import WARN_ON
from kvm_ref.virt.kvm_host import kvm
from kvm_ref.vocabulary import kernel_function


@kernel_function()
def kvm_s390_gisa_init(k: Kernel, kvm: kvm) -> None:
    """Give a VM a GISA, if the machine has AIV; it lies in a page that the VM has anyway."""
    if not k.features["aiv"]:
        return
    kvm.arch.iam = 0
    kvm.arch.gisa = True


@kernel_function()
def kvm_s390_gisa_clear(k: Kernel, kvm: kvm) -> None:
    """Drop the interrupts that wait in a VM's GISA, if it has one still."""


@kernel_function()
def process_gib_alert_list(k: Kernel) -> None:
    """Wake the guests that firmware put on the list of alerts, and empty the list."""


@kernel_function(fails=EBUSY)
def gisa_set_iam(k: Kernel, kvm: kvm, iam: int) -> None:
    """Tell firmware which interrupts are to wake the host.

    Raises:
        KernelError: EBUSY, the GISA is on the list of alerts.
    """


@kernel_function()
def kvm_s390_gisa_destroy(k: Kernel, kvm: kvm) -> None:
    """Undo kvm_s390_gisa_init()."""
    if not kvm.arch.gisa:
        return
    WARN_ON(k, kvm.arch.iam != 0x00, f"unexpected alert.mask {kvm.arch.iam:#04x}")
    kvm.arch.iam = 0x00
    try:
        gisa_set_iam(k, kvm, kvm.arch.iam)
    except KernelError:
        process_gib_alert_list(k)
    kvm.arch.gisa = False


@kernel_function()
def kvm_s390_clear_float_irqs(k: Kernel, kvm: kvm) -> None:
    """Drop the interrupts that wait for any vCPU of a VM; here there are none."""
    mutex_lock(k, kvm.arch.lock)
    mutex_unlock(k, kvm.arch.lock)
    kvm_s390_gisa_clear(k, kvm)


@kernel_function()
def kvm_s390_destroy_adapters(k: Kernel, kvm: kvm) -> None:
    """Free a VM's I/O adapters; here no program makes any."""
