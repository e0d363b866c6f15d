# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors drivers/char/misc.c: character devices with major 10.

A minor number can be held by one device at a time.
"""

from __future__ import annotations

from kvm_ref.errno import EBUSY, ENODEV, ENOMEM, ENOSPC, ERR_PTR, IS_ERR, ErrPtr, KernelError
from kvm_ref.kernel import Kernel, Resource, Statics
from kvm_ref.linux.file import file, file_operations
from kvm_ref.linux.list import list_add, list_del_init
from kvm_ref.linux.module import try_module_get
from kvm_ref.linux.mutex import Mutex, guard, mutex_lock, mutex_unlock
from kvm_ref.linux.printk import WARN_ON
from kvm_ref.unwind import ladder
from kvm_ref.vocabulary import kernel_function

KVM_MINOR = 232
# Asks for any number above.
MISC_DYNAMIC_MINOR = 255
MINORMASK = (1 << 20) - 1


class device(Resource):
    """A node in /dev."""

    __slots__ = ()


class miscdevice:
    """A device with a minor number of its own, or MISC_DYNAMIC_MINOR; `name` is its node in /dev."""

    __slots__ = ("fops", "minor", "name", "this_device")

    def __init__(self, minor: int, name: str, fops: file_operations) -> None:
        self.minor = minor
        self.name = name
        self.fops = fops
        self.this_device: device | ErrPtr | None = None


class Misc(Statics):
    """The static variables of drivers/char/misc.c."""

    __slots__ = ("misc_list", "misc_minors", "misc_mtx")

    def __init__(self) -> None:
        self.misc_list: list[miscdevice] = []
        self.misc_minors: set[int] = set()
        self.misc_mtx = Mutex("misc_mtx")


@kernel_function(fails=(ENOSPC, ENOMEM), acquires="misc_minor", obj="r", args=("minor",))
def misc_minor_alloc(k: Kernel, minor: int) -> int:
    """Take a minor number, or a free one, and return it; -ENOSPC if there is none (drivers/char/misc.c)."""
    minors = k[Misc].misc_minors
    if minor == MISC_DYNAMIC_MINOR:
        first, last = MISC_DYNAMIC_MINOR + 1, MINORMASK
    else:
        first, last = minor, minor
    ret = next((n for n in range(first, last + 1) if n not in minors), -1)
    if ret < 0:
        raise KernelError(ENOSPC)
    minors.add(ret)
    return ret


@kernel_function(releases="misc_minor")
def misc_minor_free(k: Kernel, minor: int) -> None:
    """Give a minor number back (drivers/char/misc.c)."""
    k[Misc].misc_minors.discard(minor)


@kernel_function(fails=ERR_PTR(ENOMEM), acquires="device", args=("name",))
def device_create_with_groups(k: Kernel, name: str) -> device | ErrPtr:
    """Make the device and its node in /dev (drivers/base/core.c)."""
    return device(k.new(f"/dev/{name}"))


@kernel_function(releases="device")
def device_destroy(k: Kernel, node: device | ErrPtr | None) -> None:
    """Remove the device and its node (drivers/base/core.c)."""


@kernel_function(fails=EBUSY, acquires="miscdevice", obj="misc", args=("minor=misc.minor", "name=misc.name"))
def misc_register(k: Kernel, misc: miscdevice) -> None:
    """Publish a device in /dev; -EBUSY if its minor number is taken (drivers/char/misc.c)."""
    g = k[Misc]
    is_dynamic = misc.minor == MISC_DYNAMIC_MINOR
    with ladder(k) as goto:
        mutex_lock(k, g.misc_mtx)

        if is_dynamic:
            with goto("out"):
                try:
                    misc.minor = misc_minor_alloc(k, misc.minor)
                except KernelError:
                    raise KernelError(EBUSY) from None
        else:
            for c in g.misc_list:
                with goto("out"):
                    if c.minor == misc.minor:
                        raise KernelError(EBUSY)

            with goto("out"):
                try:
                    misc_minor_alloc(k, misc.minor)
                except KernelError:
                    raise KernelError(EBUSY) from None

        misc.this_device = device_create_with_groups(k, misc.name)
        with goto("out"):
            if IS_ERR(misc.this_device):
                misc_minor_free(k, misc.minor)
                if is_dynamic:
                    misc.minor = MISC_DYNAMIC_MINOR
                raise KernelError(misc.this_device.error)

        list_add(k, misc, g.misc_list)

    goto.reached("out")
    mutex_unlock(k, g.misc_mtx)
    if goto.failed:
        raise goto.error


@kernel_function(releases="miscdevice", args=("minor=misc.minor", "name=misc.name"))
def misc_deregister(k: Kernel, misc: miscdevice) -> None:
    """Withdraw a device (drivers/char/misc.c)."""
    g = k[Misc]
    if WARN_ON(k, misc not in g.misc_list, "list_empty(&misc->list)"):
        return

    mutex_lock(k, g.misc_mtx)
    list_del_init(k, misc, g.misc_list)
    device_destroy(k, misc.this_device)
    misc_minor_free(k, misc.minor)
    if misc.minor > MISC_DYNAMIC_MINOR:
        misc.minor = MISC_DYNAMIC_MINOR
    mutex_unlock(k, g.misc_mtx)


@kernel_function(fails=ENODEV, acquires="file", args=("minor",))
def misc_open(k: Kernel, minor: int) -> file:
    """Open the device that has a minor number; the file holds a reference to its module.

    Source: drivers/char/misc.c. Modules are loaded by the user here, not on demand.

    Raises:
        KernelError: ENODEV, there is no such device, or its module goes away.
    """
    g = k[Misc]
    with guard(k, g.misc_mtx):
        for c in g.misc_list:
            if c.minor == minor and try_module_get(k, c.fops.owner):
                return file(k.new(f"/dev/{c.name}"), c.fops, c)

        raise KernelError(ENODEV)
