# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors include/linux/file.h and anon_inodes.h: open files, and the table of their descriptors.

There is one process that opens files here: the one that creates VMs. It was started with four
descriptors in use.
"""

from __future__ import annotations

from collections.abc import Callable

from kvm_ref.errno import EBADF, EMFILE, ENFILE, ENOENT, ERR_PTR, ErrPtr, KernelError
from kvm_ref.kernel import Kernel, Resource, Statics
from kvm_ref.linux.module import module_put, try_module_get
from kvm_ref.vocabulary import kernel_function

RLIMIT_NOFILE = 1024
FIRST = 4


class file_operations:
    """What a driver does with its files: its module, and what is done at the last close."""

    __slots__ = ("owner", "release")

    def __init__(self, owner: str | None, release: Callable[[Kernel, file], object] | None) -> None:
        self.owner = owner
        self.release = release


class file(Resource):
    """An open file."""

    __slots__ = ("f_op", "private_data")

    def __init__(self, id: str, f_op: file_operations, private_data: object) -> None:
        super().__init__(id)
        self.f_op = f_op
        self.private_data = private_data


class Files(Statics):
    """The table of descriptors: the file of each, or None where one is only reserved."""

    __slots__ = ("fdt",)

    def __init__(self) -> None:
        self.fdt: dict[int, file | None] = {}

    def free(self) -> int | None:
        """Return the lowest free descriptor, or None if as many are open as may be."""
        return next((fd for fd in range(FIRST, RLIMIT_NOFILE) if fd not in self.fdt), None)


@kernel_function(fails=EMFILE, acquires="fd", obj="r")
def get_unused_fd_flags(k: Kernel) -> int:
    """Reserve the lowest free descriptor, and return it (fs/file.c).

    Raises:
        KernelError: EMFILE, as many are open as may be.
    """
    g = k[Files]
    fd = g.free()
    if fd is None:
        raise KernelError(EMFILE)
    g.fdt[fd] = None
    return fd


@kernel_function(releases="fd", obj="fd")
def put_unused_fd(k: Kernel, fd: int) -> None:
    """Give a reserved descriptor back (fs/file.c)."""
    del k[Files].fdt[fd]


@kernel_function(args=("fd",))
def fd_install(k: Kernel, fd: int, file: file) -> None:
    """Let a reserved descriptor refer to a file, which user space sees from now on (fs/file.c)."""
    k[Files].fdt[fd] = file


@kernel_function(fails=ERR_PTR(ENFILE), acquires="file", args=("name",))
def anon_inode_getfile(k: Kernel, name: str, fops: file_operations, private_data: object) -> file | ErrPtr:
    """Make a file without a name on disk; it holds a reference to its module (fs/anon_inodes.c).

    Returns:
        The file, or an error pointer: -ENOENT if the module goes away, -ENFILE or -ENOMEM.
    """
    if fops.owner and not try_module_get(k, fops.owner):
        return ERR_PTR(ENOENT)
    return file(k.new(name), fops, private_data)


@kernel_function(releases="file")
def fput(k: Kernel, opened: file) -> None:
    """Give up the last reference to a file: it is released, and then its module (fs/file_table.c)."""
    if opened.f_op.release:
        opened.f_op.release(k, opened)
    module_put(k, opened.f_op.owner)


@kernel_function(fails=EBADF, releases="fd", idempotent=True)
def close_fd(k: Kernel, fd: int) -> None:
    """Close a descriptor, which is what close(2) does (fs/file.c).

    Raises:
        KernelError: EBADF, it is not open.
    """
    fdt = k[Files].fdt
    opened = fdt.get(fd)
    if opened is None:
        raise KernelError(EBADF)
    del fdt[fd]
    fput(k, opened)
