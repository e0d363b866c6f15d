# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors virt/kvm/kvm_main.c: a VM's directory in debugfs, with a file for each statistic."""

from __future__ import annotations

from kvm_ref.errno import ENOMEM, IS_ERR, KernelError
from kvm_ref.kernel import Kernel, Statics
from kvm_ref.linux.debugfs import (
    debugfs_create_dir,
    debugfs_create_file,
    debugfs_lookup,
    debugfs_remove_recursive,
    dput,
)
from kvm_ref.linux.mutex import Mutex, mutex_lock, mutex_unlock
from kvm_ref.linux.printk import pr_warn
from kvm_ref.linux.slab import kcalloc, kfree, kmemory, kzalloc
from kvm_ref.unwind import ladder
from kvm_ref.virt.kvm_host import kvm
from kvm_ref.virt.kvm_main import KvmMain
from kvm_ref.vocabulary import kernel_function


class VmDebugfs(Statics):
    """The static variable of kvm_create_vm_debugfs()."""

    __slots__ = ("kvm_debugfs_lock",)
    module = "kvm"

    def __init__(self) -> None:
        self.kvm_debugfs_lock = Mutex("kvm_debugfs_lock")


@kernel_function()
def kvm_arch_create_vm_debugfs(k: Kernel, kvm: kvm) -> None:
    """Make the architecture's debugfs files of a VM; the weak one makes none."""


@kernel_function()
def kvm_destroy_vm_debugfs(k: Kernel, kvm: kvm) -> None:
    """Remove a VM's directory, and free what its files refer to."""
    if IS_ERR(kvm.debugfs_dentry):
        return

    debugfs_remove_recursive(k, kvm.debugfs_dentry)

    if kvm.debugfs_stat_data:
        for stat_data in kvm.debugfs_stat_entries:
            kfree(k, stat_data)
        kfree(k, kvm.debugfs_stat_data)


@kernel_function(fails=ENOMEM)
def kvm_create_vm_debugfs(k: Kernel, kvm: kvm, fdname: str) -> None:
    """Make a VM's directory with a file for each statistic.

    Raises:
        KernelError: ENOMEM, there is no memory; that the directory cannot be made is no error.
    """
    g = k[VmDebugfs]
    dir_name = f"PID-{fdname}"
    mutex_lock(k, g.kvm_debugfs_lock)
    dent: object = debugfs_lookup(k, dir_name, k[KvmMain].kvm_debugfs_dir)
    if dent:
        pr_warn(k, f"KVM: debugfs: duplicate directory {dir_name}")
        dput(k, dent)
        mutex_unlock(k, g.kvm_debugfs_lock)
        return
    made = debugfs_create_dir(k, dir_name, k[KvmMain].kvm_debugfs_dir)
    mutex_unlock(k, g.kvm_debugfs_lock)
    if IS_ERR(made):
        return

    with ladder(k) as goto:
        kvm.debugfs_dentry = made
        kvm.debugfs_stat_data = kcalloc(k, "kvm_stat_data *")
        with goto("out_err"):
            if not kvm.debugfs_stat_data:
                raise KernelError(ENOMEM)

        with goto("out_err"):
            for pdesc in k.arch.kvm_vm_stats_desc:
                _stat_file(k, kvm, pdesc)

        with goto("out_err"):
            for pdesc in k.arch.kvm_vcpu_stats_desc:
                _stat_file(k, kvm, pdesc)

        (k.arch.kvm_arch_create_vm_debugfs or kvm_arch_create_vm_debugfs)(k, kvm)
        return

    if goto.reached("out_err"):
        kvm_destroy_vm_debugfs(k, kvm)
    raise goto.error


def _stat_file(k: Kernel, kvm: kvm, name: str) -> None:
    stat_data: kmemory | None = kzalloc(k, "kvm_stat_data", size=24)
    if not stat_data:
        raise KernelError(ENOMEM)
    kvm.debugfs_stat_entries.append(stat_data)
    debugfs_create_file(k, name, kvm.debugfs_dentry)
