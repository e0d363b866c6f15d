# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors drivers/base/syscore.c: callbacks for suspend, resume and shutdown of the system core.

They run on one CPU, after devices and other CPUs are down: suspend and shutdown callbacks in
reverse order of registration, resume callbacks in order.
"""

from __future__ import annotations

from collections.abc import Callable

from kvm_ref.errno import EBUSY, KernelError
from kvm_ref.kernel import Kernel, Statics
from kvm_ref.linux.list import list_add_tail, list_del
from kvm_ref.linux.mutex import Mutex, mutex_lock, mutex_unlock
from kvm_ref.linux.nonboot import pm_wakeup_pending
from kvm_ref.linux.printk import pr_err
from kvm_ref.traced import ident
from kvm_ref.unwind import ladder
from kvm_ref.vocabulary import kernel_function


class syscore:
    """One set of callbacks; each may be None."""

    __slots__ = ("name", "resume", "shutdown", "suspend")

    def __init__(
        self,
        name: str,
        suspend: Callable[[Kernel], object] | None = None,
        resume: Callable[[Kernel], None] | None = None,
        shutdown: Callable[[Kernel], None] | None = None,
    ) -> None:
        self.name = name
        self.suspend = suspend
        self.resume = resume
        self.shutdown = shutdown


class Syscore(Statics):
    """The static variables of drivers/base/syscore.c."""

    __slots__ = ("syscore_list", "syscore_lock")

    def __init__(self) -> None:
        self.syscore_list: list[syscore] = []
        self.syscore_lock = Mutex("syscore_lock")


@kernel_function(acquires="syscore", obj="syscore", effect="SYSTEM_RESTART", former="register_syscore_ops")
def register_syscore(k: Kernel, syscore: syscore) -> None:
    """Add callbacks at the end of the list (drivers/base/syscore.c)."""
    g = k[Syscore]
    mutex_lock(k, g.syscore_lock)
    list_add_tail(k, syscore, g.syscore_list)
    mutex_unlock(k, g.syscore_lock)


@kernel_function(releases="syscore", former="unregister_syscore_ops")
def unregister_syscore(k: Kernel, syscore: syscore) -> None:
    """Take callbacks off the list (drivers/base/syscore.c)."""
    g = k[Syscore]
    mutex_lock(k, g.syscore_lock)
    list_del(k, syscore, g.syscore_list)
    mutex_unlock(k, g.syscore_lock)


@kernel_function(fails=EBUSY)
def syscore_suspend(k: Kernel) -> None:
    """Run the suspend callbacks, last registered first; on a failure resume those that ran.

    Source: drivers/base/syscore.c.
    """
    # Something may be about to wake the system already; then nothing was called that needs undoing.
    if pm_wakeup_pending(k):
        raise KernelError(EBUSY)

    done: list[syscore] = []
    with ladder(k) as goto:
        for ops in reversed(k[Syscore].syscore_list):
            if ops.suspend:
                with goto("err_out"):
                    ops.suspend(k)
            done.append(ops)
        return

    if goto.reached("err_out"):
        pr_err(k, f"PM: System core suspend callback {ident(ops.suspend)} failed.")
        for ops in reversed(done):
            if ops.resume:
                ops.resume(k)
    raise goto.error


@kernel_function()
def syscore_resume(k: Kernel) -> None:
    """Run the resume callbacks, first registered first (drivers/base/syscore.c)."""
    for ops in k[Syscore].syscore_list:
        if ops.resume:
            ops.resume(k)


@kernel_function()
def syscore_shutdown(k: Kernel) -> None:
    """Run the shutdown callbacks, last registered first (drivers/base/syscore.c)."""
    g = k[Syscore]
    mutex_lock(k, g.syscore_lock)
    for ops in reversed(g.syscore_list):
        if ops.shutdown:
            ops.shutdown(k)
    mutex_unlock(k, g.syscore_lock)
