# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors include/linux/smp.h: starting and stopping other CPUs, and running a function on them by inter-processor interrupt.

A call on the CPU that asks for it is an ordinary call. On another CPU the function runs as task
``ipi``, whose depth starts at 0.
"""

from __future__ import annotations

from collections.abc import Callable

from kvm_ref.errno import EIO, ENXIO, ErrPtr, KernelError
from kvm_ref.kernel import Kernel
from kvm_ref.linux.cpuhp import notify_cpu_starting
from kvm_ref.linux.cpumask import cpu_online, for_each_online_cpu
from kvm_ref.linux.printk import pr_err
from kvm_ref.vocabulary import kernel_function


def interrupt_others(k: Kernel, handler: Callable[..., object], *info: object) -> None:
    """Have every other online CPU run `handler` in an interrupt.

    They do so at once, in no fixed order; here in ascending order.
    """
    for cpu in for_each_online_cpu(k):
        if cpu != k.cpu:
            k.run_on("ipi", cpu, handler, *info)


@kernel_function(fails=ENXIO, args=("cpu", "func"))
def smp_call_function_single(k: Kernel, cpu: int, func: Callable[..., object], info: object) -> None:
    """Run `func` on `cpu` and wait; -ENXIO if that CPU is offline (kernel/smp.c)."""
    if not cpu_online(k, cpu):
        raise KernelError(ENXIO)
    if cpu == k.cpu:
        func(k, info)
    else:
        k.run_on("ipi", cpu, func, info)


@kernel_function(args=("func",))
def on_each_cpu(k: Kernel, func: Callable[..., object], info: object) -> None:
    """Run `func` on every online CPU and wait (include/linux/smp.h); here on the calling one last."""
    interrupt_others(k, func, info)
    func(k, info)


@kernel_function(fails=EIO, args=("cpu",))
def __cpu_up(k: Kernel, cpu: int, tidle: str | ErrPtr) -> None:
    """Start a CPU on its idle task, and wait until it is online (include/linux/smp.h).

    Each architecture has its own; what it may refuse is its hook `boot_secondary`.

    Raises:
        KernelError: EIO, the CPU does not come online; or what the architecture gives.
    """
    if k.arch.boot_secondary:
        k.arch.boot_secondary(k, cpu)

    if isinstance(tidle, ErrPtr):
        pr_err(k, f"CPU{cpu}: failed to come online")
        raise KernelError(EIO)

    k.run_on(tidle, cpu, notify_cpu_starting, cpu)
    k.online.add(cpu)


@kernel_function()
def __cpu_disable(k: Kernel) -> int:
    """Take the CPU that runs out of service (asm/smp.h); most architectures have one of their own, that may refuse."""
    k.online.discard(k.cpu)
    return 0
