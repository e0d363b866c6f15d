# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors arch/arm64/kernel/smp.c: starting a CPU the way that firmware describes."""

from __future__ import annotations

from arch.arm64.kernel.psci import cpu_psci_cpu_boot
from kvm_ref.kernel import Kernel


def boot_secondary(k: Kernel, cpu: int) -> None:
    """Start a CPU.

    Raises:
        KernelError: what the interface that starts CPUs gives. Without PSCI, the CPUs of this machine wait
            for a word in memory, which never fails.
    """
    if k.features["psci"]:
        cpu_psci_cpu_boot(k, cpu)
