# SPDX-License-Identifier: GPL-2.0-only
"""How VMs are counted and udev is told, against kvm_uevent_notify_change() in virt/kvm/kvm_main.c."""

from __future__ import annotations

import pytest
from bare_machine import bare
from leftovers import events, held, results
from reading import calls, go

from kvm_ref import backend as backends
from kvm_ref.fault import Fault
from kvm_ref.kernel import Kernel
from kvm_ref.linux.debugfs import debugfs_create_dir, dentry, dentry_path_raw
from kvm_ref.scenario import Run, Scenario, machine, perform, run
from kvm_ref.virt.kvm_main import KvmMain
from kvm_ref.virt.kvm_vm import KvmVm, kvm_uevent_notify_change


def told(run: Run, step: int) -> list[list[str]]:
    """What udev is told in one verb: the variables that each call added."""
    out: list[list[str]] = []
    for kind, _, name, args, _ in events(run, step):
        if (kind, name) == ("enter", "kvm_uevent_notify_change"):
            out.append([])
        if (kind, name) == ("enter", "add_uevent_var") and args:
            out[-1].append(args["var"])
    return out


def counts(k: Kernel) -> tuple[int, int]:
    return k[KvmVm].kvm_createvm_count, k[KvmVm].kvm_active_vms


def test_order() -> None:
    """The counters change under kvm_lock; then memory for the event and for a path, in this order."""
    seen = events(go("x86-svm", "load", "create-vm"), 1)
    names = [f"{kind} {name}" for kind, _, name, _, _ in seen if kind != "exit"]
    start = names.index("enter kvm_uevent_notify_change")
    assert names[start + 1 : names.index("enter fd_install")] == [
        "lock kvm_lock",
        "unlock kvm_lock",
        "enter kzalloc",
        *["enter add_uevent_var"] * 4,
        "enter kmalloc",
        "enter dentry_path_raw",
        "enter add_uevent_var",
        "enter kfree",
        "enter kobject_uevent_env",
        "enter kfree",
    ]
    (sent,) = [args for kind, _, name, args, _ in seen if (kind, name) == ("enter", "kobject_uevent_env")]
    assert sent == {"kobj": "/dev/kvm", "action": "KOBJ_CHANGE"}


def test_variables() -> None:
    """CREATED counts all VMs that ever were, COUNT those that are; the first has descriptor 5."""
    done = go("x86-svm", "load", "create-vm", "create-vm", "close-vm=0")
    first, second = ["PID=1000", "STATS_PATH=/kvm/PID-5"], ["PID=1000", "STATS_PATH=/kvm/PID-6"]
    assert told(done, 1) == [["CREATED=1", "COUNT=1", "EVENT=create", *first]]
    assert told(done, 2) == [["CREATED=2", "COUNT=2", "EVENT=create", *second]]
    assert told(done, 3) == [["CREATED=2", "COUNT=1", "EVENT=destroy", *first]]


def test_a_vm_that_was_never_counted() -> None:
    """kvm_dev_ioctl_create_vm(), put_kvm: destroyed uncounted, so COUNT falls below 0, and stays one too low."""
    done = go("x86-svm", "load", "create-vm", "create-vm", fail="anon_inode_getfile")
    assert told(done, 1) == [
        ["CREATED=0", "COUNT=18446744073709551615", "EVENT=destroy", "PID=0", "STATS_PATH=/kvm/PID-5"]
    ]
    assert told(done, 2)[0][:2] == ["CREATED=1", "COUNT=0"]


@pytest.mark.parametrize(
    ("fault", "after"),
    [
        (Fault("kzalloc", where=(("type", "kobj_uevent_env"),)), ["kzalloc"]),
        (
            Fault("kmalloc", where=(("type", "char[PATH_MAX]"),)),
            ["kzalloc", *["add_uevent_var"] * 4, "kmalloc", "kobject_uevent_env", "kfree"],
        ),
        (
            Fault("dentry_path_raw"),
            [
                "kzalloc", *["add_uevent_var"] * 4, "kmalloc", "dentry_path_raw", "kfree",
                "kobject_uevent_env", "kfree",
            ],
        ),
        (
            Fault("kobject_uevent_env"),
            [
                "kzalloc", *["add_uevent_var"] * 4, "kmalloc", "dentry_path_raw", "add_uevent_var", "kfree",
                "kobject_uevent_env", "kfree",
            ],
        ),
    ],
)  # fmt: skip
def test_what_fails_is_passed_over(fault: Fault, after: list[str]) -> None:
    """Without memory nothing is sent, or no path; the VM is made in any case, and nothing leaks."""
    done = run(Scenario("x86-svm", ("load", "create-vm", "close-vm", "unload"), faults=(fault,)))
    assert calls(events(done, 1), "kvm_uevent_notify_change") == after
    assert results(done) == [0] * 4
    assert ("kmalloc", "kobj_uevent_env") not in held(backends.load("x86-svm"), done)
    assert told(done, 2)[0][:2] == ["CREATED=1", "COUNT=0"]


def test_no_statistics() -> None:
    """A VM without a directory in debugfs has no path to tell."""
    done = go("x86-svm", "load", "create-vm", fail="debugfs_create_dir#2")
    assert told(done, 1) == [["CREATED=1", "COUNT=1", "EVENT=create", "PID=1000"]]
    assert "kmalloc" not in calls(events(done, 1), "kvm_uevent_notify_change")


def test_nothing_to_tell() -> None:
    """Without /dev/kvm or without a VM nothing is counted; what is neither event counts nothing."""
    k = machine(Scenario("x86-svm", ()), backends.load("x86-svm"))
    perform(k, "load")
    perform(k, "create-vm")
    (vm,) = k[KvmVm].vm_list
    k.record()
    kvm_uevent_notify_change(k, "KVM_EVENT_CREATE_VM", None)
    assert [kind for kind, *_ in k.events] == ["enter", "exit"]
    kvm_uevent_notify_change(k, "", vm)
    added = [args for kind, _, name, args, _ in k.events if (kind, name) == ("enter", "add_uevent_var")]
    assert [args["var"] for args in added if args] == [
        "CREATED=1", "COUNT=1", "PID=1000", "STATS_PATH=/kvm/PID-5",
    ]  # fmt: skip
    k.record()
    k[KvmMain].kvm_dev.this_device = None
    kvm_uevent_notify_change(k, "KVM_EVENT_CREATE_VM", vm)
    assert [kind for kind, *_ in k.events] == ["enter", "exit"]
    assert counts(k) == (1, 1)


def test_path() -> None:
    """dentry_path_raw() begins at the root of the filesystem (fs/d_path.c)."""
    k = bare()
    above = debugfs_create_dir(k, "above", None)
    below = debugfs_create_dir(k, "below", above)
    assert isinstance(below, dentry)
    assert dentry_path_raw(k, below) == "/above/below"
