# SPDX-License-Identifier: GPL-2.0-only
"""VMs of the common code, against virt/kvm/kvm_main.c."""

from __future__ import annotations

import pytest
from bare_machine import Bare, bare, errno_of
from reading import calls, go, undone

from kvm_ref import backend as backends
from kvm_ref.errno import EBADF
from kvm_ref.fault import Fault
from kvm_ref.kernel import Kernel
from kvm_ref.linux.debugfs import debugfs_create_dir
from kvm_ref.linux.file import FIRST, Files, anon_inode_getfile, close_fd, file, file_operations, fput
from kvm_ref.linux.mmu_notifier import mmu_notifier, mmu_notifier_register, mmu_notifier_unregister
from kvm_ref.linux.module import Modules, module_put, try_module_get
from kvm_ref.linux.notifier import (
    PmEvent,
    notifier_block,
    pm_notifier_call_chain,
    pm_notifier_call_chain_robust,
    register_pm_notifier,
)
from kvm_ref.scenario import Scenario, machine, perform, run
from kvm_ref.virt import vm_notifiers
from kvm_ref.virt.coalesced_mmio import kvm_coalesced_mmio_free
from kvm_ref.virt.irqchip import kvm_free_irq_routing
from kvm_ref.virt.kvm_host import kvm
from kvm_ref.virt.kvm_main import KvmMain
from kvm_ref.virt.kvm_vm import KvmVm, kvm_put_kvm


def with_vm() -> tuple[Kernel, kvm]:
    """Return a machine with one VM, and the VM."""
    k = machine(Scenario("x86-svm", ()), backends.load("x86-svm"))
    perform(k, "load")
    perform(k, "create-vm")
    (vm,) = k[KvmVm].vm_list
    k.record()
    return k, vm


def released(k: Kernel) -> list[str]:
    return [name for kind, _, name, *_ in k.events if kind == "enter"]


# From each label of kvm_create_vm() on, by hand from the C. The virtualization of a machine that is
# enabled at load is counted down, not turned off.
NO_SRCU = ["kvm_arch_free_vm", "mmdrop"]
NO_IRQ_SRCU = ["cleanup_srcu_struct", *NO_SRCU]
NO_IRQ_ROUTING = ["cleanup_srcu_struct", *NO_IRQ_SRCU]
NO_ARCH_DESTROY = ["kfree"] * 4 + ["kvm_free_irq_routing", *NO_IRQ_ROUTING]
NO_DISABLE = ["kvm_arch_destroy_vm", *NO_ARCH_DESTROY]
NO_MMU_NOTIFIER = ["kvm_disable_virtualization", *NO_DISABLE]
NO_COALESCED_MMIO = ["mmu_notifier_unregister", *NO_MMU_NOTIFIER]
NO_DEBUGFS = ["kvm_coalesced_mmio_free", *NO_COALESCED_MMIO]
OUT_ERR = ["kvm_destroy_vm_debugfs", *NO_DEBUGFS]


@pytest.mark.parametrize(
    ("fail", "label", "then"),
    [
        ("init_srcu_struct", "out_err_no_srcu", NO_SRCU),
        ("init_srcu_struct#2", "out_err_no_irq_srcu", NO_IRQ_SRCU),
        ("kvm_init_irq_routing", "out_err_no_irq_routing", NO_IRQ_ROUTING),
        ("kvm_arch_init_vm", "out_err_no_arch_destroy_vm", NO_ARCH_DESTROY),
        ("kvm_enable_virtualization#2", "out_err_no_disable", NO_DISABLE),
        ("mmu_notifier_register", "out_err_no_mmu_notifier", NO_MMU_NOTIFIER),
        ("kvm_coalesced_mmio_init", "out_no_coalesced_mmio", NO_COALESCED_MMIO),
        ("kvm_create_vm_debugfs", "out_err_no_debugfs", NO_DEBUGFS),
        ("kvm_arch_post_init_vm", "out_err", OUT_ERR),
    ],
)
def test_each_label_falls_through(fail: str, label: str, then: list[str]) -> None:
    """After each goto of kvm_create_vm() comes what stands below the label."""
    done = go("x86-svm", "load", "create-vm", fail=fail)
    assert undone(done.trace.steps[1].events or (), "kvm_create_vm") == [f">{label}", *then]
    assert undone(done.trace.steps[1].events or (), "kvm_dev_ioctl_create_vm") == [">put_fd", "put_unused_fd"]


def test_a_file_that_cannot_be_made() -> None:
    """After anon_inode_getfile() failed the whole VM is destroyed, then the descriptor given back."""
    done = go("x86-svm", "load", "create-vm", fail="anon_inode_getfile")
    events = done.trace.steps[1].events or ()
    assert undone(events, "kvm_dev_ioctl_create_vm") == [">put_kvm", "kvm_put_kvm", "put_unused_fd"]
    assert done.trace.steps[1].results == [-23]


def test_the_way_down_is_not_the_way_up_backwards() -> None:
    """kvm_destroy_vm() disables virtualization after kvm_arch_destroy_vm(), by hand from the C."""
    done = go("x86-svm", "load", "create-vm", "close-vm", cpus=1)
    assert calls(done.trace.steps[2].events or (), "kvm_destroy_vm") == [
        "kvm_destroy_pm_notifier", "kvm_uevent_notify_change", "kvm_destroy_vm_debugfs", "kvm_arch_sync_events", "list_del",
        "kvm_arch_pre_destroy_vm", "kvm_free_irq_routing", *["kfree"] * 4, "kvm_coalesced_mmio_free",
        "mmu_notifier_unregister", "kvm_arch_destroy_vm", "kvm_destroy_devices",
        *["kvm_free_memslots"] * 4, "cleanup_srcu_struct", "cleanup_srcu_struct", "kvm_arch_free_vm",
        "preempt_notifier_dec", "kvm_disable_virtualization", "mmdrop",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "which",
    [("kcalloc", "kvm_stat_data *", 1), ("kzalloc", "kvm_stat_data", 1), ("kzalloc", "kvm_stat_data", 2)],
)
def test_statistics_without_memory(which: tuple[str, str, int]) -> None:
    """What kvm_create_vm_debugfs() has made by then goes with its directory, and the VM with it."""
    function, type, nth = which
    fault = Fault(function, nth, where=(("type", type),))
    done = run(Scenario("x86-svm", ("load", "create-vm", "unload"), faults=(fault,)))
    events = done.trace.steps[1].events or ()
    assert undone(events, "kvm_create_vm_debugfs") == [">out_err", "kvm_destroy_vm_debugfs"]
    freed = (
        ["debugfs_remove_recursive", *["kfree"] * nth]
        if function == "kzalloc"
        else ["debugfs_remove_recursive"]
    )
    assert calls(events, "kvm_destroy_vm_debugfs") == freed
    assert [step.results for step in done.trace.steps] == [[0], [-12], [0]]


def test_a_directory_that_is_there_already() -> None:
    """A directory of the same name is told of, and the VM does without one."""
    k = machine(Scenario("x86-svm", ()), backends.load("x86-svm"))
    perform(k, "load")
    debugfs_create_dir(k, "PID-5", k[KvmMain].kvm_debugfs_dir)
    step, _ = perform(k, "create-vm")
    assert step.results == [0]
    assert k.log[-1] == "KVM: debugfs: duplicate directory PID-5"
    step, _ = perform(k, "close-vm")
    assert "debugfs_remove_recursive" not in [
        name for kind, _, name, *_ in step.events or () if kind == "enter"
    ]


def test_the_last_reference_destroys() -> None:
    """kvm_put_kvm() of a VM that others refer to only counts."""
    k, vm = with_vm()
    vm.users_count += 1
    kvm_put_kvm(k, vm)
    assert released(k) == ["kvm_put_kvm"]
    kvm_put_kvm(k, vm)
    assert "kvm_destroy_vm" in released(k)


def test_what_is_not_there_is_not_freed() -> None:
    """A bus that is gone, a table and a ring that were never made."""
    k, vm = with_vm()
    vm.buses[1] = None
    vm.irq_routing = None
    vm.coalesced_mmio_ring = None
    kvm_put_kvm(k, vm)
    freed = released(k)
    assert (
        freed[: freed.index("kvm_coalesced_mmio_free")].count("kfree") == 2 + 3 + 3
    )  # uevent, statistics, buses
    k.record()
    kvm_free_irq_routing(k, vm)
    kvm_coalesced_mmio_free(k, vm)
    assert released(k) == ["kvm_free_irq_routing", "kvm_coalesced_mmio_free"]


def test_files_and_modules() -> None:
    """A file holds its module; who has neither a module nor anything to release is closed all the same."""
    k = bare()
    k[Modules].loaded.append("kvm")
    assert not try_module_get(k, "gone")
    opened = anon_inode_getfile(k, "kvm-vm", file_operations("kvm", None), None)
    assert isinstance(opened, file)
    assert k[Modules].refcount == {"kvm": 1}
    assert try_module_get(k, "kvm")
    fput(k, opened)
    module_put(k, "kvm")
    assert k[Modules].refcount == {}
    plain = anon_inode_getfile(k, "kvm-vm", file_operations(None, None), None)
    assert isinstance(plain, file)
    fd = k[Files].free()
    assert fd == FIRST
    k[Files].fdt[fd] = plain
    close_fd(k, fd)
    assert errno_of(lambda: close_fd(k, fd)) == EBADF
    k[Files].fdt[7] = None
    assert errno_of(lambda: close_fd(k, 7)) == EBADF
    assert 7 in k[Files].fdt


def test_a_subscription_is_released_once() -> None:
    """mmu_notifier_unregister() calls release() if the subscription is on the list (mm/mmu_notifier.c)."""
    k = bare()
    seen: list[mmu_notifier] = []
    plain, full = mmu_notifier("plain", None), mmu_notifier("full", None)
    full.release = lambda _, mn: seen.append(mn)
    mmu_notifier_register(k, plain)
    for one in (plain, full):
        mmu_notifier_unregister(k, one)
    assert seen == []
    mmu_notifier_register(k, full)
    mmu_notifier_unregister(k, full)
    mmu_notifier_unregister(k, full)
    assert seen == [full]


def test_a_mapping_that_is_there_takes_no_table() -> None:
    """A second VM where the first one was finds its mapping into EL2 (arm64, nVHE)."""
    done = go("arm64", "load", "create-vm", "close-vm", "create-vm")
    tables = [
        [f for k, _, f, *_ in step.events or () if (k, f) == ("enter", "hyp_map_walker")]
        for step in done.trace.steps
    ]
    assert [len(found) for found in tables[1:]] == [1, 0, 0]


def test_who_is_told_of_a_suspend() -> None:
    """The VMs are told before the tasks freeze and after they thaw; if one objects, those before it are told."""
    done = go("x86-svm", "load", "create-vm", "create-vm", "suspend")
    events = done.trace.steps[3].events or ()
    assert calls(events, "pm_notifier_call_chain_robust") == ["kvm_pm_notifier_call"] * 2
    assert calls(events, "suspend_finish") == ["suspend_thaw_processes", "pm_notifier_call_chain"]
    assert calls(events, "pm_notifier_call_chain") == ["kvm_pm_notifier_call"] * 2
    done = go("x86-svm", "load", "create-vm", "create-vm", "suspend", fail="kvm_arch_suspend_notifier#2")
    events = done.trace.steps[3].events or ()
    assert calls(events, "pm_notifier_call_chain_robust") == ["kvm_pm_notifier_call"] * 3
    assert undone(events, "suspend_prepare") == [">Restore"]
    assert done.trace.steps[3].results == [-1]


class Silent(Bare):
    """An architecture that wants the notifier, and does nothing with it."""

    config = frozenset({"HAVE_KVM_PM_NOTIFIER"})


def test_an_architecture_that_does_not_listen() -> None:
    """Without a notifier of the architecture kvm_pm_notifier_call() does nothing."""
    k, vm = with_vm()
    backend = k.arch
    k.arch = Silent()
    vm_notifiers.kvm_pm_notifier_call(k, vm.pm_notifier, PmEvent.PM_POST_SUSPEND)
    k.arch = backend
    register_pm_notifier(k, notifier_block("silent"))
    pm_notifier_call_chain(k, PmEvent.PM_POST_SUSPEND)
    pm_notifier_call_chain_robust(k, PmEvent.PM_SUSPEND_PREPARE, PmEvent.PM_POST_SUSPEND)
    assert released(k).count("kvm_arch_suspend_notifier") == 1
