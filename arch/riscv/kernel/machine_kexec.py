# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors arch/riscv/kernel/machine_kexec.c: what comes before another kernel is started."""

from __future__ import annotations

from kvm_ref.kernel import Kernel
from kvm_ref.linux.nonboot import smp_shutdown_nonboot_cpus
from kvm_ref.vocabulary import kernel_function


@kernel_function()
def machine_shutdown(k: Kernel) -> None:
    """Take the other harts down, for the next kernel starts them anew."""
    smp_shutdown_nonboot_cpus(k, k.cpu)
