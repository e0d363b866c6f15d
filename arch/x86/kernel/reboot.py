# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors arch/x86/kernel/reboot.c: the callback that turns virtualization off in an emergency.

There is room for one: a CPU that takes VMX or SVM into a reboot or a crash kernel may not see the
INIT that starts it again.
"""

from __future__ import annotations

from collections.abc import Callable

from kvm_ref.kernel import Kernel, Statics
from kvm_ref.linux.printk import WARN_ON_ONCE
from kvm_ref.vocabulary import kernel_function

cpu_emergency_virt_cb = Callable[[Kernel], None]


class Reboot(Statics):
    """The static variables of arch/x86/kernel/reboot.c."""

    __slots__ = ("cpu_emergency_virt_callback",)

    def __init__(self) -> None:
        self.cpu_emergency_virt_callback: cpu_emergency_virt_cb | None = None


@kernel_function(acquires="emergency_callback", obj="callback")
def cpu_emergency_register_virt_callback(k: Kernel, callback: cpu_emergency_virt_cb) -> None:
    """Set the callback; it is a bug if there is one."""
    g = k[Reboot]
    if WARN_ON_ONCE(k, g.cpu_emergency_virt_callback, "rcu_access_pointer(cpu_emergency_virt_callback)"):
        return
    g.cpu_emergency_virt_callback = callback


@kernel_function(releases="emergency_callback")
def cpu_emergency_unregister_virt_callback(k: Kernel, callback: cpu_emergency_virt_cb) -> None:
    """Clear the callback; it is a bug if it is another one."""
    g = k[Reboot]
    if WARN_ON_ONCE(
        k,
        g.cpu_emergency_virt_callback is not callback,
        "rcu_access_pointer(cpu_emergency_virt_callback) != callback",
    ):
        return
    g.cpu_emergency_virt_callback = None


@kernel_function()
def cpu_emergency_disable_virtualization(k: Kernel) -> None:
    """Turn virtualization off on this CPU in a crash or a forced reboot, if anybody turned it on."""
    callback = k[Reboot].cpu_emergency_virt_callback
    if callback:
        callback(k)
