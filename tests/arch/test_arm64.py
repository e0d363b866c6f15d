# SPDX-License-Identifier: GPL-2.0-only
"""The backend arm64 against the text of arch/arm64/kvm: arm.c, mmu.c, vgic/*.c, arch_timer.c, pkvm.c."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from leftovers import changed, events, everything, held, results
from reading import calls, go, undone, writes

from arch.arm64.kernel.smp import boot_secondary
from arch.arm64.kvm.arm_data import Arm, early_kvm_mode_cfg
from arch.arm64.kvm.backend import Arm64
from arch.arm64.kvm.boot import boot
from arch.arm64.kvm.cpu import cpu_hyp_uninit, hyp_install_host_vector
from arch.arm64.kvm.hyp.nvhe.hyp_main import __pkvm_prot_finalize
from arch.arm64.kvm.hyp.pgtable import kvm_pgtable
from arch.arm64.kvm.mmu import (
    Mmu,
    create_hyp_io_mappings,
    create_hyp_mappings,
    kvm_host_owns_hyp_mappings,
)
from arch.arm64.kvm.pkvm import finalize_pkvm
from arch.arm64.kvm.pkvm_data import Pkvm
from kvm_ref.errno import (
    EBUSY,
    EEXIST,
    EINVAL,
    EIO,
    ENODEV,
    ENOENT,
    ENOMEM,
    ENOSYS,
    ENXIO,
    EPERM,
    Errno,
    KernelError,
)
from kvm_ref.kernel import Kernel, KernelBug
from kvm_ref.scenario import Cpus, Run, Scenario
from kvm_ref.scenario import run as run_scenario
from kvm_ref.vocabulary import Vocabulary

# VBAR_EL2: the stub, KVM's code in the identity map, KVM (kernel/hyp-stub.S, hyp/nvhe/hyp-init.S, host.S).
STUB, IDMAP, HOST = 0x4080_0000, 0x4100_0000, 0x4100_8000
# SCTLR_EL2 (asm/sysreg.h): RES1; and with M, C, SA, I, WXN, IESB, ITFSB.
MMU_OFF = 0x30C5_0830
MMU_ON = MMU_OFF | 1 << 0 | 1 << 2 | 1 << 3 | 1 << 12 | 1 << 19 | 1 << 21 | 1 << 37
# HCR_EL2 (asm/kvm_arm.h): RW, APK, API, ATA; protected KVM adds TSC, and VM at the very end.
HCR = 1 << 31 | 1 << 40 | 1 << 41 | 1 << 56
TSC, VM = 1 << 19, 1 << 0

# arm.c: hyp_install_host_vector(); hyp-init.S: ___kvm_hyp_init, and "reset".
TAKE = [("VBAR_EL2", IDMAP), ("HCR_EL2", HCR), ("SCTLR_EL2", MMU_ON), ("VBAR_EL2", HOST)]
BACK = [("SCTLR_EL2", MMU_OFF), ("VBAR_EL2", STUB)]
TAKE_PROTECTED = [("VBAR_EL2", IDMAP), ("HCR_EL2", HCR | TSC), ("SCTLR_EL2", MMU_ON), ("VBAR_EL2", HOST)]

# arm.c: kvm_arm_init() up to "if (!in_hyp_mode)".
BEFORE = [
    "is_hyp_mode_available",
    "kvm_sys_reg_table_init",
    "kvm_set_ipa_limit",
    "kvm_arm_init_sve",
    "kvm_arm_vmid_alloc_init",
]
SUBSYSTEMS = ["on_each_cpu", "hyp_cpu_pm_init", "kvm_vgic_hyp_init", "kvm_timer_hyp_init"]
# arm.c: teardown_hyp_mode() for two CPUs.
TEARDOWN = ["free_hyp_pgds", "free_page", "free_pages", "free_page", "free_pages"]

VGIC, VTIMER, PTIMER = 25, 27, 30
DEVICES = [5, 7, 8]


def load(mode: str = "nvhe", fail: str = "", *verbs: str, cpus: int = 2, **features: bool) -> Run:
    params = {"kvm-arm.mode": mode}
    return go("arm64", "load", *verbs, fail=fail, cpus=cpus, params=params, features=features)


def left(run: Run, *kinds: str) -> list[tuple[str, object]]:
    """What the run holds at its end, of these kinds."""
    return [(kind, obj) for kind, obj in held(Arm64(), run) if kind in kinds]


def entered(run: Run, function: str, *args: str) -> list[Any]:
    """The recorded arguments of every call of a function."""
    return [
        tuple((got or {})[a] for a in args)
        for kind, _, name, got, _ in events(run)
        if (kind, name) == ("enter", function)
    ]


def value(run: Run, function: str) -> list[object]:
    """What every call of a function returned."""
    return [v for kind, _, name, _, v in events(run) if (kind, name) == ("exit", function)]


# ---- the good path


def test_order_of_init() -> None:
    """kvm_arm_init() makes room for EL2, lays out the vectors, and calls kvm_init() last but one."""
    run = load()
    assert results(run) == [0]
    assert calls(events(run), "kvm_arm_init") == [
        *BEFORE,
        "init_hyp_mode",
        "kvm_init_vector_slots",
        "init_subsystems",
        "kvm_init",
        "finalize_init_hyp_mode",
    ]


def test_order_of_init_hyp_mode() -> None:
    """init_hyp_mode(): page table, stacks, per-CPU pages, five sections, then the pages of each CPU."""
    run = load()
    assert calls(events(run), "init_hyp_mode") == [
        "kvm_mmu_init",
        *["__get_free_page"] * 2,
        *["alloc_pages"] * 2,
        *["create_hyp_mappings"] * 5,
        *["per_cpu_ptr_nvhe_sym", "create_hyp_stack"] * 2,
        *["create_hyp_mappings", "cpu_prepare_hyp_mode"] * 2,
        "kvm_hyp_init_symbols",
    ]
    assert entered(run, "create_hyp_mappings", "what", "prot") == [
        ("__hyp_text_start", "PAGE_HYP_EXEC"),
        ("__hyp_rodata_start", "PAGE_HYP_RO"),
        ("__start_rodata", "PAGE_HYP_RO"),
        ("__hyp_bss_start", "PAGE_HYP"),
        ("__hyp_bss_end", "PAGE_HYP_RO"),
        ("kvm_arm_hyp_percpu_base", "PAGE_HYP"),
        ("kvm_arm_hyp_percpu_base#2", "PAGE_HYP"),
    ]


def test_order_of_init_subsystems() -> None:
    """init_subsystems() takes EL2 of every CPU first, and hands it back last."""
    run = load()
    expected = [*SUBSYSTEMS, "kvm_register_perf_callbacks", "on_each_cpu"]
    assert calls(events(run), "init_subsystems") == expected
    assert entered(run, "on_each_cpu", "func")[:2] == [("cpu_hyp_init",), ("cpu_hyp_uninit",)]


def test_order_of_cpu_hyp_init() -> None:
    """cpu_hyp_reinit() resets, takes EL2, and sets it up; the controller only once it is known."""
    run = load()
    found = events(run)
    assert calls(found, "cpu_hyp_reinit") == [
        "cpu_hyp_reset",
        "cpu_hyp_init_context",
        "cpu_hyp_init_features",
    ]
    assert calls(found, "cpu_hyp_init_features", 1) == ["cpu_set_hyp_vector", "kvm_arm_init_debug"]
    third = calls(found, "cpu_hyp_init_features", 3)
    assert third == ["cpu_set_hyp_vector", "kvm_arm_init_debug", "kvm_vgic_init_cpu_hardware"]
    up = calls(found, "kvm_arch_enable_virtualization_cpu")
    assert up == ["cpu_hyp_init", "kvm_vgic_cpu_up", "kvm_timer_cpu_up"]


@pytest.mark.parametrize("cpu", [0, 1, 2])
def test_el2_of_each_cpu(cpu: int) -> None:
    """Each CPU's EL2 is taken in init_subsystems(), handed back, and taken again through cpuhp."""
    run = load(cpus=3)
    assert writes(events(run), cpu) == TAKE + BACK + TAKE
    assert run.trace.after["1 load"]["el2_cpus"] == [0, 1, 2]


def test_offline_cpu() -> None:
    """Memory is for every possible CPU, EL2 is taken of those that run (arm.c: on_each_cpu())."""
    k = Kernel(Arm64(), possible=range(3), online=[0, 1])
    found = k.record()
    boot(k)
    assert [c for c in range(3) if writes(found, c)] == [0, 1]
    assert sum(kind == "enter" and name == "__get_free_page" for kind, _, name, _, _ in found) == 3


# cpus: 0 and 1 run when KVM is initialized, 2 does not.
SOME = Cpus((0, 1, 2), (0, 1, 2), (0, 1))


def test_protected_kvm_starts_no_other_cpu() -> None:
    """psci-relay.c: psci_cpu_on() refuses a CPU that did not run at init; psci.c hands -EINVAL on."""
    params = {"kvm-arm.mode": "protected"}
    done = run_scenario(
        Scenario("arm64", ("load", "online=2", "offline=1", "online=1"), cpus=SOME, params=params)
    )
    assert results(done) == [0, -EINVAL, 0, 0]
    assert calls(events(done, 1), "__cpu_up") == ["cpu_psci_cpu_boot"]
    assert calls(events(done, 1), "cpu_psci_cpu_boot") == ["psci_cpu_on"]
    assert [e[4] for e in events(done, 1) if e[:1] == ("exit",) and e[2] == "psci_cpu_on"] == [-2]
    assert calls(events(done, 1), "bringup_cpu") == ["idle_thread_get", "__cpu_up", ">out_unlock"]
    assert [e[4] for e in events(done, 3) if e[:1] == ("exit",) and e[2] == "psci_cpu_on"] == [0]
    assert done.trace.log[-1] == "psci: CPU2 is not started (-22)"
    assert writes(everything(done), 2) == []


@pytest.mark.parametrize("mode", ["nvhe", "vhe", "none"])
def test_any_cpu_starts_without_protection(mode: str) -> None:
    """Only protected KVM sets HCR_TSC, which has EL2 see the call."""
    params = {"kvm-arm.mode": mode}
    done = run_scenario(Scenario("arm64", ("load", "online=2"), cpus=SOME, params=params))
    assert results(done)[1] == 0
    assert calls(events(done, 1), "__cpu_up") == ["cpu_psci_cpu_boot"]
    assert "psci_cpu_on" not in {name for _, _, name, _, _ in events(done, 1)}


def test_a_cpu_starts_without_psci() -> None:
    """boot_secondary() of smp.c: a spin table makes no call, so nothing of it can be seen."""
    k = Kernel(Arm64(), features={"psci": False})
    boot_secondary(k, 1)
    assert k.events == []


def test_virtualization_not_at_load() -> None:
    """With enable_virt_at_load=0 no CPU keeps EL2 after init_subsystems()."""
    run = go("arm64", "load", params={"enable_virt_at_load": "0"})
    assert writes(events(run), 1) == TAKE + BACK
    assert changed(run) == {}
    assert run.trace.after["1 load"]["el2_cpus"] == []


def test_built_in() -> None:
    """There is no module_exit(): unloading fails, and nothing is given back."""
    run = load("nvhe", "", "unload", "load")
    assert results(run) == [0, -ENOENT, -EEXIST]
    assert left(run, "irq", "device_ops")[:3] == [("device_ops", 5), ("device_ops", 7), ("device_ops", 8)]


def test_config() -> None:
    """arch/arm64/kvm/Kconfig selects irqchip and VFIO, neither async page faults nor private memory."""
    seen = {name for _, _, name, _, _ in events(load())}
    assert {"kvm_irqfd_init", "kvm_vfio_ops_init", "kvm_init_virtualization"} <= seen
    assert not seen & {"kvm_async_pf_init", "kvm_gmem_init"}


def test_vhe() -> None:
    """A kernel in EL2 needs no page table there, writes no vectors, and takes the physical timer too."""
    run = load("vhe")
    assert results(run) == [0]
    middle = ["kvm_init_vector_slots", "init_subsystems", "kvm_init"]
    assert calls(events(run), "kvm_arm_init") == [*BEFORE, *middle]
    assert "kvm_timer_init_vhe" in calls(events(run), "cpu_hyp_init_features")
    assert writes(events(run), 0) == []
    assert calls(events(run), "kvm_hyp_reserve") == ["is_hyp_mode_available"]
    assert [obj for _, obj in left(run, "irq")] == [VGIC, VTIMER, PTIMER]
    assert "kvm: VHE mode initialized" in run.trace.log


def test_counter_offset_stays() -> None:
    """kvm_timer_init_vhe() sets CNTHCTL_EL2.ECV, bit 12, and nobody clears it when loading fails."""
    run = load("vhe", "misc_register", ecv_cntpoff=True)
    assert changed(run) == {(cpu, "CNTHCTL_EL2"): 1 << 12 for cpu in (0, 1)}
    assert results(run) == [-EBUSY]


def test_protected() -> None:
    """Protected KVM builds EL2's own tables, and drops the host's (arm.c: kvm_hyp_init_protection())."""
    run = load("protected")
    assert results(run) == [0]
    assert calls(events(run), "init_hyp_mode")[-4:] == [
        "init_cpu_logical_map",
        "init_psci_relay",
        "init_pkvm_host_sve_state",
        "kvm_hyp_init_protection",
    ]
    protection = calls(events(run), "kvm_hyp_init_protection")
    assert protection == ["create_hyp_mappings", "do_pkvm_init", "free_hyp_pgds"]
    do_pkvm = calls(events(run), "do_pkvm_init")
    assert do_pkvm == ["cpu_hyp_init_context", "__pkvm_init", "cpu_hyp_init_features"]
    assert left(run, "kmalloc") == []
    assert "kvm: Protected nVHE mode initialized" in run.trace.log


def test_protected_keeps_el2() -> None:
    """Protected KVM takes EL2 of a CPU once; finalize_pkvm() then sets HCR_EL2.VM (nvhe/mem_protect.c)."""
    run = load("protected")
    final = [("HCR_EL2", HCR | TSC | VM)]
    for cpu in (0, 1):
        assert writes(events(run), cpu) == TAKE_PROTECTED + final
    assert calls(events(run), "init_subsystems") == [*SUBSYSTEMS, "kvm_register_perf_callbacks"]
    # No notifier for low-power modes, and the CPU that ran do_pkvm_init() is not touched again.
    assert calls(events(run), "hyp_cpu_pm_init") == []
    assert Counter(name for kind, _, name, _, _ in events(run) if kind == "enter")["cpu_hyp_reinit"] == 1
    # The list registers are never cleared: vgic_present is set when all CPUs have been set up.
    assert entered(run, "kvm_vgic_init_cpu_hardware") == []


def test_sealing_protected_kvm() -> None:
    """finalize_pkvm() turns the static key before it asks any CPU (pkvm.c: pkvm_drop_host_privileges())."""
    run = load("protected")
    dropped = calls(events(run), "pkvm_drop_host_privileges")
    assert dropped == ["static_branch_enable", "on_each_cpu"]
    assert calls(events(load("nvhe")), "finalize_pkvm") == []
    k = Kernel(Arm64())
    k[Arm].kvm_mode = "protected"
    # kvm_arm_init() has failed, or has not run.
    finalize_pkvm(k)
    assert [name for _, _, name, _, _ in k.events] == ["finalize_pkvm"] * 2


@pytest.mark.parametrize("mode", ["protected", "nvhe"])
def test_failing_to_seal(mode: str) -> None:
    """A CPU that is behind stage 2 already gives -EINVAL, which the boot does not look at (pkvm.c)."""
    run = load(mode, "__pkvm_prot_finalize@1")
    assert results(run) == [0]
    sealed = {"protected": [-EINVAL], "nvhe": [0]}[mode]
    assert value(run, "finalize_pkvm") == sealed
    assert [name for kind, _, name, _, _ in events(run) if kind == "warn"] == (
        ["_kvm_host_prot_finalize"] if mode == "protected" else []
    )


def test_sealing_twice() -> None:
    """__pkvm_prot_finalize() gives -EPERM for a CPU that is behind stage 2 (nvhe/mem_protect.c)."""
    k = Kernel(Arm64(), possible=range(1))
    k[Arm].kvm_mode = "protected"
    found = k.record()
    boot(k)
    hcr = [(name, v) for name, v in writes(found, 0) if name == "HCR_EL2"]
    assert hcr == [("HCR_EL2", HCR | TSC), ("HCR_EL2", HCR | TSC | VM)]
    with pytest.raises(KernelError) as caught:
        __pkvm_prot_finalize(k)
    assert caught.value.errno == EPERM


@pytest.mark.parametrize("mode", ["nvhe", "vhe", "protected", "none"])
def test_modes(mode: str) -> None:
    """The parameter takes these modes, and is shown by its full name."""
    assert early_kvm_mode_cfg(mode) == mode
    assert load(mode).trace.params["kvm-arm.mode"] == mode


def test_no_such_mode() -> None:
    """early_kvm_mode_cfg() gives -EINVAL for any other mode."""
    with pytest.raises(KernelError) as caught:
        early_kvm_mode_cfg("warp")
    assert caught.value.errno == EINVAL


# ---- kvm_arm_init(): exits before the first label


@pytest.mark.parametrize(
    ("mode", "fail", "error", "last"),
    [
        ("nvhe", "is_hyp_mode_available#2", ENODEV, "is_hyp_mode_available"),
        ("none", "", ENODEV, "is_hyp_mode_available"),
        ("nvhe", "check_sysreg_table#7", EINVAL, "kvm_sys_reg_table_init"),
        ("nvhe", "xas_alloc", ENOMEM, "kvm_sys_reg_table_init"),
        ("nvhe", "populate_sysreg_config=EINVAL", EINVAL, "kvm_sys_reg_table_init"),
        # reset.c: kvm_set_ipa_limit() reads PARANGE first, then TGRAN_2.
        ("nvhe", "cpuid_feature_extract_unsigned_field#2", EINVAL, "kvm_set_ipa_limit"),
        ("nvhe", "kvm_arm_init_sve", EIO, "kvm_arm_init_sve"),
        ("nvhe", "bitmap_zalloc", ENOMEM, "kvm_arm_vmid_alloc_init"),
    ],
)
def test_returning_early(mode: str, fail: str, error: int, last: str) -> None:
    """kvm_arm_init() returns these errors without a label."""
    run = load(mode, fail)
    assert results(run) == [-error]
    assert calls(events(run), "kvm_arm_init") == BEFORE[: BEFORE.index(last) + 1]


def test_tables_are_all_checked() -> None:
    """kvm_sys_reg_table_init() checks all seven tables, whatever the first one gave (sys_regs.c)."""
    run = load("nvhe", "check_sysreg_table")
    assert calls(events(run), "kvm_sys_reg_table_init") == ["check_sysreg_table"] * 7
    assert entered(run, "check_sysreg_table", "table") == [
        ("sys_reg_descs",),
        ("cp14_regs",),
        ("cp14_64_regs",),
        ("cp15_regs",),
        ("cp15_64_regs",),
        ("invariant_sys_regs",),
        ("sys_insn_descs",),
    ]


@pytest.mark.parametrize("nth", [1, 2])
def test_trap_tables_go_on_after_an_error(nth: int) -> None:
    """populate_nv_trap_config() tries both tables, then drops what it has (emulate-nested.c)."""
    run = load("nvhe", f"xa_store#{nth}")
    assert calls(events(run), "populate_nv_trap_config") == ["xa_store", "xa_store", "xa_destroy"]
    assert calls(events(run), "xa_destroy") == ["xa_node_free"]
    assert left(run, "xa_node") == []
    assert results(run) == [-ENOMEM]


@pytest.mark.parametrize(("nth", "nodes"), [(3, 2), (4, 3)])
def test_traps_stay(nth: int, nodes: int) -> None:
    """populate_sysreg_config() leaves its entries, and populate_nv_trap_config()'s, when it fails."""
    run = load("nvhe", f"xas_alloc#{nth}")
    assert results(run) == [-ENOMEM]
    assert len(left(run, "xa_node")) == nodes


# ---- init_hyp_mode(): label out_err


@pytest.mark.parametrize(
    ("mode", "fail", "error"),
    [
        ("nvhe", "kvm_mmu_init", ENOMEM),
        ("nvhe", "__get_free_page#2", ENOMEM),
        ("nvhe", "alloc_pages#2", ENOMEM),
        *[("nvhe", f"create_hyp_mappings#{n}", ENOMEM) for n in (1, 2, 3, 4, 5, 7)],
        ("nvhe", "create_hyp_stack#2", ENOMEM),
        ("nvhe", "kvm_host_owns_hyp_mappings#2", EPERM),
        ("nvhe", "kvm_host_owns_hyp_mappings#3", EINVAL),
        ("protected", "init_psci_relay", ENODEV),
        ("protected", "init_pkvm_host_sve_state", ENOMEM),
        ("protected", "kvm_hyp_init_protection", ENOMEM),
        ("protected", "create_hyp_mappings#8", ENOMEM),
    ],
)
def test_init_hyp_mode_out_err(mode: str, fail: str, error: int) -> None:
    """init_hyp_mode() tears down by itself; kvm_arm_init() then frees the VMIDs only."""
    run = load(mode, fail)
    assert results(run) == [-error]
    assert undone(events(run), "init_hyp_mode") == [">out_err", "teardown_hyp_mode"]
    assert calls(events(run), "teardown_hyp_mode") == TEARDOWN
    assert undone(events(run), "kvm_arm_init") == [">out_err", "kvm_arm_vmid_alloc_free"]
    # What came before has no label: the traps, and what the controller's driver handed over.
    assert {kind for kind, _ in held(Arm64(), run)} == {"kmalloc", "xa_node"}
    assert changed(run) == {}


def test_teardown_of_what_there_is() -> None:
    """The second stack fails: the first is freed, and NULL for the rest; per-CPU pages are all NULL."""
    run = load("nvhe", "__get_free_page#2")
    freed = [
        args["obj"]
        for kind, _, name, args, _ in events(run)
        if kind == "enter" and args and name == "free_page"
    ]
    assert freed == ["kvm_arm_hyp_stack_page", "NULL"]
    freed = [
        a["obj"] for kind, _, name, a, _ in events(run) if kind == "enter" and a and name == "free_pages"
    ]
    assert freed == ["NULL", "NULL"]


def test_without_reserved_memory() -> None:
    """Protected KVM without memory of its own gives -ENOMEM before anything is made (arm.c)."""
    run = load("protected", "memblock_phys_alloc memblock_phys_alloc#2")
    assert results(run) == [-ENOMEM]
    assert calls(events(run), "init_hyp_mode") == [">out_err", "teardown_hyp_mode"]
    assert "kvm: failed to reserve hyp memory" in run.trace.log


def test_reserving_memory() -> None:
    """kvm_hyp_reserve() asks for 2 MiB alignment first, then for pages (pkvm.c)."""
    assert entered(load("protected"), "memblock_phys_alloc", "size", "align") == [(0x140_0000, 1 << 21)]
    run = load("protected", "memblock_phys_alloc")
    tried = entered(run, "memblock_phys_alloc", "size", "align")
    assert tried == [(0x140_0000, 1 << 21), (0x123_4000, 1 << 12)]
    assert results(run) == [0]


def test_too_many_regions() -> None:
    """register_memblock_regions() fails: nothing is reserved, and kvm_arm_init() fails for it."""
    run = load("protected", "register_memblock_regions")
    assert calls(events(run), "kvm_hyp_reserve") == ["is_hyp_mode_available", "register_memblock_regions"]
    assert results(run) == [-ENOMEM]


def test_without_psci() -> None:
    """init_psci_relay() refuses a machine whose CPUs firmware does not start."""
    run = load("protected", psci=False)
    assert results(run) == [-ENODEV]
    assert value(run, "init_psci_relay") == [0]


# ---- kvm_mmu_init(), and what EL2 sees


@pytest.mark.parametrize(
    ("fail", "undo"),
    [
        ("kzalloc", [">out"]),
        ("kvm_pgtable_hyp_init", [">out_free_pgtable", "kfree"]),
        ("get_zeroed_page", [">out_free_pgtable", "kfree"]),
        ("kvm_map_idmap_text", [">out_destroy_pgtable", "kvm_pgtable_hyp_destroy", "kfree"]),
        ("get_zeroed_page#2", [">out_destroy_pgtable", "kvm_pgtable_hyp_destroy", "kfree"]),
    ],
)
def test_kvm_mmu_init(fail: str, undo: list[str]) -> None:
    """kvm_mmu_init() frees the page table and forgets it, so that free_hyp_pgds() does not (mmu.c)."""
    run = load("nvhe", fail)
    assert undone(events(run), "kvm_mmu_init") == undo
    assert calls(events(run), "free_hyp_pgds") == []
    assert results(run) == [-ENOMEM]
    assert left(run, "pages") == []
    assert left(run, "kmalloc") == [("kmalloc", "gic_kvm_info")]


def test_idmap_in_the_way() -> None:
    """An identity map inside of what EL2 sees gives -EINVAL, before any memory is taken (mmu.c)."""
    run = load(idmap_conflict=True)
    assert results(run) == [-EINVAL]
    assert calls(events(run), "kvm_mmu_init") == [">out"]


def test_page_tables_are_freed() -> None:
    """kvm_pgtable_hyp_destroy() frees the tables, then the first page (hyp/pgtable.c)."""
    run = load("nvhe", "create_hyp_stack")
    freed = [
        args["obj"]
        for kind, _, name, args, _ in events(run)
        if kind == "enter" and args and name == "put_page"
    ]
    # The identity map and five sections.
    pages = [f"hyp_pgtable_page#{n}" for n in range(2, 8)]
    assert freed == [*pages, "hyp_pgtable_page"]
    assert calls(events(run), "free_hyp_pgds") == ["kvm_pgtable_hyp_destroy", "kfree"]


@pytest.mark.parametrize(
    ("fail", "expected"),
    [
        ("", ["__hyp_alloc_private_va_range", "__create_hyp_mappings"]),
        ("__hyp_alloc_private_va_range", ["__hyp_alloc_private_va_range"]),
        ("__create_hyp_mappings#7", ["__hyp_alloc_private_va_range", "__create_hyp_mappings"]),
    ],
)
def test_create_hyp_stack(fail: str, expected: list[str]) -> None:
    """create_hyp_stack() takes addresses under the mutex, drops it, then maps (mmu.c)."""
    run = load("nvhe", fail)
    assert calls(events(run), "create_hyp_stack") == expected
    assert results(run) == [-ENOMEM if fail else 0]


def test_no_mapping_by_the_host() -> None:
    """__create_hyp_mappings() warns if the host has lost its mappings, and gives -EINVAL (mmu.c)."""
    run = load("nvhe", "kvm_host_owns_hyp_mappings")
    assert [name for kind, _, name, _, _ in events(run) if kind == "warn"] == ["__create_hyp_mappings"]
    assert results(run) == [-EINVAL]


# ---- kvm_init_vector_slots(): label out_hyp


@pytest.mark.parametrize(
    "fail",
    ["kvm_init_vector_slots", "create_hyp_exec_mappings", "hyp_alloc_private_va_range", "get_zeroed_page#12"],
)
def test_vectors_out_hyp(fail: str) -> None:
    """kvm_init_vector_slots() fails: out_hyp tears EL2's memory down, out_err frees the VMIDs."""
    run = load("nvhe", fail)
    out_hyp = [">out_hyp", "teardown_hyp_mode", "kvm_arm_vmid_alloc_free"]
    assert undone(events(run), "kvm_arm_init") == out_hyp
    assert calls(events(run), "teardown_hyp_mode") == TEARDOWN
    assert left(run, "pages", "bitmap") == []
    assert results(run) == [-ENOMEM]


@pytest.mark.parametrize(
    ("mode", "v3a", "expected"),
    [
        ("nvhe", True, ["create_hyp_exec_mappings"]),
        ("nvhe", False, []),
        ("protected", True, []),
        ("vhe", True, []),
    ],
)
def test_vectors_beside_the_idmap(mode: str, v3a: bool, expected: list[str]) -> None:
    """Only with ARM64_SPECTRE_V3A, and neither protected nor VHE, are vectors mapped again."""
    run = load(mode, spectre_v3a=v3a)
    assert calls(events(run), "kvm_init_vector_slots") == expected
    slot = "HYP_VECTOR_INDIRECT" if v3a else "HYP_VECTOR_DIRECT"
    chosen = [(slot,)] * 2 if mode == "protected" else []
    assert entered(run, "__pkvm_cpu_set_vector", "slot") == chosen


def test_who_owns_the_mappings() -> None:
    """kvm_host_owns_hyp_mappings(): not with VHE, not once EL2 has tables of its own (mmu.c)."""
    k = Kernel(Arm64())
    k[Mmu].hyp_pgtable = kvm_pgtable("table")
    assert kvm_host_owns_hyp_mappings(k)
    k[Pkvm].kvm_protected_mode_initialized.enabled = 1
    assert not kvm_host_owns_hyp_mappings(k)
    k = Kernel(Arm64())
    k[Arm].kvm_mode = "protected"
    assert not kvm_host_owns_hyp_mappings(k)
    k[Arm].kvm_mode = "vhe"
    assert not kvm_host_owns_hyp_mappings(k)
    # Nothing need be mapped then: 0, and no -EPERM.
    create_hyp_mappings(k, "what", "PAGE_HYP")


def test_private_mapping_by_el2() -> None:
    """__create_hyp_private_mapping() asks EL2 where the host has no say (mmu.c)."""
    # The identity map, and two questions for each of seven ranges, one for each of two stacks.
    nth = 1 + 2 * 7 + 2 + 1
    run = load("nvhe", f"kvm_host_owns_hyp_mappings#{nth}")
    found = calls(events(run), "__create_hyp_private_mapping")
    assert found == ["kvm_host_owns_hyp_mappings", "__pkvm_create_private_mapping"]
    assert results(run) == [0]
    run = load("nvhe", f"kvm_host_owns_hyp_mappings#{nth} __pkvm_create_private_mapping")
    assert results(run) == [-ENOMEM]


# ---- init_subsystems(): label out


@pytest.mark.parametrize(
    ("fail", "error", "reached"),
    [
        ("request_percpu_irq", EBUSY, SUBSYSTEMS[:3]),
        ("kvm_vgic_hyp_init=EBUSY", EBUSY, SUBSYSTEMS[:3]),
        ("kvm_register_device_ops", EEXIST, SUBSYSTEMS[:3]),
        ("kvm_timer_hyp_init", ENODEV, SUBSYSTEMS),
    ],
)
def test_init_subsystems_out(fail: str, error: int, reached: list[str]) -> None:
    """init_subsystems() fails: the notifier goes, EL2 of every CPU goes, then out_hyp."""
    run = load("nvhe", fail)
    assert results(run) == [-error]
    assert calls(events(run), "init_subsystems") == [*reached, ">out", "hyp_cpu_pm_exit", "on_each_cpu"]
    out_hyp = [">out_hyp", "teardown_hyp_mode", "kvm_arm_vmid_alloc_free"]
    assert undone(events(run), "kvm_arm_init") == out_hyp
    assert writes(events(run), 1) == TAKE + BACK
    assert changed(run) == {}
    assert left(run, "pages", "bitmap", "cpu_pm_notifier", "perf_callbacks") == []


def test_out_hyp_with_vhe() -> None:
    """With VHE out_hyp has nothing to tear down."""
    run = load("vhe", "kvm_timer_hyp_init")
    assert undone(events(run), "kvm_arm_init") == [">out_hyp", "kvm_arm_vmid_alloc_free"]


@pytest.mark.parametrize("error", [ENODEV, ENXIO])
def test_without_a_controller(error: Errno) -> None:
    """-ENODEV and -ENXIO of kvm_vgic_hyp_init() mean no controller, which is no error (arm.c)."""
    run = load("nvhe", f"kvm_vgic_hyp_init={error.name}")
    assert results(run) == [0]
    assert not {"irq_set_vcpu_affinity", "kvm_vgic_init_cpu_hardware"} & {e[2] for e in events(run)}
    # kvm_vgic_cpu_up() enables interrupt 0, which stands for none (vgic-init.c).
    assert entered(run, "enable_percpu_irq", "uses") == [(0,), (VTIMER,)] * 2


def test_notifier_is_not_asked_for() -> None:
    """Nobody looks at what cpu_pm_register_notifier() gives, nor at its counterpart (arm.c)."""
    run = load("nvhe", "cpu_pm_register_notifier kvm_timer_hyp_init")
    assert value(run, "cpu_pm_unregister_notifier") == [-ENOENT]
    assert results(run) == [-ENODEV]
    assert results(load("nvhe", "cpu_pm_register_notifier")) == [0]


# ---- kvm_init(): label out_subs


@pytest.mark.parametrize(
    ("fail", "error"),
    [("kmem_cache_create_usercopy", ENOMEM), ("kvm_online_cpu@1", EIO), ("misc_register", EBUSY)],
)
def test_out_subs(fail: str, error: int) -> None:
    """kvm_init() fails: perf and the notifier are told, EL2's memory goes, then the VMIDs."""
    run = load("nvhe", fail)
    assert results(run) == [-error]
    expected = [">out_subs", "teardown_subsystems", "teardown_hyp_mode", "kvm_arm_vmid_alloc_free"]
    assert undone(events(run), "kvm_arm_init") == expected
    torn = calls(events(run), "teardown_subsystems")
    assert torn == ["kvm_unregister_perf_callbacks", "hyp_cpu_pm_exit"]
    assert calls(events(run), "kvm_unregister_perf_callbacks") == ["perf_unregister_guest_info_callbacks"]
    assert changed(run) == {}


def test_out_subs_leaves_interrupts_and_devices() -> None:
    """No label of kvm_arm_init() frees the interrupts, strikes out the devices or drops the traps."""
    run = load("nvhe", "kmem_cache_create_usercopy")
    assert held(Arm64(), run) == [
        *[("xa_node", f"sr_forward_xa node{n}") for n in ("", "#2", "#3", "#4")],
        *[("device_ops", n) for n in DEVICES],
        ("irq", VGIC),
        ("irq", VTIMER),
    ]


def test_el2_that_is_not_kvms() -> None:
    """cpu_hyp_uninit() leaves a CPU alone that KVM did not take (arm.c)."""
    k = Kernel(Arm64())
    cpu_hyp_uninit(k, None)
    assert [name for _, _, name, _, _ in k.events] == ["cpu_hyp_uninit"] * 2


def test_disabling_a_cpu() -> None:
    """kvm_arch_disable_virtualization_cpu() disables the timer, the controller, then EL2 (arm.c)."""
    down = calls(events(load("nvhe", "misc_register")), "kvm_arch_disable_virtualization_cpu")
    assert down == ["kvm_timer_cpu_down", "kvm_vgic_cpu_down", "cpu_hyp_uninit"]
    protected = load("protected", "misc_register")
    down = calls(events(protected), "kvm_arch_disable_virtualization_cpu")
    assert down == ["kvm_timer_cpu_down", "kvm_vgic_cpu_down"]
    irqs = [
        obj
        for name in ("disable_percpu_irq",)
        for (obj,) in entered(load("vhe", "misc_register"), name, "uses")
    ]
    assert irqs == [VTIMER, PTIMER, VGIC] * 2


# ---- protected KVM does not give EL2 back


@pytest.mark.parametrize(
    ("fail", "cpus"),
    [("__pkvm_init", [0]), ("kvm_timer_hyp_init", [0, 1]), ("misc_register", [0, 1])],
)
def test_protected_el2_stays(fail: str, cpus: list[int]) -> None:
    """After do_pkvm_init() EL2 stays KVM's on each CPU that it took, while its memory is freed."""
    run = load("protected", fail)
    now = {
        (c, r): v
        for c in cpus
        for r, v in (("VBAR_EL2", HOST), ("SCTLR_EL2", MMU_ON), ("HCR_EL2", HCR | TSC))
    }
    assert changed(run) == now
    assert calls(events(run), "teardown_hyp_mode") == TEARDOWN
    assert left(run, "pages") == []
    assert run.trace.after["1 load"]["el2_cpus"] == cpus


def test_pkvm_init_fails() -> None:
    """do_pkvm_init() sets the CPU up even if __pkvm_init() failed, and returns its error (arm.c)."""
    run = load("protected", "__pkvm_init=EINVAL")
    did = calls(events(run), "do_pkvm_init")
    assert did == ["cpu_hyp_init_context", "__pkvm_init", "cpu_hyp_init_features"]
    assert results(run) == [-EINVAL]


def test_stub_is_not_heard() -> None:
    """host.S: __host_hvc passes no stub call on under protected KVM, so cpu_hyp_uninit() is in vain."""
    run = load("protected", "kvm_timer_hyp_init")
    assert entered(run, "on_each_cpu", "func") == [("cpu_hyp_init",), ("cpu_hyp_uninit",)]
    assert [calls(events(run), "__hyp_reset_vectors", n) for n in (1, 2, 3)] == [[], [], []]
    assert calls(events(run), "hyp_cpu_pm_exit") == []


def test_vectors_cannot_be_set_twice() -> None:
    """KVM's own vectors take no others, and know no __kvm_hyp_init (hyp-init.S, hyp-main.c)."""
    k = Kernel(Arm64(), possible=range(1))
    k.registers[0, "VBAR_EL2"] = HOST
    hyp_install_host_vector(k)
    assert [v for kind, _, name, _, v in k.events if (kind, name) == ("exit", "__kvm_hyp_init")] == [-1]
    assert [name for kind, _, name, _, _ in k.events if kind == "warn"] == ["hyp_install_host_vector"]


def test_boot_happens_once() -> None:
    """KVM is linked into the kernel (Kconfig: bool): what failed at boot is not tried again."""
    assert results(load("nvhe", "kvm_init", "load", "unload")) == [-ENOMEM, -EEXIST, -ENOENT]
    assert results(load("nvhe", "", "load", "unload")) == [0, -EEXIST, -ENOENT]


# ---- scalable vectors under protected KVM


def test_sve_state() -> None:
    """Protected KVM allocates room for each CPU's vectors (arm.c: init_pkvm_host_sve_state())."""
    run = load("protected", sve=True)
    assert calls(events(run), "init_pkvm_host_sve_state") == ["alloc_pages", "per_cpu_ptr_nvhe_sym"] * 2
    # The kernel's address is read, EL2's is written: twice for each CPU.
    assert calls(events(run), "finalize_init_hyp_mode") == ["per_cpu_ptr_nvhe_sym"] * 4
    assert results(run) == [0]
    assert calls(events(load("nvhe", sve=True)), "finalize_init_hyp_mode") == []


def test_sve_state_is_read_after_the_free() -> None:
    """teardown_hyp_mode() frees a CPU's pages, then reads from them where its vectors' room is."""
    run = load("protected", "kvm_timer_hyp_init", sve=True)
    torn = calls(events(run), "teardown_hyp_mode")
    each = ["free_page", "free_pages", "per_cpu_ptr_nvhe_sym", "free_pages"]
    assert torn == ["free_hyp_pgds", *each, *each]
    assert left(run, "pages") == []


def test_sve_state_of_one_cpu() -> None:
    """The second CPU's room fails: the first is freed, and NULL for the second."""
    run = load("protected", "alloc_pages#4", sve=True)
    assert undone(events(run), "init_hyp_mode") == [">out_err", "teardown_hyp_mode"]
    assert left(run, "pages") == []
    assert results(run) == [-ENOMEM]


def test_sve_state_of_no_pages() -> None:
    """Without a CPU's pages per_cpu_ptr_nvhe_sym() is NULL, and teardown_hyp_mode() reads from there."""
    run = load("protected", "kvm_mmu_init", sve=True)
    assert results(run) == [None]
    assert run.trace.log[-1] == "kernel BUG: NULL pointer dereference in teardown_hyp_mode()"


# ---- kvm_vgic_hyp_init()


def test_gicv3() -> None:
    """vgic_v3_probe() enters GICv2 where hardware can play one, GICv3 and its ITS (vgic-v3.c)."""
    run = load()
    probed = calls(events(run), "kvm_vgic_hyp_init")
    assert probed == ["vgic_v3_probe", "static_branch_enable", "kfree", "request_percpu_irq"]
    assert left(run, "device_ops")[:3] == [("device_ops", n) for n in DEVICES]


@pytest.mark.parametrize(
    ("mode", "feature"),
    [("nvhe", "gicv"), ("nvhe", "gicv_mmio"), ("nvhe", "gicv_aligned"), ("protected", "")],
)
def test_gicv3_without_gicv2(mode: str, feature: str) -> None:
    """vgic_v3_probe() enters no GICv2 without a usable region, or under protected KVM."""
    run = load(mode, "", **({feature: False} if feature else {}))
    assert entered(run, "kvm_register_vgic_device", "type") == [(7,)]
    assert results(run) == [0]


@pytest.mark.parametrize(
    ("nth", "registered", "stays"),
    [(1, [5], []), (2, [5, 7], []), (3, [5, 7, 8], [7])],
)
def test_gicv3_device_fails(nth: int, registered: list[int], stays: list[int]) -> None:
    """vgic_v3_probe() strikes GICv2 out again; a GICv3 whose ITS failed stays (vgic-kvm-device.c)."""
    run = load("nvhe", f"kvm_register_device_ops#{nth}")
    assert entered(run, "kvm_register_device_ops", "type") == [(n,) for n in registered]
    assert left(run, "device_ops") == [("device_ops", n) for n in stays]
    assert results(run) == [-EEXIST]
    # The driver's information is freed whether the probe worked or not.
    assert calls(events(run), "kvm_vgic_hyp_init") == ["vgic_v3_probe", "kfree"]


def test_gicv2() -> None:
    """vgic_v2_probe() maps the registers of the hypervisor's interface, and enters the device."""
    run = load(gicv2=True)
    assert calls(events(run), "vgic_v2_probe") == ["create_hyp_io_mappings", "kvm_register_vgic_device"]
    assert calls(events(run), "create_hyp_io_mappings") == ["ioremap", "__create_hyp_private_mapping"]
    assert calls(events(run), "kvm_vgic_init_cpu_hardware") == ["vgic_v2_init_lrs"]
    assert results(run) == [0]


def test_gicv2_with_vhe() -> None:
    """A kernel in EL2 maps registers once (mmu.c: create_hyp_io_mappings())."""
    run = load("vhe", gicv2=True)
    assert calls(events(run), "create_hyp_io_mappings") == ["ioremap"]


# vgic_v2_probe() where the guests' region is not aligned, up to the second mapping.
BOTH = ["create_hyp_io_mappings", "static_branch_enable", "create_hyp_io_mappings"]


@pytest.mark.parametrize(
    ("fail", "error", "reached"),
    [
        ("ioremap", ENOMEM, [BOTH[0], ">out"]),
        ("__create_hyp_private_mapping#2", ENOMEM, [BOTH[0], ">out"]),
        ("ioremap#2", ENOMEM, [*BOTH, ">out", "iounmap"]),
        # One that fails before it writes to kaddr leaves vctrl_base NULL, and vcpu_base_va as it is.
        ("create_hyp_io_mappings#2=EPERM", EPERM, [*BOTH, ">out", "iounmap"]),
        (
            "kvm_register_device_ops",
            EEXIST,
            [*BOTH, "kvm_register_vgic_device", ">out", "iounmap", "iounmap"],
        ),
    ],
)
def test_gicv2_out(fail: str, error: int, reached: list[str]) -> None:
    """vgic_v2_probe(): out unmaps the hypervisor's interface, then the guests' if that was mapped."""
    run = load("nvhe", fail, gicv2=True, gicv_aligned=False)
    assert calls(events(run), "vgic_v2_probe") == reached
    assert left(run, "ioremap") == []
    assert results(run) == [-error]


@pytest.mark.parametrize(("mode", "features"), [("protected", {}), ("nvhe", {"gich": False})])
def test_gicv2_of_no_use(mode: str, features: dict[str, bool]) -> None:
    """GICv2 under protected KVM, or without registers, gives -ENXIO, which is no error."""
    run = load(mode, "", gicv2=True, **features)
    assert value(run, "vgic_v2_probe") == [-ENXIO]
    assert value(run, "kvm_vgic_hyp_init") == [-ENXIO]
    assert results(run) == [0]


def test_protected_kvm_maps_no_registers() -> None:
    """create_hyp_io_mappings() gives -EPERM under protected KVM (mmu.c)."""
    k = Kernel(Arm64())
    k[Arm].kvm_mode = "protected"
    with pytest.raises(KernelError) as caught:
        create_hyp_io_mappings(k, "GICH", [None])
    assert caught.value.errno == EPERM


def test_driver_says_nothing() -> None:
    """vgic_set_kvm_info() finds no memory: kvm_vgic_hyp_init() gives -ENODEV, and KVM comes up."""
    run = load("nvhe", "kmalloc")
    assert value(run, "kvm_vgic_hyp_init") == [-ENODEV]
    assert results(run) == [0]


def test_driver_speaks_twice() -> None:
    """vgic_set_kvm_info() is a BUG if the information of before is still there (vgic-init.c)."""
    k = Kernel(Arm64(), possible=range(1))
    k[Arm].kvm_mode = "none"
    with pytest.raises(KernelError):
        boot(k)
    with pytest.raises(KernelBug):
        boot(k)


def test_no_maintenance_interrupt() -> None:
    """-ENXIO without a maintenance interrupt leaves the driver's information behind (vgic-init.c)."""
    run = load(maint_irq=False)
    assert value(run, "kvm_vgic_hyp_init") == [-ENXIO]
    assert left(run, "kmalloc")[0] == ("kmalloc", "gic_kvm_info")
    assert results(run) == [0]


# ---- kvm_timer_hyp_init()


def test_timer() -> None:
    """kvm_timer_hyp_init() takes the virtual timer's interrupt and lets it go to VCPUs."""
    expected = ["arch_timer_get_kvm_info", "kvm_irq_init", "request_percpu_irq", "irq_set_vcpu_affinity"]
    assert calls(events(load()), "kvm_timer_hyp_init") == [*expected, "static_branch_enable"]
    found = calls(events(load("vhe")), "kvm_timer_hyp_init")
    assert found == [*expected, "static_branch_enable", "request_percpu_irq", "irq_set_vcpu_affinity"]


def test_timer_without_a_controller() -> None:
    """Without a controller no interrupt goes to VCPUs, the physical timer's neither."""
    run = load("vhe", "kvm_vgic_hyp_init")
    expected = ["arch_timer_get_kvm_info", "kvm_irq_init", "request_percpu_irq", "request_percpu_irq"]
    assert calls(events(run), "kvm_timer_hyp_init") == expected


@pytest.mark.parametrize(
    ("mode", "fail", "error", "undo"),
    [
        ("nvhe", "irq_set_vcpu_affinity", ENOSYS, [">out_free_vtimer_irq", "free_percpu_irq"]),
        ("vhe", "request_percpu_irq#3", EBUSY, [">out_free_vtimer_irq", "free_percpu_irq"]),
        ("vhe", "irq_set_vcpu_affinity#2", ENOSYS, [">out_free_ptimer_irq", *["free_percpu_irq"] * 2]),
    ],
)
def test_timer_labels(mode: str, fail: str, error: int, undo: list[str]) -> None:
    """kvm_timer_hyp_init() frees what it took; the controller's interrupt stays (arch_timer.c)."""
    run = load(mode, fail)
    assert undone(events(run), "kvm_timer_hyp_init") == undo
    assert left(run, "irq") == [("irq", VGIC)]
    assert results(run) == [-error]


def test_order_of_freeing_timers() -> None:
    """out_free_ptimer_irq frees the physical timer's interrupt first, and falls through."""
    run = load("vhe", "irq_set_vcpu_affinity#2")
    assert entered(run, "free_percpu_irq", "obj") == [(PTIMER,), (VTIMER,)]


def test_no_physical_timer() -> None:
    """A kernel in EL2 needs the physical timer's interrupt: -ENODEV; others do without."""
    run = load("vhe", ptimer_irq=False)
    assert undone(events(run), "kvm_timer_hyp_init") == [">out_free_vtimer_irq", "free_percpu_irq"]
    assert results(run) == [-ENODEV]
    assert results(load("nvhe", ptimer_irq=False)) == [0]


@pytest.mark.parametrize(
    ("features", "fail", "error", "reached"),
    [
        ({"arch_timer": False}, "", ENODEV, ["arch_timer_get_kvm_info"]),
        ({"vtimer_irq": False}, "", ENODEV, ["arch_timer_get_kvm_info", "kvm_irq_init"]),
        (
            {},
            "request_percpu_irq#2",
            EBUSY,
            ["arch_timer_get_kvm_info", "kvm_irq_init", "request_percpu_irq"],
        ),
    ],
)
def test_timer_returns_early(features: dict[str, bool], fail: str, error: int, reached: list[str]) -> None:
    """kvm_timer_hyp_init() returns these errors without a label."""
    run = load("nvhe", fail, **features)
    assert calls(events(run), "kvm_timer_hyp_init") == reached
    assert results(run) == [-error]


# ---- a controller that cannot deactivate


def test_apple_aic() -> None:
    """Without hardware deactivation kvm_irq_init() puts a domain of its own over the timers."""
    made = ["irq_domain_alloc_named_fwnode", "irq_domain_create_hierarchy", "irq_domain_push_irq"]
    run = load(apple_aic=True)
    assert calls(events(run), "kvm_irq_init") == made
    # No maintenance interrupt is requested, and none is needed: it cannot be masked.
    assert calls(events(run), "kvm_vgic_hyp_init") == ["vgic_v3_probe", "static_branch_enable", "kfree"]
    assert results(run) == [0]
    run = load("vhe", apple_aic=True)
    assert calls(events(run), "kvm_irq_init") == [*made, "irq_domain_push_irq"]
    # drivers/irqchip/irq-apple-aic.c maps one where the kernel runs in EL2.
    assert calls(events(run), "kvm_vgic_hyp_init")[-2:] == ["kfree", "request_percpu_irq"]
    assert ("irq", VGIC) in left(run, "irq")


@pytest.mark.parametrize(
    ("fail", "after"),
    [
        ("irq_domain_alloc_named_fwnode", []),
        ("irq_domain_create_hierarchy", ["irq_domain_create_hierarchy", "irq_domain_free_fwnode"]),
    ],
)
def test_apple_aic_fails(fail: str, after: list[str]) -> None:
    """kvm_irq_init() gives -ENOMEM, and frees the name if the domain fails (arch_timer.c)."""
    run = load("nvhe", fail, apple_aic=True)
    assert calls(events(run), "kvm_irq_init") == ["irq_domain_alloc_named_fwnode", *after]
    assert left(run, "fwnode", "irq_domain") == []
    assert results(run) == [-ENOMEM]


@pytest.mark.parametrize("nth", [1, 2])
def test_pushing_is_only_warned_about(nth: int) -> None:
    """A failing irq_domain_push_irq() is a warning, no error (arch_timer.c: kvm_irq_init())."""
    run = load("vhe", f"irq_domain_push_irq#{nth}", apple_aic=True)
    assert [name for kind, _, name, _, _ in events(run) if kind == "warn"] == ["kvm_irq_init"]
    assert results(run) == [0]


def test_domain_stays() -> None:
    """Neither label of kvm_timer_hyp_init() takes the domain away again."""
    run = load("nvhe", "irq_set_vcpu_affinity", apple_aic=True)
    assert [kind for kind, _ in left(run, "fwnode", "irq_domain")] == ["fwnode", "irq_domain"]


# ---- the ladders


@pytest.mark.parametrize(
    ("function", "gotos", "labels"),
    [
        ("kvm_arm_init", 4, ["out_subs", "out_hyp", "out_err"]),
        ("init_hyp_mode", 14, ["out_err"]),
        ("init_subsystems", 2, ["out"]),
        ("kvm_timer_hyp_init", 4, ["out_free_ptimer_irq", "out_free_vtimer_irq"]),
        ("kvm_mmu_init", 4, ["out_destroy_pgtable", "out_free_pgtable", "out"]),
        ("vgic_v2_probe", 3, ["out"]),
    ],
)
def test_ladders(function: str, gotos: int, labels: list[str]) -> None:
    """The gotos and labels are those of the C, counted there."""
    ladder = Vocabulary.of(Arm64())[function].ladder
    assert ladder is not None
    assert (len(ladder.gotos), [label.name for label in ladder.labels]) == (gotos, labels)


@pytest.mark.parametrize("function", ["kvm_vgic_hyp_init", "kvm_hyp_init_protection", "vgic_v3_probe"])
def test_no_ladders(function: str) -> None:
    """These have no goto in C."""
    assert Vocabulary.of(Arm64())[function].ladder is None


def every_fault(run: Run) -> list[str]:
    """A SPEC for each call of a run that can fail."""
    facts = Vocabulary.of(Arm64())
    names = [n for kind, _, n, _, _ in everything(run) if kind == "enter" and n in facts and facts[n].fails]
    seen: Counter[str] = Counter()
    out = []
    for name in names:
        seen[name] += 1
        out.append(f"{name}#{seen[name]}")
    return out


@pytest.mark.parametrize("mode", ["nvhe", "vhe"])
def test_whatever_fails(mode: str) -> None:
    """After any single failure EL2 is the stub's again, and only what no label frees is held."""
    forgotten = {"xa_node", "kmalloc", "device_ops", "irq", "debugfs"}
    failed = 0
    for fault in every_fault(load(mode)):
        run = load(mode, fault)
        if results(run) != [0]:
            failed += 1
            assert changed(run) == {}, fault
            assert {kind for kind, _ in held(Arm64(), run)} <= forgotten, fault
    assert failed > 50


@pytest.mark.parametrize("sve", [False, True])
def test_whatever_fails_protected(sve: bool) -> None:
    """After any single failure protected KVM has freed its memory, whether EL2 let go of it or not."""
    forgotten = {"xa_node", "kmalloc", "device_ops", "irq", "debugfs"}
    failed = 0
    for fault in every_fault(load("protected", sve=sve)):
        run = load("protected", fault, sve=sve)
        # teardown_hyp_mode() does not get further than this if there are no per-CPU pages.
        stopped = results(run) == [None]
        assert stopped == ("NULL pointer" in "".join(run.trace.log)), fault
        if results(run) != [0] and not stopped:
            failed += 1
            assert {kind for kind, _ in held(Arm64(), run)} <= forgotten, fault
    assert failed > 50
