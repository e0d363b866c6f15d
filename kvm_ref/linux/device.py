# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors drivers/base/cpu.c and core.c: the device of a CPU, whose file ``online`` takes it down and brings it up.

A device notes by itself whether it is offline. What takes CPUs down past it, as a suspend does, it does
not see: a CPU that does not come back then counts as online, and cannot be brought up before it was
taken down once more.
"""

from __future__ import annotations

from kvm_ref.errno import EBUSY, EPERM, KernelError
from kvm_ref.kernel import Kernel, Statics
from kvm_ref.linux.hotplug import cpu_device_down, cpu_device_up
from kvm_ref.linux.kobject import KOBJ_OFFLINE, KOBJ_ONLINE, kobject_uevent
from kvm_ref.linux.mutex import Mutex, guard, mutex_lock, mutex_unlock
from kvm_ref.unwind import unchecked
from kvm_ref.vocabulary import kernel_function


class Devices(Statics):
    """The static variables of both files, and what the devices of the CPUs hold.

    Attributes:
        offline: the CPUs whose devices have ``offline`` set.
        offline_disabled: those that cannot be taken down.
    """

    __slots__ = ("device_hotplug_lock", "offline", "offline_disabled")

    def __init__(self) -> None:
        self.device_hotplug_lock = Mutex("device_hotplug_lock")
        self.offline: set[int] = set()
        self.offline_disabled: set[int] = set()

    def at_boot(self, k: Kernel) -> None:
        """Have the devices registered (register_cpu())."""
        self.offline.update(set(k.present) - k.online)
        self.offline_disabled.update(cpu for cpu in k.present if not k.arch.arch_cpu_is_hotpluggable(k, cpu))


def get_cpu_device(k: Kernel, cpu: int) -> int | None:
    """Return the device of a CPU, which is known by the CPU's number, or None if it is not plugged in."""
    return cpu if cpu in k.present else None


@kernel_function(fails=EBUSY, args=("dev",))
def cpu_subsys_online(k: Kernel, dev: int) -> None:
    """Bring a CPU up, in at most six attempts as long as that is refused with -EBUSY (drivers/base/cpu.c).

    The nodes of memory that it looks at are not modelled: each CPU is on one that has some.

    Raises:
        KernelError: what the last attempt gave.
    """
    retries = 0
    while True:
        try:
            cpu_device_up(k, dev)
        except KernelError as error:
            if error.errno != EBUSY:
                raise
            retries += 1
            if retries > 5:
                raise
            # It sleeps for a while, longer each time.
        else:
            return


@kernel_function(fails=EBUSY, args=("dev",))
def cpu_subsys_offline(k: Kernel, dev: int) -> None:
    """Take a CPU down (drivers/base/cpu.c)."""
    cpu_device_down(k, dev)


def lock_device_hotplug_sysfs(k: Kernel) -> None:
    """Let nobody else add, remove or switch a device; who has to wait asks anew (drivers/base/core.c)."""
    mutex_lock(k, k[Devices].device_hotplug_lock)


def unlock_device_hotplug(k: Kernel) -> None:
    """Let others do so again (drivers/base/core.c)."""
    mutex_unlock(k, k[Devices].device_hotplug_lock)


@kernel_function(fails=EPERM, args=("dev",))
def device_offline(k: Kernel, dev: int) -> int:
    """Take a device offline; a CPU has no devices below it that could object (drivers/base/core.c).

    Returns:
        0, or 1 if it was offline already.

    Raises:
        KernelError: EPERM, this one stays; or what its bus gives.
    """
    g = k[Devices]
    if dev in g.offline_disabled:
        raise KernelError(EPERM)

    with guard(k, _mutex()):
        if dev in g.offline:
            return 1
        cpu_subsys_offline(k, dev)
        with unchecked:
            kobject_uevent(k, f"cpu{dev}", KOBJ_OFFLINE)
        g.offline.add(dev)
    return 0


@kernel_function(fails=EBUSY, args=("dev",))
def device_online(k: Kernel, dev: int) -> int:
    """Bring a device online again (drivers/base/core.c).

    Returns:
        0, or 1 if it was online already.

    Raises:
        KernelError: what its bus gives.
    """
    g = k[Devices]
    with guard(k, _mutex()):
        if dev not in g.offline:
            return 1
        cpu_subsys_online(k, dev)
        with unchecked:
            kobject_uevent(k, f"cpu{dev}", KOBJ_ONLINE)
        g.offline.remove(dev)
    return 0


def _mutex() -> Mutex:
    # What device_lock() takes. Each device has one; nobody holds it from one verb to the next, so none is kept.
    return Mutex("dev->mutex")


def online_store(k: Kernel, dev: int, val: bool) -> None:
    """Do what a write to a device's file ``online`` asks for (drivers/base/core.c).

    Raises:
        KernelError: what device_online() or device_offline() gives.
    """
    lock_device_hotplug_sysfs(k)
    try:
        if val:
            device_online(k, dev)
        else:
            device_offline(k, dev)
    finally:
        unlock_device_hotplug(k)
