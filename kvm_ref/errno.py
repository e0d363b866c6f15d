# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors include/uapi/asm-generic/errno.h and include/linux/err.h: what a kernel call fails with.

Three shapes of failure occur in the C that is modelled, and each keeps its shape here, because
callers test for it in their own way:

- an ``int`` below zero: the Python function raises `KernelError`;
- a pointer that is NULL: the Python function returns None;
- a pointer that encodes an error: the Python function returns an `ErrPtr`.

The numbers are Linux's own (asm-generic), whatever system Python runs on.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final, TypeGuard


class Errno(IntEnum):
    """Error numbers of the kernel, as positive integers."""

    EPERM = 1
    ENOENT = 2
    ESRCH = 3
    EINTR = 4
    EIO = 5
    ENXIO = 6
    E2BIG = 7
    ENOEXEC = 8
    EBADF = 9
    ECHILD = 10
    EAGAIN = 11
    ENOMEM = 12
    EACCES = 13
    EFAULT = 14
    ENOTBLK = 15
    EBUSY = 16
    EEXIST = 17
    EXDEV = 18
    ENODEV = 19
    ENOTDIR = 20
    EISDIR = 21
    EINVAL = 22
    ENFILE = 23
    EMFILE = 24
    ENOTTY = 25
    ETXTBSY = 26
    EFBIG = 27
    ENOSPC = 28
    ESPIPE = 29
    EROFS = 30
    EMLINK = 31
    EPIPE = 32
    EDOM = 33
    ERANGE = 34
    ENAMETOOLONG = 36
    ENOSYS = 38
    ENODATA = 61
    EPROTO = 71
    EOVERFLOW = 75
    EOPNOTSUPP = 95
    ETIMEDOUT = 110
    EALREADY = 114
    EPROBE_DEFER = 517
    ENOTSUPP = 524


EPERM: Final = Errno.EPERM
ENOENT: Final = Errno.ENOENT
EINTR: Final = Errno.EINTR
EIO: Final = Errno.EIO
ENXIO: Final = Errno.ENXIO
EAGAIN: Final = Errno.EAGAIN
EWOULDBLOCK: Final = Errno.EAGAIN
ENOMEM: Final = Errno.ENOMEM
EBADF: Final = Errno.EBADF
EACCES: Final = Errno.EACCES
EFAULT: Final = Errno.EFAULT
EBUSY: Final = Errno.EBUSY
EEXIST: Final = Errno.EEXIST
ENODEV: Final = Errno.ENODEV
EINVAL: Final = Errno.EINVAL
ENFILE: Final = Errno.ENFILE
EMFILE: Final = Errno.EMFILE
ENOSPC: Final = Errno.ENOSPC
ERANGE: Final = Errno.ERANGE
ENAMETOOLONG: Final = Errno.ENAMETOOLONG
ENOSYS: Final = Errno.ENOSYS
EPROBE_DEFER: Final = Errno.EPROBE_DEFER
EOPNOTSUPP: Final = Errno.EOPNOTSUPP
ENOTSUPP: Final = Errno.ENOTSUPP


class KernelError(OSError):
    """A kernel function returned a negative error number."""

    def __init__(self, error: Errno) -> None:
        super().__init__(int(error), error.name)


class ErrPtr:
    """A pointer that encodes an error, as ``ERR_PTR(-ENOMEM)`` does in C."""

    __slots__ = ("error",)

    def __init__(self, error: Errno) -> None:
        self.error = error

    def __repr__(self) -> str:
        return f"ERR_PTR(-{int(self.error)})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ErrPtr) and other.error == self.error

    def __hash__(self) -> int:
        return hash(self.error)


def ERR_PTR(error: Errno) -> ErrPtr:
    """Encode `error` in a pointer (include/linux/err.h: ERR_PTR)."""
    return ErrPtr(error)


def IS_ERR(pointer: object) -> TypeGuard[ErrPtr]:
    """Say whether `pointer` encodes an error (include/linux/err.h: IS_ERR)."""
    return isinstance(pointer, ErrPtr)


def IS_ERR_OR_NULL(pointer: object) -> bool:
    """Say whether `pointer` is NULL or encodes an error (include/linux/err.h: IS_ERR_OR_NULL)."""
    return pointer is None or isinstance(pointer, ErrPtr)


def PTR_ERR(pointer: ErrPtr) -> Errno:
    """Return the error that `pointer` encodes (include/linux/err.h: PTR_ERR)."""
    return pointer.error
