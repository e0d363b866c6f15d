# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors arch/arm64/kernel/smp.c: starting and stopping a CPU the way that firmware describes."""

from __future__ import annotations

from arch.arm64.kernel.psci import cpu_psci_cpu_boot
from kvm_ref.errno import EOPNOTSUPP, KernelError
from kvm_ref.kernel import Kernel


def boot_secondary(k: Kernel, cpu: int) -> None:
    """Start a CPU.

    Raises:
        KernelError: what the interface that starts CPUs gives. Without PSCI, the CPUs of this machine wait
            for a word in memory, which never fails.
    """
    if k.features["psci"]:
        cpu_psci_cpu_boot(k, cpu)


def op_cpu_disable(k: Kernel) -> None:
    """Refuse to stop a CPU without firmware that does so; with it, no trusted OS is bound to a CPU here.

    Raises:
        KernelError: EOPNOTSUPP, there is none.
    """
    if not k.features["psci"]:
        raise KernelError(EOPNOTSUPP)
