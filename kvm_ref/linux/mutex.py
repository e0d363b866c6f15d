# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors include/linux/mutex.h: locks that sleep, and guard() that unlocks on every way out.

One task runs at a time here, so a lock is never waited for; taking one that is held would be a
deadlock in the kernel, and is an error here. Each lock and unlock is an event of the trace.
"""

from __future__ import annotations

from types import TracebackType

from kvm_ref.kernel import Kernel, KernelBug
from kvm_ref.linux.printk import WARN_ON


class Mutex:
    """A mutex, or a semaphore that is used as one; `owner` is the task that holds it."""

    __slots__ = ("name", "owner")

    def __init__(self, name: str) -> None:
        self.name = name
        self.owner = ""


def mutex_lock(k: Kernel, lock: Mutex) -> None:
    """Take `lock`.

    Raises:
        KernelBug: it is held already: the kernel would hang.
    """
    if lock.owner:
        k.record()  # nothing follows
        raise KernelBug(f"{k.at.task} waits for ever on {lock.name}, held by {lock.owner}")
    lock.owner = k.at.task
    k.events.append(("lock", k.at, lock.name, None, None))


def mutex_unlock(k: Kernel, lock: Mutex) -> None:
    """Release `lock`."""
    lock.owner = ""
    k.events.append(("unlock", k.at, lock.name, None, None))


class guard:
    """Hold a mutex for the length of a ``with`` block (include/linux/cleanup.h: guard)."""

    __slots__ = ("_k", "_lock")

    def __init__(self, k: Kernel, lock: Mutex) -> None:
        self._k = k
        self._lock = lock

    def __enter__(self) -> None:
        mutex_lock(self._k, self._lock)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        mutex_unlock(self._k, self._lock)


def lockdep_assert_held(k: Kernel, lock: Mutex) -> None:
    """Warn if nobody holds `lock` (include/linux/lockdep.h)."""
    WARN_ON(k, not lock.owner, f"{lock.name} is not held")


def lockdep_assert_not_held(k: Kernel, lock: Mutex) -> None:
    """Warn if the present task holds `lock` (include/linux/lockdep.h)."""
    WARN_ON(k, lock.owner == k.at.task, f"{lock.name} is held")
