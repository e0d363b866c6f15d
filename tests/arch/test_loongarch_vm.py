# SPDX-License-Identifier: GPL-2.0-only
"""VMs of the backend loongarch against the text of arch/loongarch/kvm/{vm,mmu}.c."""

from __future__ import annotations

import pickle

import pytest
from leftovers import events, held, results
from reading import calls, go

from arch.loongarch.kvm.backend import LoongArch
from arch.loongarch.kvm.main import LoongArchKvm
from kvm_ref.errno import ENOMEM
from kvm_ref.scenario import Scenario, machine, perform
from kvm_ref.virt.kvm_vm import KvmVm, kvm_dev_ioctl_create_vm


def test_order_of_init() -> None:
    """vm.c: kvm_arch_init_vm() allocates the page table, then the map, and refers to the CPUs' parts."""
    run = go("loongarch", "load", "create-vm")
    assert results(run) == [0, 0]
    assert calls(events(run, 1), "kvm_arch_init_vm") == ["kvm_pgd_alloc", "kvzalloc", "kvm_init_vmcs"]
    assert calls(events(run, 1), "kvm_pgd_alloc") == ["__get_free_pages"]


def test_order_of_destroy() -> None:
    """vm.c: kvm_arch_destroy_vm() frees the page table first; the notifier before it leaves that alone."""
    run = go("loongarch", "load", "create-vm", "close-vm", "unload")
    assert calls(events(run, 2), "kvm_arch_destroy_vm") == ["free_page", "kvfree"]
    assert calls(events(run, 2), "kvm_arch_flush_shadow_all") == []
    assert held(LoongArch(), run) == []


@pytest.mark.parametrize("fault", ["kvm_pgd_alloc", "__get_free_pages"])
def test_no_page_table(fault: str) -> None:
    """vm.c: without a page table kvm_arch_init_vm() gives ENOMEM at once."""
    run = go("loongarch", "load", "create-vm", "unload", fail=fault)
    assert results(run) == [0, -ENOMEM, 0]
    assert calls(events(run, 1), "kvm_arch_init_vm") == ["kvm_pgd_alloc"]
    assert held(LoongArch(), run) == []


def test_no_map() -> None:
    """vm.c: without the map kvm_arch_init_vm() frees the page table, and gives ENOMEM."""
    run = go("loongarch", "load", "create-vm", "unload", fail="kvzalloc")
    assert results(run) == [0, -ENOMEM, 0]
    assert calls(events(run, 1), "kvm_arch_init_vm") == ["kvm_pgd_alloc", "kvzalloc", "free_page"]
    assert held(LoongArch(), run) == []


@pytest.mark.parametrize(
    "fault", ["kvm_enable_virtualization#2", "mmu_notifier_register", "alloc_page", "anon_inode_getfile"]
)
def test_failure_later(fault: str) -> None:
    """kvm_main.c: whatever fails after kvm_arch_init_vm(), kvm_arch_destroy_vm() frees all of it."""
    run = go("loongarch", "load", "create-vm", "unload", fail=fault)
    assert (results(run)[1] or 0) < 0
    assert calls(events(run, 1), "kvm_arch_destroy_vm") == ["free_page", "kvfree"]
    assert held(LoongArch(), run) == []


def test_what_is_kept() -> None:
    """vm.c: the type is not looked at; kvm->arch holds the page table, the map and the CPUs' parts."""
    k = machine(Scenario("loongarch", ()), LoongArch())
    perform(k, "load")
    assert isinstance(k.run_on("vmm", 0, kvm_dev_ioctl_create_vm, 7), int)
    (vm,) = k[KvmVm].vm_list
    assert vm.arch.vmcs is k[LoongArchKvm].vmcs
    arch = pickle.loads(pickle.dumps(vm.arch))
    assert (arch.pgd.id, arch.phyid_map.id) == ("pgd", "kvm_phyid_map")


def test_config() -> None:
    """Kconfig: the MMIO ring and the MMU notifier are selected, routing and the PM notifier are not."""
    seen = {name for _, _, name, _, _ in events(go("loongarch", "load", "create-vm"), 1)}
    assert {"kvm_coalesced_mmio_init", "kvm_init_mmu_notifier"} <= seen
    assert not seen & {"kvm_init_irq_routing", "kvm_init_pm_notifier"}
