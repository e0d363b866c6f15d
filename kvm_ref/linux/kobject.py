# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors include/linux/kobject.h: telling user space, udev above all, that something happened to a device."""

from __future__ import annotations

from kvm_ref.errno import ENOMEM
from kvm_ref.kernel import Kernel
from kvm_ref.linux.slab import kmemory
from kvm_ref.vocabulary import kernel_function

KOBJ_CHANGE = "KOBJ_CHANGE"
KOBJ_ONLINE = "KOBJ_ONLINE"
KOBJ_OFFLINE = "KOBJ_OFFLINE"


@kernel_function(args=("var",))
def add_uevent_var(k: Kernel, env: kmemory, var: str) -> int:
    """Add a variable to what user space will be told (lib/kobject_uevent.c).

    Returns:
        0: the few that there are here have room.
    """
    return 0


@kernel_function(fails=ENOMEM, args=("kobj", "action"))
def kobject_uevent_env(k: Kernel, kobj: object, action: str) -> None:
    """Tell user space of something that happened to a device (lib/kobject_uevent.c)."""


@kernel_function(fails=ENOMEM, args=("kobj", "action"))
def kobject_uevent(k: Kernel, kobj: object, action: str) -> None:
    """Tell user space of something that happened to a device, without more words (lib/kobject_uevent.c)."""
    kobject_uevent_env(k, kobj, action)
