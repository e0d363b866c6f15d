# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors arch/loongarch/kernel/smp.c: a CPU that is taken out of service."""

from __future__ import annotations

from kvm_ref.errno import EBUSY, KernelError
from kvm_ref.kernel import Kernel
from kvm_ref.vocabulary import kernel_function


def io_master(cpu: int) -> bool:
    """Say whether a CPU handles the interrupts of devices (asm/bootinfo.h): here it is the first one."""
    return cpu == 0


@kernel_function(fails=EBUSY)
def __cpu_disable(k: Kernel) -> int:
    """Take the CPU that runs out of service (loongson_cpu_disable()); -EBUSY if it handles interrupts of devices."""
    if io_master(k.cpu):
        raise KernelError(EBUSY)

    k.online.discard(k.cpu)
    return 0
