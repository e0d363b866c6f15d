# SPDX-License-Identifier: GPL-2.0-only
"""Which calls of C text take and give back locks, and what the lock is called."""

from __future__ import annotations

from kvm_ref.tree.operations import Call
from kvm_ref.tree.values import Memory

# Functions that lock, and the argument that says what, or the lock itself.
_LOCKING: dict[str, tuple[str, int | str]] = {
    "mutex_lock": ("lock", 0),
    "mutex_lock_killable": ("lock", 0),
    "mutex_lock_interruptible": ("lock", 0),
    "mutex_trylock": ("lock", 0),
    "mutex_unlock": ("unlock", 0),
    "down_read": ("lock", 0),
    "up_read": ("unlock", 0),
    "down_write": ("lock", 0),
    "down_write_killable": ("lock", 0),
    "up_write": ("unlock", 0),
    "spin_lock": ("lock", 0),
    "spin_lock_irq": ("lock", 0),
    "spin_lock_irqsave": ("lock", 0),
    "spin_lock_bh": ("lock", 0),
    "raw_spin_lock": ("lock", 0),
    "raw_spin_lock_irqsave": ("lock", 0),
    "spin_unlock": ("unlock", 0),
    "spin_unlock_irq": ("unlock", 0),
    "spin_unlock_irqrestore": ("unlock", 0),
    "spin_unlock_bh": ("unlock", 0),
    "raw_spin_unlock": ("unlock", 0),
    "raw_spin_unlock_irqrestore": ("unlock", 0),
    "write_lock": ("lock", 0),
    "write_unlock": ("unlock", 0),
    "read_lock": ("lock", 0),
    "read_unlock": ("unlock", 0),
    "mutex_lock_nested": ("lock", 0),
    "mutex_lock_io": ("lock", 0),
    "down_read_killable": ("lock", 0),
    "down_read_interruptible": ("lock", 0),
    "down_read_trylock": ("lock", 0),
    "down_write_trylock": ("lock", 0),
    "down_read_nested": ("lock", 0),
    "down_write_nested": ("lock", 0),
    "mmap_write_lock_killable": ("lock", "mmap_lock"),
    "mmap_write_trylock": ("lock", "mmap_lock"),
    "mmap_read_lock_killable": ("lock", "mmap_lock"),
    "mmap_read_trylock": ("lock", "mmap_lock"),
    "mmap_write_lock": ("lock", "mmap_lock"),
    "mmap_write_unlock": ("unlock", "mmap_lock"),
    "mmap_read_lock": ("lock", "mmap_lock"),
    "mmap_read_unlock": ("unlock", "mmap_lock"),
    "cpus_read_lock": ("lock", "cpu_hotplug_lock"),
    "cpus_read_unlock": ("unlock", "cpu_hotplug_lock"),
    "cpus_write_lock": ("lock", "cpu_hotplug_lock"),
    "cpus_write_unlock": ("unlock", "cpu_hotplug_lock"),
    "cpu_maps_update_begin": ("lock", "cpu_add_remove_lock"),
    "cpu_maps_update_done": ("unlock", "cpu_add_remove_lock"),
    "device_lock": ("lock", "mutex"),
    "device_unlock": ("unlock", "mutex"),
    "lock_device_hotplug": ("lock", "device_hotplug_lock"),
    "unlock_device_hotplug": ("unlock", "device_hotplug_lock"),
    "lock_system_sleep": ("lock", "system_transition_mutex"),
    "unlock_system_sleep": ("unlock", "system_transition_mutex"),
}


def lock_of(call: Call, memory: Memory, prefix: str) -> tuple[str, str] | None:
    """Return what a call does with which lock, ("lock", "kvm_lock") for instance, or None."""
    known = _LOCKING.get(call.name)
    if known is None:
        return None
    kind, which = known
    if isinstance(which, str):
        return kind, which
    text = call.texts[which] if which < len(call.texts) else ""
    return kind, name_of(text.strip("&() "))


def name_of(text: str) -> str:
    """Return a lock's name without the variable that points to the structure that it is in."""
    return text.rpartition("->")[2]


def spins(name: str) -> bool:
    """Say whether a function takes or gives back a lock that the model leaves out: it does not sleep."""
    return "spin_" in name or name in ("read_lock", "read_unlock", "write_lock", "write_unlock")


def is_lock(name: str) -> bool:
    """Say whether a function takes a lock or gives one back."""
    return name in _LOCKING
