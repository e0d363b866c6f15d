# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors include/linux/debugfs.h: directories in debugfs.

Callers do not check for failure, by convention: every function takes an error pointer as parent
and hands it on. A directory outlives the module that made it and forgot it.
"""

from __future__ import annotations

from kvm_ref.errno import EEXIST, ENOMEM, ERR_PTR, ErrPtr
from kvm_ref.kernel import Kernel, Resource, Statics
from kvm_ref.linux.printk import pr_err
from kvm_ref.vocabulary import kernel_function


class dentry(Resource):
    """A directory; `children` are the directories in it, by name."""

    __slots__ = ("children", "name", "parent")

    def __init__(self, id: str, name: str, parent: dentry | None) -> None:
        super().__init__(id)
        self.name = name
        self.parent = parent
        self.children: dict[str, dentry] = {}


class Debugfs(Statics):
    """The static variables of fs/debugfs/inode.c."""

    __slots__ = ("root",)

    def __init__(self) -> None:
        self.root = dentry("/", "/", None)


@kernel_function(fails=ERR_PTR(ENOMEM), acquires="debugfs", args=("name", "parent"))
def debugfs_create_dir(k: Kernel, name: str, parent: dentry | ErrPtr | None) -> dentry | ErrPtr:
    """Make a directory; ERR_PTR(-EEXIST), and a line in the log, if the name is taken.

    Source: fs/debugfs/inode.c.
    """
    if isinstance(parent, ErrPtr):
        return parent
    directory = parent or k[Debugfs].root
    if name in directory.children:
        pr_err(k, f"debugfs: Directory '{name}' with parent '{directory.name}' already present!")
        return ERR_PTR(EEXIST)
    child = directory.children[name] = dentry(k.new(name), name, directory)
    return child


@kernel_function(releases="debugfs", symbol="debugfs_remove")
def debugfs_remove_recursive(k: Kernel, entry: dentry | ErrPtr | None) -> None:
    """Remove a directory and all in it; NULL and error pointers are legal (fs/debugfs/inode.c)."""
    if not isinstance(entry, dentry):
        return
    if entry.parent is not None and entry.parent.children.get(entry.name) is entry:
        del entry.parent.children[entry.name]


@kernel_function(args=("name", "parent"))
def debugfs_lookup(k: Kernel, name: str, parent: dentry | ErrPtr | None) -> dentry | None:
    """Return the directory `name` of `parent`, NULL being the root, or NULL (fs/debugfs/inode.c)."""
    if isinstance(parent, ErrPtr):
        return None
    return (parent or k[Debugfs].root).children.get(name)


@kernel_function()
def dput(k: Kernel, dentry: object) -> None:
    """Give up a reference to a directory; they are not counted here (fs/dcache.c)."""


def debugfs_create_file(k: Kernel, name: str, parent: dentry | ErrPtr | None) -> None:
    """Make a file, which goes with its directory; nobody asks whether that worked (fs/debugfs/inode.c)."""
