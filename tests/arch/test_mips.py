# SPDX-License-Identifier: GPL-2.0-only
"""The backend mips against arch/mips/kvm/{mips,vz,entry}.c of 6.12.117, read by hand."""

from __future__ import annotations

from typing import Any

import pytest
from leftovers import changed, events, held, results
from reading import calls, go, undone, writes

from arch.mips.kernel.cpu import current_cpu_data
from arch.mips.kernel.mipsregs import GC0_CONFIG1, GC0_CONFIG4, GC0_CVMCTL
from arch.mips.kvm.backend import Mips
from arch.mips.kvm.vz import (
    kvm_vz_disable_virtualization_cpu,
    kvm_vz_enable_virtualization_cpu,
    kvm_vz_resize_guest_vtlb,
)
from kvm_ref.kernel import Kernel
from kvm_ref.scenario import Run

# asm/mipsregs.h: CP0 (bit 28), AT (26-27) = 3, CG (24), CF (23).
GUESTCTL0 = 0x1D800000
# Guest Config1 bits 25-30 are the size less one: 64, then 62 entries.
CONFIG1_64, CONFIG1_62 = 63 << 25, 61 << 25
CONFIG4 = 3 << 14
ENABLED = [
    ("gc0_config1", CONFIG1_64),
    ("gc0_config4", CONFIG4),
    ("gc0_config1", CONFIG1_62),
    ("gc0_config4", CONFIG4),
    ("c0_guestctl0", GUESTCTL0),
    ("c0_guestctl0ext", 1 << 4),
    ("c0_guestctl1", 0),
    ("c0_guestctl2", 0),
]
DISABLED = [("c0_guestctl1", 0)]


def mips(*verbs: str, fail: str = "", **more: Any) -> Run:
    return go("mips", *verbs, fail=fail, **more)


def test_load_follows_kvm_mips_init() -> None:
    """The module's init function makes the calls of kvm_mips_init() in mips.c, in their order."""
    run = mips("load")
    assert results(run)[0] == 0
    assert calls(events(run), "kvm_mips_init") == [
        "cpu_has_mmid",
        "kvm_mips_entry_setup",
        "kvm_mips_emulation_init",
        "register_die_notifier",
        "kvm_init",
    ]


def test_emulation_init_asks_for_vz() -> None:
    """kvm_mips_emulation_init() in vz.c asks for VZ; pgd_reg is a variable."""
    assert calls(events(mips("load")), "kvm_mips_emulation_init") == [
        "cpu_has_vz",
    ]


def test_unload_follows_kvm_mips_exit() -> None:
    """kvm_mips_exit() in mips.c takes KVM down before the die notifier."""
    run = mips("load", "unload")
    assert results(run)[1] == 0
    assert calls(events(run, 1), "kvm_mips_exit") == ["kvm_exit", "unregister_die_notifier"]


def test_common_code_has_no_irqfd_async_pf_or_vfio() -> None:
    """arch/mips/kvm/Kconfig selects none of HAVE_KVM_IRQCHIP, KVM_ASYNC_PF, KVM_VFIO."""
    found = calls(events(mips("load")), "kvm_init")
    assert [c for c in found if c != "alloc_cpumask_var_node"] == [
        "kmem_cache_create_usercopy",
        "kvm_init_debug",
        "kvm_init_virtualization",
        "misc_register",
    ]


def test_nothing_is_held_after_unload() -> None:
    """Each thing that load acquires is released by unload."""
    assert held(Mips(), mips("load")) != []
    assert held(Mips(), mips("load", "unload")) == []


@pytest.mark.parametrize("cpu", [0, 1])
def test_enabling_a_cpu_writes_its_registers(cpu: int) -> None:
    """kvm_vz_enable_virtualization_cpu() in vz.c, default branch: size, size again, then GuestCtl."""
    assert writes(events(mips("load")), cpu) == ENABLED


def test_enabling_a_cpu_calls() -> None:
    """The calls of kvm_vz_enable_virtualization_cpu() in vz.c, default branch, with GuestID."""
    run = mips("load")
    assert calls(events(run), "kvm_vz_enable_virtualization_cpu") == [
        "kvm_vz_resize_guest_vtlb",
        "kvm_vz_local_flush_guesttlb_all",
        "num_wired_entries",
        "kvm_vz_resize_guest_vtlb",
        "kvm_vz_local_flush_roottlb_all_guests",
    ]
    assert calls(events(run), "kvm_arch_enable_virtualization_cpu") == ["kvm_vz_enable_virtualization_cpu"]


def test_disabling_a_cpu() -> None:
    """kvm_vz_disable_virtualization_cpu() in vz.c flushes both TLBs and clears GuestCtl1 only."""
    run = mips("load", "unload")
    seen = events(run, 1)
    assert calls(seen, "kvm_vz_disable_virtualization_cpu") == [
        "kvm_vz_local_flush_guesttlb_all",
        "kvm_vz_local_flush_roottlb_all_guests",
    ]
    assert calls(seen, "kvm_arch_disable_virtualization_cpu") == ["kvm_vz_disable_virtualization_cpu"]
    assert writes(seen, 1) == DISABLED


def test_guestctl0_and_guest_config_stay() -> None:
    """vz.c restores neither GuestCtl0, nor GuestCtl0Ext, nor the guest's Config1."""
    run = mips("load", "unload", cpus=1)
    assert changed(run) == {
        (0, "gc0_config1"): CONFIG1_62,
        (0, "c0_guestctl0"): GUESTCTL0,
        (0, "c0_guestctl0ext"): 16,
    }
    assert run.trace.after["2 unload"]["guestctl0_cpus"] == [0]


def test_without_guestid() -> None:
    """vz.c touches GuestCtl1 and flushes guests from the root TLB only if the CPU has GuestID."""
    run = mips("load", "unload", features={"guestid": False})
    assert writes(events(run), 0) == [w for w in ENABLED if w[0] != "c0_guestctl1"]
    assert writes(events(run, 1), 0) == []
    seen = events(run, 1)
    assert calls(seen, "kvm_vz_disable_virtualization_cpu") == ["kvm_vz_local_flush_guesttlb_all"]


def test_octeon3_splits_the_tlb_and_joins_it() -> None:
    """vz.c, CPU_CAVIUM_OCTEON3: 256 entries are halved; going down the host gets all, DGHT stays."""
    run = mips("load", "unload", features={"octeon3": True}, cpus=1)
    whole, dght = (255 << 12) | 255, 1 << 60
    assert writes(events(run), 0) == [
        ("gc0_cvmctl", (6 << 7) | (7 << 4)),
        ("c0_cvmvmconfig", dght | (255 << 12) | 127),
        *ENABLED[4:],
    ]
    assert calls(events(run), "kvm_vz_enable_virtualization_cpu") == [
        "kvm_vz_local_flush_guesttlb_all",
        "kvm_vz_local_flush_roottlb_all_guests",
    ]
    assert writes(events(run, 1), 0) == [("c0_cvmvmconfig", dght | whole), *DISABLED]
    assert calls(events(run, 1), "kvm_vz_disable_virtualization_cpu") == [
        "kvm_vz_local_flush_guesttlb_all",
        "local_flush_tlb_all",
        "kvm_vz_local_flush_roottlb_all_guests",
    ]


@pytest.mark.parametrize(
    ("fail", "errno", "last"),
    [
        ("cpu_has_mmid", -95, ["cpu_has_mmid"]),
        ("kvm_mips_entry_setup", -5, ["cpu_has_mmid", "kvm_mips_entry_setup"]),
        ("cpu_has_vz", -19, ["cpu_has_mmid", "kvm_mips_entry_setup", "kvm_mips_emulation_init"]),
    ],
)
def test_refusals(fail: str, errno: int, last: list[str]) -> None:
    """kvm_mips_init(): MMID gives EOPNOTSUPP, no VZ gives ENODEV, what entry.c gives is handed on; nothing to undo."""
    run = mips("load", fail=fail)
    assert results(run)[0] == errno
    assert calls(events(run), "kvm_mips_init") == last
    assert held(Mips(), run) == []
    assert run.trace.after["1 load"]["modules"] == []


def test_missing_pgd_reg_warns() -> None:
    """vz.c warns of a CPU with VZ that left no register for pgd_reg, and gives ENODEV."""
    run = mips("load", features={"pgd_reg": False})
    assert results(run)[0] == -19
    assert [e[4] for e in events(run) if e[0] == "warn"] == ["pgd_reg == -1"]


@pytest.mark.parametrize(
    ("fail", "errno"),
    [("kmem_cache_create_usercopy", -12), ("misc_register", -16), ("cpuhp_setup_state=ENOSPC", -28)],
)
def test_failing_kvm_init_takes_the_notifier_back(fail: str, errno: int) -> None:
    """kvm_mips_init() unregisters the die notifier and returns the errno of kvm_init()."""
    run = mips("load", fail=fail)
    assert results(run)[0] == errno
    assert calls(events(run), "kvm_mips_init")[-2:] == ["kvm_init", "unregister_die_notifier"]


def test_cpu_with_another_vtlb_size_is_refused() -> None:
    """vz.c: CPU 1 has a wired entry more, so 61 against 62: EINVAL there, EIO to the user."""
    run = mips("load", fail="num_wired_entries@1", cpus=3)
    seen = events(run)
    assert results(run)[0] == -5
    left = [
        (at.cpu, v)
        for kind, at, name, _, v in seen
        if (kind, name) == ("exit", "kvm_vz_enable_virtualization_cpu")
    ]
    assert left == [(0, 0), (1, -22)]
    warned = [(at.cpu, v) for kind, at, _, _, v in seen if kind == "warn"]
    assert warned == [(1, "guest_mmu_size != kvm_vz_guest_vtlb_size")]
    assert writes(seen, 0) == ENABLED + DISABLED
    assert writes(seen, 1) == [
        ("gc0_config1", CONFIG1_64),
        ("gc0_config4", CONFIG4),
        ("gc0_config1", 60 << 25),
        ("gc0_config4", CONFIG4),
    ]
    assert writes(seen, 2) == []


def test_vtlb_mismatch_unwinds_through_err_virt() -> None:
    """kvm_main.c: a refused CPU leads to err_virt; the debugfs directory is forgotten in 6.12.117."""
    run = mips("load", fail="num_wired_entries@1")
    seen = events(run)
    assert undone(seen, "kvm_enable_virtualization") == [">err_cpuhp", "kvm_arch_disable_virtualization"]
    assert undone(seen, "kvm_init") == [
        ">err_virt",
        "free_cpumask_var",
        "free_cpumask_var",
        "kmem_cache_destroy",
    ]
    assert held(Mips(), run) == [("debugfs", "kvm")]


def test_first_cpu_sets_the_size_that_others_must_have() -> None:
    """vz.c takes the size of whoever comes first: a wired entry on CPU 0 has CPU 1 refused."""
    seen = events(mips("load", fail="num_wired_entries@0"))
    left = [
        (at.cpu, v)
        for kind, at, name, _, v in seen
        if (kind, name) == ("exit", "kvm_vz_enable_virtualization_cpu")
    ]
    assert left == [(0, 0), (1, -22)]


def test_size_is_forgotten_with_the_module() -> None:
    """kvm_vz_guest_vtlb_size is kvm.ko's: after a failed load, all CPUs may have another size."""
    run = mips("load", "load", fail="num_wired_entries@1", cpus=2)
    assert results(run) == [-5, 0]


@pytest.mark.parametrize("fail", ["register_die_notifier", "atomic_notifier_chain_register"])
def test_result_of_register_die_notifier_is_ignored(fail: str) -> None:
    """kvm_mips_init() does not look at what register_die_notifier() returns; unload copes."""
    run = mips("load", "unload", fail=fail)
    assert results(run) == [0, 0]
    ends = [e[4] for e in events(run, 1) if e[:1] == ("exit",) and e[2] == "unregister_die_notifier"]
    assert ends == [-2]
    assert held(Mips(), run) == []


def test_failed_registration_and_failed_kvm_init() -> None:
    """The error path of kvm_mips_init() ignores what unregister_die_notifier() returns, too."""
    run = mips("load", fail="register_die_notifier misc_register")
    assert results(run)[0] == -16


def test_no_cpu_is_touched_at_load_without_enable_virt_at_load() -> None:
    """With enable_virt_at_load=0 loading writes no register (kvm_main.c: kvm_init_virtualization)."""
    run = mips("load", "unload", params={"enable_virt_at_load": "0"})
    assert results(run) == [0, 0]
    assert changed(run) == {}
    assert calls(events(run), "kvm_init_virtualization") == []


@pytest.mark.parametrize(
    ("fail", "log"),
    [
        ("", ["kvm: MIPS VZ extensions"]),
        ("cpu_has_mmid", ["kvm: MMIDs are not supported"]),
        ("cpu_has_vz", []),
    ],
)
def test_log(fail: str, log: list[str]) -> None:
    """mips.c says why it refuses MMIDs, vz.c that it starts; a CPU without VZ is refused in silence."""
    assert mips("load", fail=fail).trace.log == log


def records(k: Kernel) -> tuple[int, int, int]:
    """What current_cpu_data holds of the TLB: all entries, the variable ones, the guest's."""
    cpu = current_cpu_data(k)
    return cpu.tlbsize, cpu.tlbsizevtlb, cpu.guest_tlbsize


def test_records_of_a_shared_tlb() -> None:
    """vz.c, default branch: the guest has 62 variable and 512 fixed entries; going down changes nothing."""
    k = Kernel(Mips(), possible=range(1))
    kvm_vz_enable_virtualization_cpu(k)
    assert records(k) == (576, 64, 574)
    kvm_vz_disable_virtualization_cpu(k)
    assert records(k) == (576, 64, 574)


def test_records_of_a_split_tlb() -> None:
    """vz.c, CPU_CAVIUM_OCTEON3: half of 256 entries each, then all the host's."""
    k = Kernel(Mips(), possible=range(1), features={"octeon3": True})
    kvm_vz_enable_virtualization_cpu(k)
    assert records(k) == (128, 128, 128)
    kvm_vz_disable_virtualization_cpu(k)
    assert records(k) == (256, 256, 0)


def test_octeon3_replaces_interrupt_lines() -> None:
    """vz.c, CPU_CAVIUM_OCTEON3: the fields IPTI and IPPCI are cleared before they are set."""
    k = Kernel(Mips(), possible=range(1), features={"octeon3": True})
    k.registers[0, GC0_CVMCTL] = 0x3F0
    kvm_vz_enable_virtualization_cpu(k)
    assert k.read(GC0_CVMCTL) == (6 << 7) | (7 << 4)


def test_vtlb_of_more_than_64_entries() -> None:
    """kvm_vz_resize_guest_vtlb() in vz.c: bits 0-5 of the size less one in Config1, the rest in Config4."""
    k = Kernel(Mips(), possible=range(1))
    assert kvm_vz_resize_guest_vtlb(k, 100) == 100
    assert (k.read(GC0_CONFIG1), k.read(GC0_CONFIG4)) == (35 << 25, CONFIG4 | 1 << 24)
    assert kvm_vz_resize_guest_vtlb(k, 64) == 64
    assert k.read(GC0_CONFIG4) == CONFIG4
