# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors arch/x86/kernel/reboot.c: how the machine ends; what the firmware does then is not modelled."""

from __future__ import annotations

from arch.x86.kernel.smp import native_stop_other_cpus
from kvm_ref.kernel import Kernel
from kvm_ref.linux.printk import pr_notice
from kvm_ref.vocabulary import kernel_function


@kernel_function()
def native_machine_shutdown(k: Kernel) -> None:
    """Stop the other CPUs and what sends interrupts."""
    native_stop_other_cpus(k, 1)


@kernel_function()
def native_machine_restart(k: Kernel) -> None:
    """Restart the machine; it is no emergency, so the CPU that runs turns nothing off."""
    pr_notice(k, "reboot: machine restart")

    native_machine_shutdown(k)


@kernel_function()
def native_machine_halt(k: Kernel) -> None:
    """Stop all CPUs."""
    native_machine_shutdown(k)


@kernel_function()
def native_machine_power_off(k: Kernel) -> None:
    """Stop the other CPUs, and have the power switched off."""
    native_machine_shutdown(k)
