# SPDX-License-Identifier: GPL-2.0-only
"""VMs of the backend mips against the text of arch/mips/kvm/{mips,mmu}.c."""

from __future__ import annotations

import pickle

import pytest
from bare_machine import errno_of
from leftovers import events, held, results
from reading import calls, go

from arch.mips.kvm.backend import Mips
from kvm_ref.errno import EINVAL, ENOMEM
from kvm_ref.kernel import Kernel
from kvm_ref.scenario import Scenario, machine, perform
from kvm_ref.virt.kvm_vm import KvmVm, kvm_dev_ioctl_create_vm


def loaded() -> Kernel:
    k = machine(Scenario("mips", ()), Mips())
    perform(k, "load")
    k.record()
    return k


def test_order_of_init() -> None:
    """mips.c: kvm_arch_init_vm() allocates the page table (mmu.c: kvm_pgd_alloc), and nothing else."""
    run = go("mips", "load", "create-vm")
    assert results(run) == [0, 0]
    assert calls(events(run, 1), "kvm_arch_init_vm") == ["kvm_pgd_alloc"]
    assert calls(events(run, 1), "kvm_pgd_alloc") == ["__get_free_pages"]


def test_order_of_destroy() -> None:
    """mips.c: kvm_mips_free_gpa_pt() drops the mappings, once more than the notifier, then frees the top."""
    run = go("mips", "load", "create-vm", "close-vm", "unload")
    seen = events(run, 2)
    assert calls(seen, "kvm_arch_flush_shadow_all") == [
        "kvm_mips_flush_gpa_pt",
        "kvm_flush_remote_tlbs",
    ]
    assert calls(seen, "kvm_arch_destroy_vm") == ["kvm_mips_free_gpa_pt"]
    assert calls(seen, "kvm_mips_free_gpa_pt") == ["kvm_mips_flush_gpa_pt", "pgd_free"]
    assert calls(seen, "pgd_free") == ["__free_pages"]
    assert not any(kind == "warn" for kind, *_ in seen)
    assert held(Mips(), run) == []


@pytest.mark.parametrize("fault", ["kvm_pgd_alloc", "__get_free_pages"])
def test_no_page_table(fault: str) -> None:
    """mips.c: without a page table kvm_arch_init_vm() gives ENOMEM."""
    run = go("mips", "load", "create-vm", "unload", fail=fault)
    assert results(run) == [0, -ENOMEM, 0]
    assert held(Mips(), run) == []


@pytest.mark.parametrize(
    "fault", ["kvm_enable_virtualization#2", "mmu_notifier_register", "alloc_page", "anon_inode_getfile"]
)
def test_failure_later(fault: str) -> None:
    """kvm_main.c: whatever fails after kvm_arch_init_vm(), kvm_arch_destroy_vm() frees the page table."""
    run = go("mips", "load", "create-vm", "unload", fail=fault)
    assert (results(run)[1] or 0) < 0
    assert calls(events(run, 1), "kvm_arch_destroy_vm") == ["kvm_mips_free_gpa_pt"]
    assert held(Mips(), run) == []


@pytest.mark.parametrize("type", [0, 1])
def test_types(type: int) -> None:
    """mips.c: the types are 0, which is any, and 1, with VZ (include/uapi/linux/kvm.h)."""
    k = loaded()
    assert isinstance(k.run_on("vmm", 0, kvm_dev_ioctl_create_vm, type), int)
    (vm,) = k[KvmVm].vm_list
    assert pickle.loads(pickle.dumps(vm.arch)).pgd.id == "pgd"


@pytest.mark.parametrize("type", [2, 3, 1 << 30])
def test_invalid_types(type: int) -> None:
    """mips.c: type 2, trap and emulate, is no more, and others never were: EINVAL before any memory."""
    k = loaded()
    assert errno_of(lambda: k.run_on("vmm", 0, kvm_dev_ioctl_create_vm, type)) == EINVAL
    assert calls(k.events, "kvm_arch_init_vm") == []
    assert k[KvmVm].vm_list == []


def test_config() -> None:
    """Kconfig: the MMIO ring and the MMU notifier are selected, routing and the PM notifier are not."""
    seen = {name for _, _, name, _, _ in events(go("mips", "load", "create-vm"), 1)}
    assert {"kvm_coalesced_mmio_init", "kvm_init_mmu_notifier"} <= seen
    assert not seen & {"kvm_init_irq_routing", "kvm_init_pm_notifier"}
