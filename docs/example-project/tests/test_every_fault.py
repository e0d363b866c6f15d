# SPDX-License-Identifier: GPL-2.0-only
"""Every fault while KVM loads and unloads, one test item each."""

import pytest

from kvm_ref.testing import assert_clean


@pytest.mark.kvm_matrix("load", "unload", backend="loongarch", commits=["b31e7c24b475"])
def test_unwinds(kvm_run):
    assert_clean(kvm_run)


@pytest.mark.kvm_matrix("load", "create-vm", "close-vm", "unload", backend="loongarch", spread=False)
def test_every_fault_reaches_the_user(kvm_matrix):
    ignored = [row.fault for row in kvm_matrix.rows if row.fault and row.result == 0]
    # Only these may fail unnoticed: virt/kvm/kvm_main.c ignores their errors. The last four tell udev of a VM.
    unnoticed = {"debugfs_create_dir", "debugfs_create_file", "register_pm_notifier"}
    unnoticed |= {"dentry_path_raw", "kmalloc", "kobject_uevent_env", "kzalloc"}
    assert {fault.partition("#")[0] for fault in ignored} <= unnoticed
