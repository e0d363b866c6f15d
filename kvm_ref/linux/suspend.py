# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors kernel/power/suspend.c: suspend to memory and back, as far as KVM can see it.

On the way down tasks are frozen, devices suspended, all CPUs but one taken down, and on that one
the core of the system is suspended; on the way up the same in reverse. KVM turns virtualization off
with each CPU, and on the last one from its syscore callback. The phases of device suspend that
come between are one here: KVM sees nothing of them. The machine wakes as soon as it sleeps.
"""

from __future__ import annotations

from kvm_ref.errno import EBUSY, KernelError
from kvm_ref.kernel import Kernel, SystemState
from kvm_ref.linux.mutex import mutex_lock, mutex_unlock
from kvm_ref.linux.nonboot import freeze_secondary_cpus, pm_wakeup_pending, thaw_secondary_cpus
from kvm_ref.linux.notifier import PmEvent, pm_notifier_call_chain, pm_notifier_call_chain_robust
from kvm_ref.linux.printk import pr_err, pr_info
from kvm_ref.linux.reboot import Reboot, run_there
from kvm_ref.linux.syscore_ops import syscore_resume, syscore_suspend
from kvm_ref.unwind import ladder
from kvm_ref.vocabulary import kernel_function


@kernel_function(fails=EBUSY)
def suspend_freeze_processes(k: Kernel) -> None:
    """Freeze every task but the one that suspends; -EBUSY if one does not stop (kernel/power/power.h)."""
    pr_info(k, "Freezing user space processes")
    pr_info(k, "OOM killer disabled.")
    pr_info(k, "Freezing remaining freezable tasks")


@kernel_function()
def suspend_thaw_processes(k: Kernel) -> None:
    """Let the tasks run again (kernel/power/power.h)."""
    pr_info(k, "OOM killer enabled.")
    pr_info(k, "Restarting tasks ... done.")


@kernel_function(fails=EBUSY)
def dpm_suspend_start(k: Kernel) -> None:
    """Suspend the devices; -EBUSY if one cannot be (drivers/base/power/main.c)."""


@kernel_function()
def dpm_resume_end(k: Kernel) -> None:
    """Resume those devices that were suspended (drivers/base/power/main.c)."""


def _sleep(k: Kernel) -> None:
    # The middle of suspend_enter(): what one CPU does with the core of the system.
    k.system_state = SystemState.SYSTEM_SUSPEND
    try:
        syscore_suspend(k)
        try:
            if pm_wakeup_pending(k):
                raise KernelError(EBUSY)
        finally:
            syscore_resume(k)
    finally:
        k.system_state = SystemState.SYSTEM_RUNNING


@kernel_function()
def s2idle_loop(k: Kernel) -> None:
    """Idle on all CPUs until something wakes the system."""


@kernel_function(fails=EBUSY)
def suspend_enter(k: Kernel) -> None:
    """Sleep with one CPU, and bring the others up again, however that went; or with all, where that is all there is.

    Raises:
        KernelError: a CPU did not go down, a syscore callback failed, or something is to wake the
            system (EBUSY).
    """
    if not k.arch.suspend_to_ram(k):
        s2idle_loop(k)
        return

    failed: KernelError | None = None
    with ladder(k) as goto:
        with goto("Enable_cpus"):
            freeze_secondary_cpus(k, 0)

        try:
            run_there(k, min(k.online), _sleep)
        except KernelError as error:
            # Not a jump: the label stands below.
            failed = error.with_traceback(None)
    goto.reached("Enable_cpus")
    thaw_secondary_cpus(k)
    if goto.failed:
        raise goto.error
    if failed:
        raise failed


@kernel_function(fails=EBUSY)
def suspend_devices_and_enter(k: Kernel) -> None:
    """Suspend the devices, sleep, and resume them, however that went."""
    failed: KernelError | None = None
    with ladder(k) as goto:
        pr_info(k, "printk: Suspending console(s) (use no_console_suspend to debug)")
        with goto("Recover_platform"):
            try:
                dpm_suspend_start(k)
            except KernelError:
                pr_err(k, "PM: Some devices failed to suspend, or early wake event detected")
                raise

        try:
            suspend_enter(k)
        except KernelError as error:
            # Not a jump, as above.
            failed = error.with_traceback(None)
    # Where C jumps from Recover_platform up to Resume_devices, there is nothing else to do.
    goto.reached("Recover_platform")
    dpm_resume_end(k)
    if goto.failed:
        raise goto.error
    if failed:
        raise failed


@kernel_function(fails=EBUSY)
def suspend_prepare(k: Kernel) -> None:
    """Tell who wants to know that the system goes to sleep, and freeze the tasks."""
    with ladder(k) as goto:
        with goto("Restore"):
            pm_notifier_call_chain_robust(k, PmEvent.PM_SUSPEND_PREPARE, PmEvent.PM_POST_SUSPEND)

        try:
            suspend_freeze_processes(k)
        except KernelError:
            pm_notifier_call_chain(k, PmEvent.PM_POST_SUSPEND)
            raise
        return

    goto.reached("Restore")
    raise goto.error


@kernel_function()
def suspend_finish(k: Kernel) -> None:
    """Thaw the tasks, and tell that the system is awake."""
    suspend_thaw_processes(k)
    pm_notifier_call_chain(k, PmEvent.PM_POST_SUSPEND)


@kernel_function(fails=EBUSY)
def enter_state(k: Kernel) -> None:
    """Freeze the tasks, sleep, and thaw them; EBUSY if the system is on its way to another state."""
    g = k[Reboot]
    if g.system_transition_mutex.owner:
        raise KernelError(EBUSY)

    failed: KernelError | None = None
    with ladder(k) as goto:
        mutex_lock(k, g.system_transition_mutex)

        with goto("Unlock"):
            suspend_prepare(k)

        try:
            suspend_devices_and_enter(k)
        except KernelError as error:
            # Not a jump, as above.
            failed = error.with_traceback(None)
        suspend_finish(k)
    goto.reached("Unlock")
    mutex_unlock(k, g.system_transition_mutex)
    if goto.failed:
        raise goto.error
    if failed:
        raise failed


@kernel_function(fails=EBUSY)
def pm_suspend(k: Kernel) -> None:
    """Suspend to memory, and return when the machine has woken up.

    Raises:
        KernelError: what stopped it on the way; the machine runs as before then.
    """
    pr_info(k, f"PM: suspend entry ({'deep' if k.arch.suspend_to_ram(k) else 's2idle'})")
    try:
        enter_state(k)
    except KernelError:
        pr_info(k, "PM: suspend exit")
        raise
    pr_info(k, "PM: suspend exit")
