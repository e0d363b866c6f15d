# SPDX-License-Identifier: GPL-2.0-only
"""VMs of the backend s390 against arch/s390/kvm/{kvm-s390,interrupt,pci,vsie}.c and mm/gmap.c of 6.12.117."""

from __future__ import annotations

import pickle

import pytest
from bare_machine import errno_of
from leftovers import events, held, results
from reading import calls, go, undone

from arch.s390.kvm.backend import S390
from arch.s390.kvm.vm import KvmS390Vm
from arch.s390.mm.gmap_vm import mm_struct
from kvm_ref.errno import EINVAL, ENOMEM
from kvm_ref.kernel import Kernel
from kvm_ref.linux.file import close_fd
from kvm_ref.scenario import Run, Scenario, machine, perform
from kvm_ref.virt.kvm_vm import KvmVm, kvm_dev_ioctl_create_vm

# kvm-s390.c: kvm_arch_init_vm(), step by step.
INIT = [
    "s390_enable_sie",
    "get_zeroed_page",
    "debug_register",
    "get_zeroed_page",
    "kvm_s390_crypto_init",
    "kvm_s390_pci_init_list",
    "kvm_s390_vcpu_pci_enable_interp",
    "debug_register_view",
    "gmap_create",
    "kvm_s390_vsie_init",
    "kvm_s390_gisa_init",
]
# kvm-s390.c: kvm_arch_destroy_vm().
DESTROY = [
    "sca_dispose",
    "kvm_s390_gisa_destroy",
    "kvm_s390_pv_deinit_cleanup_all",
    "debug_unregister",
    "free_page",
    "gmap_remove",
    "kvm_s390_destroy_adapters",
    "kvm_s390_clear_float_irqs",
    "kvm_s390_vsie_destroy",
]
# kvm-s390.c: the only label of kvm_arch_init_vm().
OUT_ERR = [">out_err", "free_page", "debug_unregister", "sca_dispose"]
# The calls of kzalloc() in kvm_create_vm(): struct kvm, the routing table, four buses, the gmap.
BUS, GMAP = "kzalloc#3", "kzalloc#7"
# __kvm_s390_exit() does not unregister it.
FLIC = [("device_ops", 6)]


def warnings(run: Run, step: int) -> list[str]:
    return [name for kind, _, name, _, _ in events(run, step) if kind == "warn"]


def locks(run: Run, step: int, function: str) -> list[str]:
    """What a function locked, itself and in its callees."""
    inside = False
    out = []
    for kind, _, name, _, _ in events(run, step):
        if name == function:
            inside = kind == "enter"
        if inside and kind == "lock":
            out.append(name)
    return out


def loaded(**params: str) -> Kernel:
    k = machine(Scenario("s390", (), params=params), S390())
    perform(k, "load")
    k.record()
    return k


def test_order_of_init() -> None:
    """kvm-s390.c: kvm_arch_init_vm() takes SCA, log and SIE page, then the guest address space."""
    run = go("s390", "load", "create-vm")
    assert results(run) == [0, 0]
    assert calls(events(run, 1), "kvm_arch_init_vm") == INIT
    assert locks(run, 1, "kvm_arch_init_vm") == ["mmap_lock", "kvm_lock", "kvm->lock"]
    assert calls(events(run, 1), "s390_enable_sie") == ["mm_alloc_pgste"]
    assert calls(events(run, 1), "gmap_create") == ["gmap_alloc"]
    assert calls(events(run, 1), "gmap_alloc") == ["kzalloc", "gmap_alloc_crst", "list_add"]


def test_order_of_destroy() -> None:
    """kvm-s390.c: kvm_arch_destroy_vm() begins with the SCA, and frees the guest address space late."""
    run = go("s390", "load", "create-vm", "close-vm", "unload")
    seen = events(run, 2)
    assert calls(seen, "kvm_arch_destroy_vm") == DESTROY
    assert calls(seen, "sca_dispose") == ["free_page"]
    assert calls(seen, "kvm_s390_gisa_destroy") == ["gisa_set_iam"]
    assert calls(seen, "kvm_s390_clear_float_irqs") == ["kvm_s390_gisa_clear"]
    assert calls(seen, "gmap_remove") == ["gmap_put"]
    assert calls(seen, "gmap_put") == ["gmap_free"]
    assert calls(seen, "gmap_free") == ["__free_pages", "kfree"]
    assert locks(run, 2, "kvm_arch_destroy_vm") == ["kvm->lock", "kvm->arch.vsie.mutex"]
    assert calls(seen, "kvm_arch_free_vm") == ["kvm_s390_pci_clear_list", "kvfree"]
    assert warnings(run, 2) == []
    assert held(S390(), run) == FLIC


@pytest.mark.parametrize(
    ("fault", "errno", "done"),
    [
        ("s390_enable_sie", EINVAL, 1),
        ("mm_alloc_pgste", EINVAL, 1),
        ("get_zeroed_page#2", ENOMEM, 2),
        ("debug_register#3", ENOMEM, 3),
        ("get_zeroed_page#3", ENOMEM, 4),
        ("gmap_create", ENOMEM, 9),
        (GMAP, ENOMEM, 9),
        ("gmap_alloc_crst", ENOMEM, 9),
    ],
)
def test_out_err(fault: str, errno: int, done: int) -> None:
    """kvm-s390.c: each failing step jumps to out_err, which frees what there is; NULL is legal for all."""
    run = go("s390", "load", "create-vm", "unload", fail=fault)
    assert results(run) == [0, -errno, 0]
    seen = events(run, 1)
    assert calls(seen, "kvm_arch_init_vm") == INIT[:done] + OUT_ERR
    assert undone(seen, "kvm_create_vm")[0] == ">out_err_no_arch_destroy_vm"
    assert held(S390(), run) == FLIC


def test_gmap_alloc_labels() -> None:
    """gmap.c: gmap_alloc() frees the structure at out_free, and nothing at out."""
    assert undone(events(go("s390", "load", "create-vm", fail=GMAP), 1), "gmap_alloc") == [">out"]
    assert undone(events(go("s390", "load", "create-vm", fail="alloc_pages"), 1), "gmap_alloc") == [
        ">out_free",
        "kfree",
    ]


def test_a_refusal_of_the_ultravisor_is_not_checked() -> None:
    """kvm-s390.c: kvm_arch_destroy_vm() goes on, whatever kvm_s390_pv_deinit_cleanup_all() returned."""
    run = go("s390", "load", "create-vm", "close-vm", "unload", fail="kvm_s390_pv_deinit_cleanup_all")
    assert calls(events(run, 2), "kvm_arch_destroy_vm") == DESTROY
    assert results(run) == [0, 0, 0, 0]
    assert held(S390(), run) == FLIC


def test_view_of_the_log_is_not_checked() -> None:
    """kvm-s390.c: nobody asks what debug_register_view() returned for the log of a VM."""
    run = go("s390", "load", "create-vm", "close-vm", "unload", fail="debug_register_view#3")
    assert results(run) == [0, 0, 0, 0]
    assert held(S390(), run) == FLIC


@pytest.mark.parametrize("fault", ["kvm_create_vm_debugfs", "anon_inode_getfile"])
def test_failure_later(fault: str) -> None:
    """kvm_main.c: whatever fails after kvm_arch_init_vm(), kvm_arch_destroy_vm() frees all of it."""
    run = go("s390", "load", "create-vm", "unload", fail=fault)
    assert (results(run)[1] or 0) < 0
    assert calls(events(run, 1), "kvm_arch_destroy_vm") == DESTROY
    assert held(S390(), run) == FLIC


@pytest.mark.parametrize("fault", ["init_srcu_struct", BUS, "s390_enable_sie"])
def test_warning_about_a_list_that_was_never_begun(fault: str) -> None:
    """pci.c: kvm_s390_pci_clear_list() finds zeroes, no empty list, if kvm_create_vm() fails early."""
    run = go("s390", "load", "create-vm", "unload", fail=fault)
    assert warnings(run, 1) == ["kvm_s390_pci_clear_list"]
    assert held(S390(), run) == FLIC


@pytest.mark.parametrize("fault", ["gmap_create", "kvm_create_vm_debugfs"])
def test_no_warning_once_the_list_was_begun(fault: str) -> None:
    """pci.c: after kvm_s390_pci_init_list() the list is empty, whatever fails."""
    assert warnings(go("s390", "load", "create-vm", fail=fault), 1) == []


def test_invalid_type() -> None:
    """kvm-s390.c: any type but 0 gives EINVAL without KVM_S390_UCONTROL, and before anything else."""
    k = loaded()
    assert errno_of(lambda: k.run_on("vmm", 0, kvm_dev_ioctl_create_vm, 1)) == EINVAL
    assert calls(k.events, "kvm_arch_init_vm") == OUT_ERR
    assert k[KvmVm].vm_list == []


def test_without_pci() -> None:
    """kvm-s390.c: without VFIO_PCI_ZDEV_KVM there is no list, and no look at it."""

    class Plain(S390):
        config = S390.config - {"VFIO_PCI_ZDEV_KVM"}

    k = machine(Scenario("s390", ()), Plain())
    perform(k, "load")
    k.record()
    fd = k.run_on("vmm", 0, kvm_dev_ioctl_create_vm, 0)
    k.run_on("vmm", 0, close_fd, fd)
    assert calls(k.events, "kvm_arch_init_vm") == [c for c in INIT if "_pci_" not in c]
    assert calls(k.events, "kvm_arch_free_vm") == ["kvfree"]


def test_interpretation() -> None:
    """kvm-s390.c: kvm_s390_vcpu_pci_enable_interp() turns it on for a machine that interprets."""
    for interp in (False, True):
        k = machine(Scenario("s390", (), features={"zpci_interp": interp}), S390())
        perform(k, "load")
        k.run_on("vmm", 0, kvm_dev_ioctl_create_vm, 0)
        (vm,) = k[KvmVm].vm_list
        assert vm.arch.use_zpci_interp is interp


def test_no_gisa() -> None:
    """interrupt.c: without AIV there is no GISA, and kvm_s390_gisa_destroy() returns at once."""
    run = go("s390", "load", "create-vm", "close-vm", features={"aiv": False})
    assert calls(events(run, 2), "kvm_s390_gisa_destroy") == []


def test_gisa_not_wanted() -> None:
    """kvm-s390.c: with use_gisa=n kvm_s390_gisa_init() is not called."""
    k = loaded(use_gisa="n")
    k.run_on("vmm", 0, kvm_dev_ioctl_create_vm, 0)
    assert calls(k.events, "kvm_arch_init_vm") == INIT[:-1]


def test_gisa_on_the_alert_list() -> None:
    """interrupt.c: kvm_s390_gisa_destroy() empties the list of alerts if the GISA is on it."""
    run = go("s390", "load", "create-vm", "close-vm", fail="gisa_set_iam")
    assert results(run) == [0, 0, 0]
    assert calls(events(run, 2), "kvm_s390_gisa_destroy") == ["gisa_set_iam", "process_gib_alert_list"]


def test_two_vms_of_one_process() -> None:
    """gmap.c: the page tables are prepared once, and each VM has a guest address space on the list."""
    k = loaded()
    first = k.run_on("vmm", 0, kvm_dev_ioctl_create_vm, 0)
    k.run_on("vmm", 0, kvm_dev_ioctl_create_vm, 0)
    newer, older = k[KvmVm].vm_list
    assert k[mm_struct].gmap_list == [newer.arch.gmap, older.arch.gmap]
    assert calls(k.events, "s390_enable_sie", 2) == []
    k.run_on("vmm", 0, close_fd, first)
    assert k[mm_struct].gmap_list == [newer.arch.gmap]


def test_place_of_the_sca() -> None:
    """kvm-s390.c: each SCA begins 16 bytes further, from 0 again when 2112 bytes have no room in the page."""
    k = loaded()
    k[KvmS390Vm].sca_offset = 4096 - 2112 - 16
    for _ in range(3):
        k.run_on("vmm", 0, kvm_dev_ioctl_create_vm, 0)
    assert [vm.arch.sca_offset for vm in k[KvmVm].vm_list] == [16, 0, 4096 - 2112]


def test_gmap_with_another_reference() -> None:
    """gmap.c: gmap_put() frees with the last reference only."""
    k = loaded()
    fd = k.run_on("vmm", 0, kvm_dev_ioctl_create_vm, 0)
    (vm,) = k[KvmVm].vm_list
    vm.arch.gmap.ref_count += 1
    k.run_on("vmm", 0, close_fd, fd)
    assert calls(k.events, "gmap_put") == []


def test_what_is_kept_can_be_copied() -> None:
    """A machine with a VM can be pickled, as snapshots are."""
    k = loaded()
    k.run_on("vmm", 0, kvm_dev_ioctl_create_vm, 0)
    (vm,) = k[KvmVm].vm_list
    arch = pickle.loads(pickle.dumps(vm.arch))
    assert (arch.sca.id, arch.sie_page2.id, arch.dbf.id) == ("bsca_block", "sie_page2", "kvm-vmm")


def test_config() -> None:
    """Kconfig: interrupt routing is selected; the MMIO ring and both notifiers are not."""
    seen = {name for _, _, name, _, _ in events(go("s390", "load", "create-vm"), 1)}
    assert "kvm_init_irq_routing" in seen
    assert not seen & {"kvm_coalesced_mmio_init", "kvm_init_mmu_notifier", "kvm_init_pm_notifier"}
