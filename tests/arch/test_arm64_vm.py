# SPDX-License-Identifier: GPL-2.0-only
"""VMs of the backend arm64 against the text of arch/arm64/kvm: arm.c, mmu.c, nested.c, vgic-init.c, pkvm.c."""

from __future__ import annotations

import pickle
from collections.abc import Sequence

import pytest
from reading import calls, undone

from arch.arm64.kvm.backend import Arm64
from arch.arm64.kvm.hyp_share import HypShare, kvm_unshare_hyp, unshare_pfn_hyp
from arch.arm64.kvm.nested import kvm_arch_flush_shadow_all
from arch.arm64.kvm.reset import Reset
from arch.arm64.kvm.stage2 import kvm_init_stage2_mmu
from arch.arm64.kvm.vmid import Vmid
from kvm_ref.errno import EINTR, EINVAL, EIO, ENOENT, ENOMEM, EPERM, Errno, KernelError
from kvm_ref.fault import Fault, arm
from kvm_ref.kernel import Kernel
from kvm_ref.linux.file import close_fd
from kvm_ref.scenario import Scenario, machine, perform
from kvm_ref.trace import Event
from kvm_ref.virt.kvm_host import kvm
from kvm_ref.virt.kvm_vm import KvmVm, kvm_dev_ioctl_create_vm
from kvm_ref.vocabulary import Vocabulary

MODES = ["nvhe", "vhe", "protected"]
# What the EL2 of an nVHE kernel keeps of a VM: mmu.c, kvm_unshare_hyp() does nothing there.
EL2 = {"nvhe": ["hyp_pgtable_page"], "vhe": [], "protected": []}
# mmu.c: kvm_init_stage2_mmu().
STAGE2 = ["pages:stage2_pgd", "percpu:percpu:last_vcpu_ran", "kmalloc:kvm_pgtable"]


def loaded(mode: str = "nvhe", **params: str) -> Kernel:
    """A machine on which KVM came up."""
    k = machine(Scenario("arm64", (), params={"kvm-arm.mode": mode, **params}), Arm64())
    assert perform(k, "load")[0].results == [0]
    k.record()
    return k


def create(k: Kernel, *faults: Fault, type: int = 0) -> int:
    """Create a VM, and return its descriptor or what ioctl(2) fails with."""
    arm(k, faults, Vocabulary.of(Arm64()))
    try:
        fd = k.run_on("vmm", 0, kvm_dev_ioctl_create_vm, type)
    except KernelError as error:
        return -(error.errno or 0)
    finally:
        k.armed = None
    assert isinstance(fd, int)
    return fd


def flush(k: Kernel) -> None:
    """Let the process end: exit_mmap() calls what was registered for its memory, before files are closed."""
    k.run_on("vmm", 0, kvm_arch_flush_shadow_all, the_vm(k))


def the_vm(k: Kernel) -> kvm:
    """The one VM there is."""
    (vm,) = k[KvmVm].vm_list
    return vm


def kept(events: Sequence[Event]) -> list[str]:
    """What was acquired and not released, as "kind:object", without the numbers of equal objects."""
    vocabulary = Vocabulary.of(Arm64())
    out: list[str] = []
    for kind, _, name, args, _ in events:
        facts = vocabulary.get(name)
        if facts is None or not args or "obj" not in args:
            continue
        if kind == "exit" and facts.acquires:
            out.append(f"{facts.acquires}:{args['obj']}")
        elif kind == "enter" and facts.releases and f"{facts.releases}:{args['obj']}" in out:
            out.remove(f"{facts.releases}:{args['obj']}")
    return sorted(what.partition("#")[0] for what in out)


def after(mode: str, *more: str) -> list[str]:
    """What is kept in this mode, and what else."""
    return sorted([f"pages:{page}" for page in EL2[mode]] + list(more))


def returned(events: Sequence[Event], function: str) -> list[object]:
    """What each call of a function returned."""
    return [value for kind, _, name, _, value in events if (kind, name) == ("exit", function)]


def pgtable(nth: int = 1) -> Fault:
    """No memory for the structure of a stage 2."""
    return Fault("kzalloc", nth, where=(("type", "kvm_pgtable"),))


# ---- the good path


@pytest.mark.parametrize("mode", MODES)
def test_order_of_init(mode: str) -> None:
    """arm.c: kvm_arch_init_vm() shows the VM to EL2 first; its stage 2 comes before the nested ones."""
    k = loaded(mode)
    assert create(k) == 4
    assert calls(k.events, "kvm_arch_init_vm") == [
        "kvm_share_hyp",
        "pkvm_init_host_vm",
        "zalloc_cpumask_var",
        "kvm_init_stage2_mmu",
        "kvm_init_nested",
        "kvm_vgic_early_init",
    ]
    assert calls(k.events, "kvm_init_stage2_mmu") == [
        "kvm_init_ipa_range",
        "kzalloc",
        "__kvm_pgtable_stage2_init",
        "alloc_percpu",
    ]


@pytest.mark.parametrize(
    ("mode", "allocated", "shared"),
    [
        ("nvhe", "kzalloc", ["kvm_host_owns_hyp_mappings", "create_hyp_mappings"]),
        ("vhe", "__vmalloc", []),
        ("protected", "kzalloc", ["kvm_host_owns_hyp_mappings", "share_pfn_hyp", "share_pfn_hyp"]),
    ],
)
def test_modes(mode: str, allocated: str, shared: list[str]) -> None:
    """arm.c: kvm_arch_alloc_vm(); mmu.c: kvm_share_hyp() maps, does nothing, or lends page by page."""
    k = loaded(mode)
    assert create(k) == 4
    assert calls(k.events, "kvm_arch_alloc_vm") == [allocated]
    assert calls(k.events, "kvm_share_hyp") == shared


@pytest.mark.parametrize("mode", MODES)
def test_order_of_destroy(mode: str) -> None:
    """arm.c: kvm_arch_destroy_vm() does not touch the stage 2; EL2 is asked only if it is protected."""
    k = loaded(mode)
    fd = create(k)
    k.run_on("vmm", 0, close_fd, fd)
    assert calls(k.events, "kvm_arch_destroy_vm") == [
        "bitmap_free",
        "free_cpumask_var",
        "kvm_vgic_destroy",
        *(["pkvm_destroy_hyp_vm"] if mode == "protected" else []),
        "kvm_destroy_mpidr_data",
        "kfree",
        "kvm_unshare_hyp",
        "kvm_destroy_nested",
    ]


@pytest.mark.parametrize("mode", MODES)
def test_all_is_given_back_when_the_process_ends(mode: str) -> None:
    """The memory goes first, and with it the stage 2; closing the VM gives the rest back."""
    k = loaded(mode)
    fd = create(k)
    flush(k)
    k.run_on("vmm", 0, close_fd, fd)
    assert kept(k.events) == after(mode)
    assert calls(k.events, "kvm_free_stage2_pgd") == ["free_percpu", "kvm_pgtable_stage2_destroy", "kfree"]


@pytest.mark.parametrize("mode", MODES)
def test_all_is_given_back_when_the_vm_is_closed(mode: str) -> None:
    """kvm_main.c: mmu_notifier_unregister() calls kvm_mmu_notifier_release(), which ends the stage 2."""
    k = loaded(mode)
    fd = create(k)
    k.run_on("vmm", 0, close_fd, fd)
    assert kept(k.events) == after(mode)


def test_stage2_ends_once() -> None:
    """mmu.c: kvm_free_stage2_pgd() does nothing for what is gone."""
    k = loaded()
    create(k)
    flush(k)
    flush(k)
    assert calls(k.events, "kvm_free_stage2_pgd", 2) == []


def test_locks_of_the_controller() -> None:
    """vgic-init.c: kvm_vgic_destroy() takes slots_lock, and config_lock inside it.

    Then arm.c takes config_lock alone, in pkvm_destroy_hyp_vm() and in kvm_destroy_mpidr_data().
    """
    k = loaded("protected")
    fd = create(k)
    k.run_on("vmm", 0, close_fd, fd)
    locks = [(kind, name) for kind, _, name, _, _ in k.events if name in ("slots_lock", "arch.config_lock")]
    assert locks == [
        ("lock", "slots_lock"),
        ("lock", "arch.config_lock"),
        ("unlock", "arch.config_lock"),
        ("unlock", "slots_lock"),
        ("lock", "arch.config_lock"),
        ("unlock", "arch.config_lock"),
        ("lock", "arch.config_lock"),
        ("unlock", "arch.config_lock"),
    ]


def test_debugfs() -> None:
    """arm.c: kvm_arch_create_vm_debugfs() makes the file of the ID registers."""
    k = loaded()
    create(k)
    assert calls(k.events, "kvm_arch_create_vm_debugfs") == ["kvm_sys_regs_create_debugfs"]


def test_what_is_kept_can_be_pickled() -> None:
    """A machine with a VM can be copied into another process."""
    k = loaded()
    create(k)
    copy = pickle.loads(pickle.dumps(the_vm(k).arch))
    assert copy.mmu.pgt.id == "kvm_pgtable#2"
    assert copy.mmu.last_vcpu_ran.cpu[0] == -1
    assert copy.supported_cpus[0].id == the_vm(k).arch.supported_cpus[0].id


# ---- the type


@pytest.mark.parametrize(
    ("mode", "limit", "type", "bits"),
    [
        ("nvhe", 48, 0, 40),
        ("nvhe", 48, 32, 32),
        ("nvhe", 48, 48, 48),
        ("vhe", 48, 36, 36),
        ("protected", 48, 0, 48),
        ("protected", 48, 31, 48),
        ("protected", 36, 0, 36),
    ],
)
def test_address_bits(mode: str, limit: int, type: int, bits: int) -> None:
    """mmu.c: kvm_init_ipa_range(); 40 bits unless the type says otherwise, all if EL2 is protected."""
    k = loaded(mode)
    k[Reset].kvm_ipa_limit = limit
    assert create(k, type=type) == 4
    # asm/kvm_arm.h: VTCR_EL2_VS_16BIT, VTCR_EL2_PS_SHIFT with 48 bits, VTCR_EL2_T0SZ().
    assert the_vm(k).arch.mmu.vtcr == 1 << 19 | 5 << 16 | 64 - bits


@pytest.mark.parametrize(("nth", "error"), [(1, EINVAL), (3, 0)])
def test_few_bits_of_all_cpus(nth: int, error: int) -> None:
    """reset.c, vmid.c: with PARANGE 1 no VM has 40 bits, with an unknown VMIDBits VMIDs have 8."""
    k = machine(Scenario("arm64", ()), Arm64())
    arm(k, [Fault("cpuid_feature_extract_unsigned_field", nth)], Vocabulary.of(Arm64()))
    assert perform(k, "load")[0].results == [0]
    assert k[Reset].kvm_ipa_limit == (36 if error else 48)
    assert k[Vmid].kvm_arm_vmid_bits == (16 if error else 8)
    assert create(k) == (-error or 4)


@pytest.mark.parametrize(("nth", "vtcr"), [(1, 1 << 19 | 1 << 16 | 24), (2, 5 << 16 | 24)])
def test_fields_of_vtcr(nth: int, vtcr: int) -> None:
    """hyp/pgtable.c: kvm_get_vtcr() reads PARANGE for PS, then VMIDBits for VS."""
    k = loaded()
    assert create(k, Fault("cpuid_feature_extract_unsigned_field", nth)) == 4
    assert the_vm(k).arch.mmu.vtcr == vtcr


@pytest.mark.parametrize(
    ("mode", "limit", "type"),
    [
        ("nvhe", 48, 0x100),
        ("protected", 48, 0x100),
        ("nvhe", 48, 31),
        ("nvhe", 48, 49),
        ("nvhe", 36, 0),
    ],
)
def test_types_that_are_none(mode: str, limit: int, type: int) -> None:
    """mmu.c: kvm_init_ipa_range() refuses other bits of the type, and too few or too many address bits."""
    k = loaded(mode)
    k[Reset].kvm_ipa_limit = limit
    assert create(k, type=type) == -EINVAL
    assert returned(k.events, "kvm_init_ipa_range") == [-EINVAL]
    assert undone(k.events, "kvm_arch_init_vm") == [
        ">err_free_cpumask",
        "free_cpumask_var",
        "kvm_unshare_hyp",
    ]
    assert kept(k.events) == after(mode)
    assert [line for line in k.log if "default IPA limit" in line] == (
        ["kvm: vmm using unsupported default IPA limit"] if not type else []
    )


def test_one_stage2_for_a_vm() -> None:
    """mmu.c: kvm_init_stage2_mmu() refuses a VM that has one."""
    k = loaded()
    create(k)
    with pytest.raises(KernelError) as caught:
        kvm_init_stage2_mmu(k, the_vm(k), the_vm(k).arch.mmu, 0)
    assert caught.value.errno == EINVAL


# ---- failures of kvm_arch_init_vm()


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("fault", "errno", "ladder"),
    [
        (Fault("pkvm_init_host_vm"), ENOMEM, [">err_unshare_kvm", "kvm_unshare_hyp"]),
        (Fault("zalloc_cpumask_var"), ENOMEM, [">err_unshare_kvm", "kvm_unshare_hyp"]),
        (pgtable(), ENOMEM, [">err_free_cpumask", "free_cpumask_var", "kvm_unshare_hyp"]),
        (Fault("alloc_pages_exact"), ENOMEM, [">err_free_cpumask", "free_cpumask_var", "kvm_unshare_hyp"]),
        (Fault("alloc_percpu"), ENOMEM, [">err_free_cpumask", "free_cpumask_var", "kvm_unshare_hyp"]),
        (
            Fault("kvmalloc_objs"),
            ENOMEM,
            [
                ">err_uninit_mmu",
                "kvm_uninit_stage2_mmu",
                "kvm_destroy_nested",
                "free_cpumask_var",
                "kvm_unshare_hyp",
            ],
        ),
    ],
    ids=lambda value: str(value) if isinstance(value, Fault) else None,
)
def test_init_fails(mode: str, fault: Fault, errno: Errno, ladder: list[str]) -> None:
    """arm.c: each failing step of kvm_arch_init_vm() undoes those before it, and all is given back."""
    k = loaded(mode)
    assert create(k, fault) == -errno
    assert undone(k.events, "kvm_arch_init_vm") == ladder
    assert "kvm_arch_destroy_vm" not in [name for _, _, name, _, _ in k.events]
    assert kept(k.events) == after(mode)
    assert k[HypShare].hyp_shared_pfns == {}


@pytest.mark.parametrize(
    ("fault", "ladder"),
    [
        (Fault("alloc_pages_exact"), [">out_free_pgtable", "kfree"]),
        (Fault("alloc_percpu"), [">out_destroy_pgtable", "kvm_pgtable_stage2_destroy", "kfree"]),
    ],
)
def test_stage2_fails(fault: Fault, ladder: list[str]) -> None:
    """mmu.c: the labels of kvm_init_stage2_mmu()."""
    k = loaded()
    assert create(k, fault) == -ENOMEM
    assert undone(k.events, "kvm_init_stage2_mmu") == ladder


@pytest.mark.parametrize(("mode", "function"), [("nvhe", "kzalloc"), ("vhe", "__vmalloc")])
def test_no_memory_for_the_vm(mode: str, function: str) -> None:
    """arm.c: kvm_arch_alloc_vm() returns NULL, and nothing was done."""
    k = loaded(mode)
    assert create(k, Fault(function)) == -ENOMEM
    assert returned(k.events, "kvm_arch_alloc_vm") == ["NULL"]
    assert kept(k.events) == []


def test_mapping_fails() -> None:
    """arm.c: kvm_arch_init_vm() returns at once if kvm_share_hyp() cannot map the VM."""
    k = loaded()
    assert create(k, Fault("get_zeroed_page")) == -ENOMEM
    assert calls(k.events, "kvm_arch_init_vm") == ["kvm_share_hyp"]
    assert kept(k.events) == []


# ---- what 6.12.117 leaves behind


def test_a_page_stays_lent_if_the_next_cannot_be() -> None:
    """mmu.c: kvm_share_hyp() gives nothing back, and no label of kvm_arch_init_vm() does either."""
    k = loaded("protected")
    assert create(k, Fault("kzalloc", 2, where=(("type", "hyp_shared_pfn"),))) == -ENOMEM
    assert calls(k.events, "kvm_arch_init_vm") == ["kvm_share_hyp"]
    assert kept(k.events) == ["hyp_share:struct kvm+0", "kmalloc:hyp_shared_pfn"]

    # The next VM at this address lends it a second time, and gives it back once.
    k.record()
    fd = create(k)
    assert k[HypShare].hyp_shared_pfns["struct kvm+0"].count == 2
    flush(k)
    k.run_on("vmm", 0, close_fd, fd)
    assert kept(k.events) == []
    assert {pfn: this.count for pfn, this in k[HypShare].hyp_shared_pfns.items()} == {"struct kvm+0": 1}


def test_a_page_counts_as_lent_if_el2_refuses() -> None:
    """mmu.c: share_pfn_hyp() leaves the entry, and the next VM at this address is not shown to EL2."""
    k = loaded("protected")
    assert create(k, Fault("__pkvm_host_share_hyp")) == -EPERM
    assert kept(k.events) == ["kmalloc:hyp_shared_pfn"]

    k.record()
    assert create(k) == 4
    assert calls(k.events, "share_pfn_hyp") == []
    assert calls(k.events, "share_pfn_hyp", 2) == ["kzalloc", "__pkvm_host_share_hyp"]


@pytest.mark.parametrize("mode", MODES)
def test_stage2_stays_if_no_notifier_was_registered(mode: str) -> None:
    """kvm_main.c: out_err_no_mmu_notifier calls kvm_arch_destroy_vm(), which leaves the stage 2 behind."""
    k = loaded(mode)
    assert create(k, Fault("mmu_notifier_register")) == -EINTR
    assert "kvm_arch_destroy_vm" in undone(k.events, "kvm_create_vm")
    assert kept(k.events) == after(mode, *STAGE2)


def test_stage2_stays_if_no_cpu_could_be_enabled() -> None:
    """kvm_main.c: so does out_err_no_disable, where virtualization is enabled with the first VM."""
    k = loaded(**{"kvm.enable_virt_at_load": "0"})
    assert create(k, Fault("kvm_arch_enable_virtualization_cpu")) == -EIO
    assert undone(k.events, "kvm_create_vm")[:2] == [">out_err_no_disable", "kvm_arch_destroy_vm"]
    assert kept(k.events) == after("nvhe", *STAGE2)


# ---- taking a VM back from EL2


def test_page_that_was_not_lent() -> None:
    """mmu.c: unshare_pfn_hyp() warns, and says -ENOENT."""
    k = loaded("protected")
    with pytest.raises(KernelError) as caught:
        unshare_pfn_hyp(k, "struct kvm+0")
    assert caught.value.errno == ENOENT


def test_el2_keeps_a_page() -> None:
    """mmu.c: kvm_unshare_hyp() warns if EL2 refuses, and goes on with the next page."""
    k = loaded("protected")
    create(k)
    arm(k, [Fault("__pkvm_host_unshare_hyp")], Vocabulary.of(Arm64()))
    kvm_unshare_hyp(k, the_vm(k))
    assert returned(k.events, "unshare_pfn_hyp") == [-EPERM, 0]
    assert k[HypShare].hyp_shared_pfns == {}
