# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors arch/loongarch/kernel/machine_kexec.c: what comes before another kernel is started.

The next kernel finds the other CPUs in a loop that this one put them into. So those that are down are
brought up for it, although the core of the system has been shut down: KVM turns virtualization on
there once more, and nobody turns it off.
"""

from __future__ import annotations

from kvm_ref.kernel import Kernel
from kvm_ref.linux.cpumask import cpu_online, for_each_possible_cpu
from kvm_ref.linux.device import get_cpu_device
from kvm_ref.linux.hotplug import cpu_device_up
from kvm_ref.linux.printk import BUG_ON
from kvm_ref.linux.smp import interrupt_others
from kvm_ref.unwind import unchecked
from kvm_ref.vocabulary import kernel_function


@kernel_function()
def kexec_shutdown_secondary(k: Kernel) -> None:
    """Wait for the next kernel, with interrupts off; the CPU counts as offline."""
    k.online.discard(k.cpu)


@kernel_function()
def machine_shutdown(k: Kernel) -> None:
    """Bring all CPUs up, and stop all but this one.

    Raises:
        KernelBug: a possible CPU is not plugged in; its device is used all the same.
    """
    for cpu in for_each_possible_cpu(k):
        if not cpu_online(k, cpu):
            dev = get_cpu_device(k, cpu)
            BUG_ON(k, dev is None, f"NULL pointer dereference: CPU {cpu} has no device")
            with unchecked:
                cpu_device_up(k, cpu)

    interrupt_others(k, kexec_shutdown_secondary)
