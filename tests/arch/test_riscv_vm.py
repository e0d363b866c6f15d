# SPDX-License-Identifier: GPL-2.0-only
"""VMs of the backend riscv against the text of arch/riscv/kvm/{vm,mmu,vmid,aia}.c."""

from __future__ import annotations

import pickle

import pytest
from bare_machine import errno_of
from leftovers import events, held, results
from reading import calls, go

from arch.riscv.kvm import vm
from arch.riscv.kvm.backend import RiscV
from kvm_ref.errno import EINVAL, EIO, ENOMEM
from kvm_ref.kernel import Kernel
from kvm_ref.linux.file import close_fd
from kvm_ref.scenario import Run, Scenario, machine, perform
from kvm_ref.virt.kvm_vm import KvmVm, kvm_dev_ioctl_create_vm

# What a load and an unload leave behind without a VM: the mapping of the interrupt.
LOADED = go("riscv", "load", "unload")


def left(run: Run) -> list[tuple[str, object]]:
    return [what for what in held(RiscV(), run) if what not in held(RiscV(), LOADED)]


def test_order_of_init() -> None:
    """vm.c: kvm_arch_init_vm() takes the page table, then a VMID that is none, the AIA's defaults, the time."""
    run = go("riscv", "load", "create-vm")
    assert results(run) == [0, 0]
    assert calls(events(run, 1), "kvm_arch_init_vm") == [
        "kvm_riscv_gstage_alloc_pgd",
        "kvm_riscv_gstage_vmid_init",
        "kvm_riscv_aia_init_vm",
        "kvm_riscv_guest_timer_init",
    ]
    assert calls(events(run, 1), "kvm_riscv_gstage_alloc_pgd") == ["alloc_pages"]


def test_order_of_destroy() -> None:
    """vm.c: kvm_arch_destroy_vm() sees to the AIA only; the page table went with the notifier (mmu.c)."""
    run = go("riscv", "load", "create-vm", "close-vm", "unload")
    seen = events(run, 2)
    assert calls(seen, "kvm_arch_destroy_vm") == ["kvm_riscv_aia_destroy_vm"]
    assert calls(seen, "kvm_arch_flush_shadow_all") == ["kvm_riscv_gstage_free_pgd"]
    assert calls(seen, "kvm_riscv_gstage_free_pgd") == ["free_pages"]
    functions = [name for kind, _, name, _, _ in seen if kind == "enter"]
    assert functions.index("kvm_arch_flush_shadow_all") < functions.index("kvm_arch_destroy_vm")
    assert left(run) == []


@pytest.mark.parametrize("fault", ["alloc_pages", "kvm_riscv_gstage_alloc_pgd"])
def test_no_page_table(fault: str) -> None:
    """mmu.c: kvm_riscv_gstage_alloc_pgd() gives ENOMEM, and kvm_arch_init_vm() hands it on."""
    run = go("riscv", "load", "create-vm", "unload", fail=fault)
    assert results(run) == [0, -ENOMEM, 0]
    assert calls(events(run, 1), "kvm_arch_init_vm") == ["kvm_riscv_gstage_alloc_pgd"]
    assert left(run) == []


def test_no_vmid() -> None:
    """vm.c: if kvm_riscv_gstage_vmid_init() fails, kvm_arch_init_vm() frees the page table."""
    run = go("riscv", "load", "create-vm", "unload", fail="kvm_riscv_gstage_vmid_init")
    assert results(run) == [0, -EIO, 0]
    assert calls(events(run, 1), "kvm_arch_init_vm") == [
        "kvm_riscv_gstage_alloc_pgd",
        "kvm_riscv_gstage_vmid_init",
        "kvm_riscv_gstage_free_pgd",
    ]
    assert left(run) == []


@pytest.mark.parametrize("fault", ["kvm_enable_virtualization#2", "mmu_notifier_register"])
def test_leak_before_the_notifier(fault: str) -> None:
    """kvm_main.c: without a notifier nobody calls kvm_arch_flush_shadow_all(): the page table is lost."""
    run = go("riscv", "load", "create-vm", fail=fault)
    assert (results(run)[1] or 0) < 0
    assert "kvm_arch_destroy_vm" in calls(events(run, 1), "kvm_create_vm")
    kept = [what for what in held(RiscV(), run) if what not in held(RiscV(), go("riscv", "load"))]
    assert kept == [("pages", "gstage_pgd")]


@pytest.mark.parametrize("fault", ["kvm_coalesced_mmio_init", "kvm_create_vm_debugfs", "anon_inode_getfile"])
def test_no_leak_after_the_notifier(fault: str) -> None:
    """kvm_main.c: from out_no_coalesced_mmio on, mmu_notifier_unregister() has the page table freed."""
    run = go("riscv", "load", "create-vm", "unload", fail=fault)
    assert (results(run)[1] or 0) < 0
    assert left(run) == []


def loaded() -> Kernel:
    k = machine(Scenario("riscv", ()), RiscV())
    perform(k, "load")
    k.record()
    return k


def test_type_is_not_looked_at() -> None:
    """vm.c: kvm_arch_init_vm() has no use for the type."""
    k = loaded()
    fd = k.run_on("vmm", 0, kvm_dev_ioctl_create_vm, 7)
    assert isinstance(fd, int)
    assert [args for kind, _, name, args, _ in k.events if (kind, name) == ("enter", "kvm_arch_init_vm")] == [
        {"type": 7}
    ]


def test_process_that_ends_first() -> None:
    """mmu.c: kvm_riscv_gstage_free_pgd() is called again at the close, and frees nothing then."""
    k = loaded()
    fd = k.run_on("vmm", 0, kvm_dev_ioctl_create_vm, 0)
    (one,) = k[KvmVm].vm_list
    assert errno_of(lambda: vm.kvm_riscv_gstage_alloc_pgd(k, one)) == EINVAL
    assert k.log[-1] == "kvm: the VM has a page table already"
    assert pickle.loads(pickle.dumps(one.arch)).pgd.id == "gstage_pgd"
    k.run_on("vmm", 0, vm.kvm_arch_flush_shadow_all, one)
    k.record()
    k.run_on("vmm", 0, close_fd, fd)
    assert not [name for kind, _, name, _, _ in k.events if (kind, name) == ("enter", "free_pages")]


def test_config() -> None:
    """Kconfig: interrupt routing, the MMIO ring and the MMU notifier are selected, the PM notifier is not."""
    seen = {name for _, _, name, _, _ in events(go("riscv", "load", "create-vm"), 1)}
    assert {"kvm_init_irq_routing", "kvm_coalesced_mmio_init", "kvm_init_mmu_notifier"} <= seen
    assert "kvm_init_pm_notifier" not in seen
