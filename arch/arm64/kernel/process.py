# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors arch/arm64/kernel/process.c: what comes before another kernel is started."""

from __future__ import annotations

from kvm_ref.kernel import Kernel
from kvm_ref.linux.nonboot import smp_shutdown_nonboot_cpus
from kvm_ref.linux.reboot import Reboot
from kvm_ref.vocabulary import kernel_function


@kernel_function()
def machine_shutdown(k: Kernel) -> None:
    """Take the other CPUs down, for the next kernel starts them anew."""
    smp_shutdown_nonboot_cpus(k, k[Reboot].reboot_cpu)
