# SPDX-License-Identifier: GPL-2.0-only
"""Directories and files in debugfs, against fs/debugfs/inode.c."""

from __future__ import annotations

from bare_machine import bare

from kvm_ref.errno import EEXIST, ERR_PTR
from kvm_ref.linux.debugfs import (
    debugfs_create_dir,
    debugfs_create_file,
    debugfs_lookup,
    debugfs_remove_recursive,
    dentry,
)


def test_a_name_that_is_taken() -> None:
    """start_creating() gives -EEXIST and says of which kind the other one is."""
    k = bare()
    kvm = debugfs_create_dir(k, "kvm", None)
    assert isinstance(kvm, dentry)
    assert isinstance(debugfs_create_file(k, "exits", kvm), dentry)
    assert debugfs_create_file(k, "exits", kvm) == ERR_PTR(EEXIST)
    assert debugfs_create_dir(k, "exits", kvm) == ERR_PTR(EEXIST)
    assert debugfs_create_file(k, "kvm", None) == ERR_PTR(EEXIST)
    file = "debugfs: File 'exits' in directory 'kvm' already present!"
    assert k.log == [file, file, "debugfs: Directory 'kvm' with parent '/' already present!"]


def test_an_error_pointer_is_handed_on() -> None:
    """Callers do not check: what has an error for a parent gives that error, and is not looked up."""
    k = bare()
    assert debugfs_create_dir(k, "x", ERR_PTR(EEXIST)) == ERR_PTR(EEXIST)
    assert debugfs_create_file(k, "x", ERR_PTR(EEXIST)) == ERR_PTR(EEXIST)
    assert debugfs_lookup(k, "x", ERR_PTR(EEXIST)) is None
    assert k.log == []


def test_files_go_with_their_directory() -> None:
    """debugfs_remove() takes all below with it; what was not made need not be removed."""
    k = bare()
    kvm = debugfs_create_dir(k, "kvm", None)
    debugfs_create_file(k, "exits", kvm)
    debugfs_remove_recursive(k, kvm)
    assert debugfs_lookup(k, "kvm", None) is None
    again = debugfs_create_dir(k, "kvm", None)
    assert debugfs_lookup(k, "exits", again if isinstance(again, dentry) else None) is None
    debugfs_remove_recursive(k, ERR_PTR(EEXIST))
    debugfs_remove_recursive(k, None)
    assert debugfs_lookup(k, "kvm", None) is again
