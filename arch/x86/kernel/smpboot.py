# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors arch/x86/kernel/smpboot.c: a CPU that starts, one that is taken out of service, and one that is dead.

A CPU's APIC has the CPU's number, and there is one node of memory. The state in which a CPU is kicked
comes just before CPUHP_BRINGUP_CPU, and is one with it here.
"""

from __future__ import annotations

from kvm_ref.errno import ENOSPC
from kvm_ref.kernel import Kernel, SystemState
from kvm_ref.linux.printk import pr_info
from kvm_ref.vocabulary import kernel_function


def native_kick_ap(k: Kernel, cpu: int) -> None:
    """Start a CPU (do_boot_cpu())."""
    pr_info(k, f"smpboot: Booting Node 0 Processor {cpu} APIC 0x{cpu:x}")


@kernel_function(fails=ENOSPC)
def __cpu_disable(k: Kernel) -> int:
    """Take the CPU that runs out of service (native_cpu_disable()).

    Raises:
        KernelError: ENOSPC, no other CPU has room for this one's interrupts.
    """
    k.online.discard(k.cpu)
    return 0


def arch_cpuhp_cleanup_dead_cpu(k: Kernel, cpu: int) -> None:
    """Tell of a CPU that was waited for until it was dead."""
    if k.system_state == SystemState.SYSTEM_RUNNING:
        pr_info(k, f"smpboot: CPU {cpu} is now offline")
