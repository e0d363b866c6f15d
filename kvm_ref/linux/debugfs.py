# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors include/linux/debugfs.h: directories and files in debugfs.

Callers do not check for failure, by convention: every function takes an error pointer as parent
and hands it on. A directory outlives the module that made it and forgot it, and so do its files.
"""

from __future__ import annotations

from kvm_ref.errno import EEXIST, ENAMETOOLONG, ENOMEM, ERR_PTR, ErrPtr
from kvm_ref.kernel import Kernel, Resource, Statics
from kvm_ref.linux.printk import pr_err
from kvm_ref.vocabulary import kernel_function


class dentry(Resource):
    """A directory, with what is in it by name, or a file, of which `children` is None."""

    __slots__ = ("children", "name", "parent")

    def __init__(self, id: str, name: str, parent: dentry | None, children: dict[str, dentry] | None) -> None:
        super().__init__(id)
        self.name = name
        self.parent = parent
        self.children = children


class Debugfs(Statics):
    """The static variables of fs/debugfs/inode.c."""

    __slots__ = ("root",)

    def __init__(self) -> None:
        self.root = dentry("/", "/", None, {})


def start_creating(k: Kernel, name: str, parent: dentry | ErrPtr | None) -> dentry | ErrPtr:
    """Return the directory that a new entry goes into; ERR_PTR(-EEXIST) if it holds one (fs/debugfs/inode.c)."""
    if isinstance(parent, ErrPtr):
        return parent
    parent = parent or k[Debugfs].root
    taken = _entries(parent).get(name)
    if taken:
        what = "File '%s' in directory" if taken.children is None else "Directory '%s' with parent"
        pr_err(k, f"debugfs: {what % name} '{parent.name}' already present!")
        return ERR_PTR(EEXIST)
    return parent


def _entries(directory: dentry) -> dict[str, dentry]:
    assert directory.children is not None
    return directory.children


@kernel_function(fails=ERR_PTR(ENOMEM), acquires="debugfs", args=("name", "parent"))
def debugfs_create_dir(k: Kernel, name: str, parent: dentry | ErrPtr | None) -> dentry | ErrPtr:
    """Make a directory; ERR_PTR(-EEXIST), and a line in the log, if the name is taken.

    Source: fs/debugfs/inode.c.
    """
    directory = start_creating(k, name, parent)
    if isinstance(directory, ErrPtr):
        return directory
    child = _entries(directory)[name] = dentry(k.new(name), name, directory, {})
    return child


@kernel_function(releases="debugfs", symbol="debugfs_remove")
def debugfs_remove_recursive(k: Kernel, entry: dentry | ErrPtr | None) -> None:
    """Remove a directory and all in it; NULL and error pointers are legal (fs/debugfs/inode.c)."""
    if not isinstance(entry, dentry):
        return
    if entry.parent is not None and _entries(entry.parent).get(entry.name) is entry:
        del _entries(entry.parent)[entry.name]


@kernel_function(args=("name", "parent"))
def debugfs_lookup(k: Kernel, name: str, parent: dentry | ErrPtr | None) -> dentry | None:
    """Return the entry `name` of `parent`, NULL being the root, or NULL (fs/debugfs/inode.c)."""
    if isinstance(parent, ErrPtr):
        return None
    return _entries(parent or k[Debugfs].root).get(name)


@kernel_function()
def dput(k: Kernel, dentry: object) -> None:
    """Give up a reference to an entry; they are not counted here (fs/dcache.c)."""


@kernel_function(fails=ERR_PTR(ENAMETOOLONG))
def dentry_path_raw(k: Kernel, dentry: dentry) -> str | ErrPtr:
    """Return the path of an entry from the root of its filesystem; ERR_PTR(-ENAMETOOLONG) if it is too long.

    Source: fs/d_path.c.
    """
    path = ""
    while dentry.parent is not None:
        path = f"/{dentry.name}{path}"
        dentry = dentry.parent
    return path


@kernel_function(fails=ERR_PTR(ENOMEM), args=("name", "parent"))
def debugfs_create_file(k: Kernel, name: str, parent: dentry | ErrPtr | None) -> dentry | ErrPtr:
    """Make a file, which goes with its directory; ERR_PTR(-EEXIST), and a line in the log, if the name is taken.

    Source: fs/debugfs/inode.c.
    """
    directory = start_creating(k, name, parent)
    if isinstance(directory, ErrPtr):
        return directory
    file = _entries(directory)[name] = dentry(name, name, directory, None)
    return file
