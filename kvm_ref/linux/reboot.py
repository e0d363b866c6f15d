# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors kernel/reboot.c: how the machine ends, and with kexec how another kernel takes over.

First the system state says what is to come, so that whoever starts something can see it. Then one
CPU is left to do the rest, and the core of the system shuts down: that is where KVM turns
virtualization off on every CPU, which are all still up.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NoReturn

from kvm_ref.errno import EBUSY, EINVAL, KernelError
from kvm_ref.kernel import Kernel, Statics, SystemState
from kvm_ref.linux.cpumask import cpu_online
from kvm_ref.linux.hotplug import cpu_hotplug_disable, cpu_hotplug_enable
from kvm_ref.linux.mutex import Mutex, mutex_lock, mutex_unlock
from kvm_ref.linux.printk import pr_err
from kvm_ref.linux.syscore_ops import syscore_shutdown
from kvm_ref.unwind import ladder
from kvm_ref.vocabulary import kernel_function


class MachineStopped(Exception):
    """The machine is gone: nothing of this kernel runs any more."""


class Reboot(Statics):
    """The static variables of kernel/reboot.c and kernel/kexec_core.c.

    Attributes:
        poweroff_fallback_to_halt: the machine was to be powered off, but does not know how.
        kexec_image: whether another kernel was loaded.
        kexec_lock: whether somebody loads or starts one.
    """

    __slots__ = (
        "kexec_image", "kexec_in_progress", "kexec_lock", "poweroff_fallback_to_halt", "reboot_cpu",
        "system_transition_mutex",
    )  # fmt: skip

    def __init__(self) -> None:
        self.reboot_cpu = 0
        self.poweroff_fallback_to_halt = False
        self.system_transition_mutex = Mutex("system_transition_mutex")
        self.kexec_image = True
        self.kexec_in_progress = False
        self.kexec_lock = False


def run_there(k: Kernel, cpu: int, function: Callable[[Kernel], object]) -> None:
    """Let the present task go on with `function` on `cpu`, where the kernel has moved it."""
    if k.at.cpu == cpu:
        function(k)
    else:
        k.run_on(k.at.task, cpu, function)


def _stop(k: Kernel, cpu: int, machine: Callable[[Kernel], None] | None, why: str) -> NoReturn:
    # machine_restart() and its like, as the architecture has it; then the firmware does the rest.
    if machine:
        run_there(k, cpu, machine)
    raise MachineStopped(why)


def kernel_restart_prepare(k: Kernel) -> None:
    """Say that a restart is coming, before devices shut down."""
    k.system_state = SystemState.SYSTEM_RESTART


def kernel_shutdown_prepare(k: Kernel, state: SystemState) -> None:
    """Say that the machine is going to halt or to be powered off, before devices shut down."""
    k.system_state = state


def migrate_to_reboot_cpu(k: Kernel) -> int:
    """Choose the CPU on which the present task does the rest, and let none come or go meanwhile."""
    cpu = k[Reboot].reboot_cpu

    cpu_hotplug_disable(k)

    return cpu if cpu_online(k, cpu) else min(k.online)


@kernel_function()
def kernel_restart(k: Kernel) -> None:
    """Reboot.

    Raises:
        MachineStopped: always.
    """
    kernel_restart_prepare(k)
    cpu = migrate_to_reboot_cpu(k)
    run_there(k, cpu, syscore_shutdown)
    pr_err(k, "reboot: Restarting system")
    _stop(k, cpu, k.arch.machine_restart, "machine_restart")


@kernel_function()
def kernel_halt(k: Kernel) -> None:
    """Halt.

    Raises:
        MachineStopped: always.
    """
    kernel_shutdown_prepare(k, SystemState.SYSTEM_HALT)
    cpu = migrate_to_reboot_cpu(k)
    run_there(k, cpu, syscore_shutdown)
    if k[Reboot].poweroff_fallback_to_halt:
        pr_err(k, "reboot: Power off not available: System halted instead")
    else:
        pr_err(k, "reboot: System halted")
    _stop(k, cpu, k.arch.machine_halt, "machine_halt")


@kernel_function()
def kernel_power_off(k: Kernel) -> None:
    """Power off.

    Raises:
        MachineStopped: always.
    """
    kernel_shutdown_prepare(k, SystemState.SYSTEM_POWER_OFF)
    cpu = migrate_to_reboot_cpu(k)
    run_there(k, cpu, syscore_shutdown)
    pr_err(k, "reboot: Power down")
    _stop(k, cpu, k.arch.machine_power_off, "machine_power_off")


@kernel_function(fails=(EBUSY, EINVAL))
def kernel_kexec(k: Kernel) -> None:
    """Start the kernel that was loaded for it (kernel/kexec_core.c).

    Raises:
        KernelError: somebody else is loading or starting one (EBUSY), none was loaded (EINVAL).
        MachineStopped: it runs; this one is gone.
    """
    g = k[Reboot]
    if g.kexec_lock:
        raise KernelError(EBUSY)
    g.kexec_lock = True

    with ladder(k) as goto:
        with goto("Unlock"):
            if not g.kexec_image:
                raise KernelError(EINVAL)

        g.kexec_in_progress = True
        kernel_restart_prepare(k)
        cpu = migrate_to_reboot_cpu(k)
        run_there(k, cpu, syscore_shutdown)

        # There are architectures whose machine_shutdown() takes the other CPUs down by hotplug.
        cpu_hotplug_enable(k)
        pr_err(k, "kexec_core: Starting new kernel")
        _stop(k, cpu, k.arch.machine_shutdown, "machine_kexec")

    if goto.reached("Unlock"):
        g.kexec_lock = False
    raise goto.error


def sys_reboot(k: Kernel, cmd: Callable[[Kernel], None]) -> None:
    """Carry out reboot(2): one such change of the system's state at a time.

    Raises:
        MachineStopped: the machine is gone, as a rule.
        KernelError: what kernel_kexec() gives.
    """
    g = k[Reboot]
    mutex_lock(k, g.system_transition_mutex)
    try:
        cmd(k)
    except KernelError:
        mutex_unlock(k, g.system_transition_mutex)
        raise
