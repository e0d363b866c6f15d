# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors arch/arm64/kernel/smp.c: starting and stopping a CPU the way that firmware describes."""

from __future__ import annotations

from arch.arm64.kernel.psci import cpu_psci_cpu_boot
from arch.arm64.kernel.virt import is_protected_kvm_enabled
from kvm_ref.errno import EOPNOTSUPP, EPERM, KernelError
from kvm_ref.kernel import Kernel
from kvm_ref.vocabulary import kernel_function


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


@kernel_function(fails=(EOPNOTSUPP, EPERM))
def __cpu_disable(k: Kernel) -> int:
    """Take the CPU that runs out of service.

    Raises:
        KernelError: EOPNOTSUPP, nothing can stop it; firmware also gives EPERM.
    """
    op_cpu_disable(k)

    k.online.discard(k.cpu)
    return 0


def cpus_are_stuck_in_kernel(k: Kernel) -> bool:
    """Say whether there are CPUs that another kernel could not be given: without firmware to stop them, or behind EL2."""
    return (len(k.possible) > 1 and not k.features["psci"]) or is_protected_kvm_enabled(k)
