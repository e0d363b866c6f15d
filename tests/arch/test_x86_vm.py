# SPDX-License-Identifier: GPL-2.0-only
"""VMs on x86 against x86.c, mmu/mmu.c, mmu/page_track.c, svm/{svm,avic}.c and vmx/vmx.c of 6.12.117.

Sequences were read by hand from the C; what a real kernel did is compared in tests/test_compare.py.
"""

from __future__ import annotations

import pickle
from typing import Any

import pytest
from leftovers import events, held, results
from reading import calls, go, undone

from arch.x86.kernel.bugs import Bugs, l1tf_mitigations
from arch.x86.kvm.backends import X86Svm
from arch.x86.kvm.svm_vm import SvmVm, avic_vm_init, kvm_svm
from arch.x86.kvm.vmx_vm import L1TF_MSG_L1D, L1TF_MSG_SMT
from kvm_ref import backend as backends
from kvm_ref.errno import KernelError
from kvm_ref.fault import arm, parse
from kvm_ref.judges import judge_all
from kvm_ref.kernel import Kernel
from kvm_ref.linux.file import close_fd
from kvm_ref.scenario import Cpus, Run, Scenario, machine, perform, run
from kvm_ref.trace import Event
from kvm_ref.virt.kvm_host import kvm
from kvm_ref.virt.kvm_vm import KvmVm, kvm_dev_ioctl_create_vm
from kvm_ref.vocabulary import Vocabulary

BOTH = pytest.mark.parametrize("name", ["x86-svm", "x86-vmx"])
AVIC = {"avic": "1"}
SRSO = {"srso_bp_spec_reduce": True}
GONE = ["create-vm", "close-vm"]


def loaded(name: str, **more: Any) -> Kernel:
    """A machine with two CPUs and the vendor's module."""
    k = machine(Scenario(name, (), cpus=Cpus.of((0, 1)), **more), backends.load(name))
    perform(k, "load")
    k.record()
    return k


def create(k: Kernel, type: int = 0) -> int:
    """Create a VM of a type, and return its descriptor."""
    fd = k.run_on("vmm", 0, kvm_dev_ioctl_create_vm, type)
    assert isinstance(fd, int)
    return fd


def kept(done: Run) -> list[tuple[str, object]]:
    """What is held at the end of a run, beyond what is held after a load alone."""
    backend = backends.load(done.scenario.backend)
    before = held(backend, go(done.scenario.backend, "load", params=done.scenario.params))
    after = held(backend, done)
    for each in before:
        after.remove(each)
    return after


def blamed(done: Run) -> list[str]:
    """What the judges say of a run."""
    vocabulary = Vocabulary.of(backends.load(done.scenario.backend))
    return [str(finding) for finding in judge_all(done.trace, vocabulary)]


@BOTH
def test_create_and_destroy_follow_the_c(name: str) -> None:
    """kvm_arch_init_vm() and kvm_arch_destroy_vm() in x86.c: the vendor comes last and goes first."""
    vendor = {"x86-svm": "svm", "x86-vmx": "vmx"}[name]
    done = go(name, "load", *GONE)
    made, gone = events(done, 1), events(done, 2)
    assert results(done) == [0, 0, 0]
    assert calls(made, "kvm_arch_alloc_vm") == ["__vmalloc"]
    assert calls(made, "kvm_arch_init_vm") == [
        "kvm_is_vm_type_supported",
        "kvm_page_track_init",
        "kvm_mmu_init_vm",
        f"{vendor}_vm_init",
    ]
    assert calls(made, "kvm_page_track_init") == ["init_srcu_struct"]
    assert calls(made, "kvm_mmu_init_vm") == ["kvm_mmu_alloc_page_hash"]
    assert calls(made, "kvm_mmu_alloc_page_hash") == ["kvcalloc"]
    assert calls(made, "kvm_arch_post_init_vm") == []
    assert calls(made, "kvm_arch_create_vm_debugfs") == ["debugfs_create_file"]
    assert calls(gone, "kvm_arch_sync_events") == ["cancel_delayed_work_sync"] * 2
    assert calls(gone, "kvm_arch_pre_destroy_vm") == ["kvm_mmu_pre_destroy_vm"]
    assert calls(gone, "kvm_arch_destroy_vm") == [
        "__x86_set_memory_region",
        "__x86_set_memory_region",
        "__x86_set_memory_region",
        f"{vendor}_vm_destroy",
        "kvfree",  # apic_map
        "kfree",  # pmu_event_filter
        "kvm_mmu_uninit_vm",
        "kvm_page_track_cleanup",
    ]
    assert calls(gone, "kvm_mmu_uninit_vm") == ["kvfree"]
    assert calls(gone, "kvm_page_track_cleanup") == ["cleanup_srcu_struct"]
    assert calls(gone, "kvm_arch_free_vm") == ["kfree", "kvfree"]
    assert kept(done) == []
    assert blamed(done) == []


def destroyed(events: list[Event]) -> list[tuple[str, object]]:
    """What kvm_arch_destroy_vm() does with the memory slots of KVM's own, in order: the lock, and which slot."""
    return [
        (kind, (a or {}).get("id"))
        for kind, _, name, a, _ in events
        if name == "slots_lock" or (kind, name) == ("enter", "__x86_set_memory_region")
    ]


@BOTH
def test_translations_go_with_the_memory(name: str) -> None:
    """kvm_arch_flush_shadow_all() in mmu/mmu.c is kvm_mmu_zap_all(); the MMU notifier's release reaches it."""
    gone = events(go(name, "load", *GONE), 2)
    assert calls(gone, "kvm_flush_shadow_all") == ["kvm_arch_flush_shadow_all"]
    assert calls(gone, "kvm_arch_flush_shadow_all") == ["kvm_mmu_zap_all"]


# KVM_USER_MEM_SLOTS is 0x7fff - 3: APIC_ACCESS_PAGE, IDENTITY_PAGETABLE, TSS_PRIVATE_MEMSLOT (asm/vmx.h).
SLOTS = [("lock", None), ("enter", 32765), ("enter", 32766), ("enter", 32764), ("unlock", None)]


@BOTH
def test_slots_of_kvm_s_own_go_under_their_lock(name: str) -> None:
    """kvm_arch_destroy_vm() in x86.c: three slots under slots_lock, also on kvm_create_vm()'s error path."""
    done = go(name, "load", *GONE)
    assert destroyed(events(done, 2)) == SLOTS
    done = go(name, "load", "create-vm", fail="mmu_notifier_register")
    assert destroyed(events(done, 1)) == SLOTS


def test_slots_stay_where_another_process_gives_the_vm_up() -> None:
    """kvm_arch_destroy_vm() in x86.c: current->mm is not kvm->mm, so no lock and no slot."""
    k = loaded("x86-svm")
    fd = create(k)
    k.record()
    k.run_on("another", 1, close_fd, fd)
    assert destroyed(k.events) == []
    assert calls(k.events, "kvm_arch_destroy_vm")[0] == "svm_vm_destroy"


@BOTH
def test_a_vm_is_as_large_as_the_vendor_says(name: str) -> None:
    """kvm_arch_alloc_vm() in asm/kvm_host.h asks for vm_size bytes of the vendor's operations."""
    made = events(go(name, "load", "create-vm"), 1)
    wanted = {"x86-svm": "struct kvm_svm", "x86-vmx": "struct kvm_vmx"}[name]
    assert [a for kind, _, f, a, _ in made if (kind, f) == ("enter", "__vmalloc")] == [{"type": wanted}]


@pytest.mark.parametrize("fault", ["kvm_arch_alloc_vm", "__vmalloc"])
def test_no_memory_for_the_vm(fault: str) -> None:
    """kvm_create_vm() gives -ENOMEM before anything else is held."""
    done = go("x86-svm", "load", "create-vm", fail=fault)
    assert results(done) == [0, -12]
    assert kept(done) == []


@pytest.mark.parametrize(
    ("fault", "after", "errno"),
    [
        ("kvm_is_vm_type_supported", [], -22),
        ("kvm_page_track_init", [">out"], -12),
        ("init_srcu_struct#3", [">out"], -12),
        ("kvm_mmu_init_vm", [">out_cleanup_page_track", "kvm_page_track_cleanup"], -12),
        ("kvcalloc", [">out_cleanup_page_track", "kvm_page_track_cleanup"], -12),
        ("svm_vm_init", [">out_uninit_mmu", "kvm_mmu_uninit_vm", "kvm_page_track_cleanup"], -12),
    ],
)
def test_the_labels_of_init_vm(fault: str, after: list[str], errno: int) -> None:
    """kvm_arch_init_vm() in x86.c: -EINVAL at once, then out, out_cleanup_page_track, out_uninit_mmu."""
    done = go("x86-svm", "load", "create-vm", fail=fault)
    made = events(done, 1)
    assert results(done) == [0, errno]
    if after:
        assert undone(made, "kvm_arch_init_vm") == after
    else:
        assert calls(made, "kvm_arch_init_vm") == ["kvm_is_vm_type_supported"]
    assert "kvm_arch_destroy_vm" not in [name for _, _, name, _, _ in made]
    assert kept(done) == []


@BOTH
@pytest.mark.parametrize("fault", ["init_srcu_struct", "kvm_arch_init_vm"])
def test_freed_without_init(name: str, fault: str) -> None:
    """kvm_arch_free_vm() in x86.c frees a VM that kvm_arch_init_vm() never saw."""
    done = go(name, "load", "create-vm", fail=fault)
    assert calls(events(done, 1), "kvm_arch_free_vm") == ["kfree", "kvfree"]
    assert kept(done) == []


@BOTH
@pytest.mark.parametrize(
    "fault", ["mmu_notifier_register", "kvm_coalesced_mmio_init", "anon_inode_getfile", "kzalloc#6"]
)
def test_later_failures_destroy_it(name: str, fault: str) -> None:
    """out_err_no_disable in kvm_create_vm(), and kvm_put_kvm(): kvm_arch_destroy_vm() gives all back."""
    done = go(name, "load", "create-vm", fail=fault)
    assert results(done)[1] != 0
    assert [f for kind, _, f, _, _ in events(done, 1) if kind == "enter"].count("kvm_arch_destroy_vm") == 1
    assert kept(done) == []
    assert blamed(done) == []


@BOTH
@pytest.mark.parametrize("type", [1, 2, 31, 32])
def test_other_types(name: str, type: int) -> None:
    """kvm_is_vm_type_supported() in x86.c: without CONFIG_KVM_SW_PROTECTED_VM and SEV only type 0."""
    k = loaded(name)
    with pytest.raises(KernelError) as caught:
        create(k, type)
    assert caught.value.errno == 22


def test_a_kernel_without_external_write_tracking() -> None:
    """page_track.h: without CONFIG_KVM_EXTERNAL_WRITE_TRACKING both functions are empty."""

    class Without(X86Svm):
        config = X86Svm.config - {"KVM_EXTERNAL_WRITE_TRACKING"}

    done = run(Scenario("x86-svm", ("load", *GONE)), Without())
    made, gone = events(done, 1), events(done, 2)
    assert calls(made, "kvm_arch_init_vm")[1] == "kvm_mmu_init_vm"
    assert calls(gone, "kvm_arch_destroy_vm")[-1] == "kvm_mmu_uninit_vm"
    assert sum(name == "init_srcu_struct" for kind, _, name, _, _ in made if kind == "enter") == 2
    assert results(done) == [0, 0, 0]


def test_svm_follows_the_c() -> None:
    """svm_vm_init() and svm_vm_destroy() in svm.c, avic_vm_init() and avic_vm_destroy() in avic.c."""
    done = go("x86-svm", "load", *GONE, params=AVIC)
    made, gone = events(done, 1), events(done, 2)
    assert calls(made, "svm_vm_init") == ["avic_vm_init", "svm_srso_vm_init"]
    assert calls(made, "avic_vm_init") == ["alloc_page", "alloc_page", "hash_add"]
    assert calls(gone, "svm_vm_destroy") == ["avic_vm_destroy", "sev_vm_destroy", "svm_srso_vm_destroy"]
    assert calls(gone, "avic_vm_destroy") == ["__free_page", "__free_page", "hash_del"]
    freed = [a["obj"] for kind, _, f, a, _ in gone if (kind, f) == ("enter", "__free_page") and a]
    assert freed == ["avic_logical_id_table", "avic_physical_id_table"]
    assert kept(done) == []


def test_svm_without_avic() -> None:
    """Without AVIC, svm_vm_init() does not ask for it, and avic_vm_destroy() returns at once."""
    done = go("x86-svm", "load", *GONE)
    assert calls(events(done, 1), "svm_vm_init") == ["svm_srso_vm_init"]
    assert calls(events(done, 2), "avic_vm_destroy") == []


def test_avic_vm_init_without_avic() -> None:
    """avic_vm_init() in avic.c asks again whether there is AVIC, and if not does nothing."""
    k = loaded("x86-svm")
    close_fd(k, create(k))
    fd = create(k)
    k.record()
    avic_vm_init(k, k[KvmVm].vm_list[0])
    assert [name for _, _, name, _, _ in k.events] == ["avic_vm_init"] * 2
    close_fd(k, fd)


@pytest.mark.parametrize(
    ("fault", "after"),
    [
        ("avic_vm_init", []),
        ("alloc_page", ["hash_del"]),
        ("alloc_page#2", ["__free_page", "hash_del"]),
    ],
)
def test_the_label_free_avic(fault: str, after: list[str]) -> None:
    """free_avic in avic_vm_init(): as many tables go as were there; svm_vm_destroy() is not called."""
    done = go("x86-svm", "load", "create-vm", fail=fault, params=AVIC)
    made = events(done, 1)
    assert results(done) == [0, -12]
    if after:
        assert undone(made, "avic_vm_init") == [">free_avic", "avic_vm_destroy"]
        assert calls(made, "avic_vm_destroy") == after
    assert calls(made, "svm_vm_init") == ["avic_vm_init"]
    assert "svm_vm_destroy" not in [name for _, _, name, _, _ in made]
    assert kept(done) == []


def test_srso_counts_vms() -> None:
    """svm_srso_vm_init() and svm_srso_vm_destroy() in svm.c: every CPU is told after the last VM."""
    k = loaded("x86-svm", features=SRSO)
    first, second = create(k), create(k)
    assert k[SvmVm].srso_nr_vms == 2
    k.record()
    k.run_on("vmm", 0, close_fd, first)
    assert calls(k.events, "svm_srso_vm_destroy") == []
    k.record()
    k.run_on("vmm", 0, close_fd, second)
    assert calls(k.events, "svm_srso_vm_destroy") == ["on_each_cpu"]
    told = [
        at.cpu for kind, at, f, _, _ in k.events if (kind, f) == ("enter", "svm_srso_clear_bp_spec_reduce")
    ]
    assert sorted(told) == [0, 1]
    assert k[SvmVm].srso_nr_vms == 0


def test_srso_does_not_count_a_vm_that_failed() -> None:
    """svm_vm_init() in svm.c counts last, so a failed avic_vm_init() leaves no count behind."""
    k = loaded("x86-svm", features=SRSO, params=AVIC)
    backend = backends.load("x86-svm")
    arm(k, [parse("avic_vm_init")], Vocabulary.of(backend))
    with pytest.raises(KernelError):
        create(k)
    assert k[SvmVm].srso_nr_vms == 0


def test_vmx_follows_the_c() -> None:
    """vmx_vm_init() in vmx.c returns 0; vmx_vm_destroy() frees the table that no vCPU has brought."""
    done = go("x86-vmx", "load", *GONE)
    assert [v for kind, _, f, _, v in events(done, 1) if (kind, f) == ("exit", "vmx_vm_init")] == [0]
    assert calls(events(done, 2), "vmx_vm_destroy") == ["free_pages"]
    assert [a for kind, _, f, a, _ in events(done, 2) if (kind, f) == ("enter", "free_pages")] == [
        {"obj": "NULL"}
    ]


@pytest.mark.parametrize(
    ("mitigation", "features", "params", "log"),
    [
        ("FLUSH", {}, {}, []),
        ("FLUSH", {"smt": True}, {}, [L1TF_MSG_SMT]),
        ("FLUSH_NOSMT", {"smt": True}, {}, [L1TF_MSG_SMT]),
        ("FULL", {"smt": True}, {"vmentry_l1d_flush": "never"}, [L1TF_MSG_SMT, L1TF_MSG_L1D]),
        ("FLUSH", {}, {"vmentry_l1d_flush": "never"}, [L1TF_MSG_L1D]),
        ("OFF", {"smt": True}, {"vmentry_l1d_flush": "never"}, []),
        ("FLUSH_NOWARN", {"smt": True}, {"vmentry_l1d_flush": "never"}, []),
        ("FULL_FORCE", {"smt": True}, {"vmentry_l1d_flush": "never"}, []),
        ("FLUSH", {"smt": True}, {"ept": "0"}, []),
        ("FLUSH", {"smt": True, "l1tf_bug": False}, {}, []),
    ],
)
def test_l1tf_warnings(
    mitigation: str, features: dict[str, bool], params: dict[str, str], log: list[str]
) -> None:
    """vmx_vm_init() in vmx.c: which lines the first VM brings, and that the second brings none."""
    scenario = Scenario("x86-vmx", (), features={"l1tf_bug": True, **features}, params=params)
    k = machine(scenario, backends.load("x86-vmx"))
    k[Bugs].l1tf_mitigation = l1tf_mitigations[f"L1TF_MITIGATION_{mitigation}"]
    perform(k, "load")
    k.log = []
    create(k)
    create(k)
    assert k.log == log


def test_l1tf_warnings_come_again_with_the_module() -> None:
    """The flags of pr_warn_once() lie in kvm-intel.ko, so that a reload forgets them."""
    features = {"l1tf_bug": True, "smt": True}
    done = go("x86-vmx", *["load", *GONE, "unload"] * 2, features=features)
    assert done.trace.log == [L1TF_MSG_SMT] * 2


def test_a_vm_can_be_stored() -> None:
    """A machine with a VM is kept by pickle, the vendor's part with it."""
    k = loaded("x86-svm", params=AVIC)
    create(k)
    vm: kvm = pickle.loads(pickle.dumps(k[KvmVm].vm_list[0]))
    assert isinstance(vm.arch, kvm_svm)
    assert vm.arch.hnode.id == "struct kvm_svm.hnode"
