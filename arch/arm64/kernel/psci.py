# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors arch/arm64/kernel/psci.c: a CPU is started by firmware, on a call that protected EL2 sees first."""

from __future__ import annotations

from arch.arm64.kernel.sysreg import HCR_EL2, HCR_TSC
from arch.arm64.kvm.hyp.nvhe.psci_relay import PSCI_RET_SUCCESS, psci_cpu_on
from kvm_ref.errno import EINVAL, EOPNOTSUPP, EPERM, KernelError
from kvm_ref.kernel import Kernel
from kvm_ref.linux.printk import pr_err
from kvm_ref.vocabulary import kernel_function


def psci_0_2_cpu_on(k: Kernel, cpu: int) -> None:
    """Ask firmware to start a CPU (drivers/firmware/psci/psci.c); it does, if the question comes there.

    Raises:
        KernelError: EINVAL, EL2 of the CPU that runs traps the call, and refuses.
    """
    if k.read(HCR_EL2) & HCR_TSC and psci_cpu_on(k, cpu) != PSCI_RET_SUCCESS:
        raise KernelError(EINVAL)


@kernel_function(fails=(EINVAL, EOPNOTSUPP, EPERM), args=("cpu",))
def cpu_psci_cpu_boot(k: Kernel, cpu: int) -> None:
    """Start a CPU.

    Raises:
        KernelError: EINVAL, protected EL2 does not know the CPU; firmware also gives EOPNOTSUPP or EPERM.
    """
    try:
        psci_0_2_cpu_on(k, cpu)
    except KernelError as error:
        pr_err(k, f"psci: CPU{cpu} is not started ({-(error.errno or 0)})")
        raise
