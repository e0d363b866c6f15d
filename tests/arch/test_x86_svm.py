# SPDX-License-Identifier: GPL-2.0-only
"""The backend x86-svm against arch/x86/kvm/svm/{svm,sev,avic}.c of 6.12.117, read by hand."""

from __future__ import annotations

from typing import Any

import pytest
from leftovers import changed, events, held, results
from reading import calls, go, undone, writes

from arch.x86.kernel.reboot import cpu_emergency_disable_virtualization
from arch.x86.kvm.avic import AmdIommu, avic_ga_log_notifier
from arch.x86.kvm.svm_data import Svm
from kvm_ref import backend as backends
from kvm_ref.fault import arm, parse
from kvm_ref.kernel import Kernel
from kvm_ref.scenario import Cpus, Run, Scenario, machine, perform
from kvm_ref.vocabulary import Vocabulary

SVME = 1 << 12
# SCE, LME, LMA and NX: what a 64-bit kernel sets at boot.
EFER = 0xD01
RATIO = 0x0100000000
GA_LOG = [("ga_log_notifier", "avic_ga_log_notifier")]


def svm(*verbs: str, fail: str = "", **more: Any) -> Run:
    return go("x86-svm", *verbs, fail=fail, **more)


def kernel(**more: Any) -> Kernel:
    """A machine with two CPUs, on which nothing has run."""
    return machine(Scenario("x86-svm", (), cpus=Cpus.of((0, 1)), **more), backends.load("x86-svm"))


def left(run: Run) -> list[tuple[str, object]]:
    """What a run left behind."""
    return held(backends.load("x86-svm"), run)


def objects(run: Run, function: str, step: int = 0) -> list[object]:
    """What each call of `function` released."""
    return [
        a["obj"] for kind, _, name, a, _ in events(run, step) if (kind, name) == ("enter", function) and a
    ]


def exits(run: Run, function: str, step: int = 0) -> list[object]:
    """What each call of `function` returned."""
    return [v for kind, _, name, _, v in events(run, step) if (kind, name) == ("exit", function)]


def test_init_and_exit_follow_the_c() -> None:
    """svm_init() and svm_exit() in svm.c: kvm_init() last, kvm_exit() first."""
    run = svm("load", "unload")
    assert calls(events(run), "svm_init") == ["kvm_is_svm_supported", "kvm_x86_vendor_init", "kvm_init"]
    assert calls(events(run, 1), "svm_exit") == ["kvm_exit", "__svm_exit"]
    assert calls(events(run, 1), "__svm_exit") == ["kvm_x86_vendor_exit"]


def test_hardware_setup_and_unsetup_follow_the_c() -> None:
    """svm_hardware_setup() in svm.c, each possible CPU in turn; the unsetup begins with SEV."""
    run = svm("load", "unload")
    assert calls(events(run), "svm_hardware_setup") == [
        "boot_cpu_has",
        "alloc_pages",
        "kvm_add_user_return_msr",
        "sev_hardware_setup",
        "svm_hv_hardware_setup",
        "svm_cpu_init",
        "svm_cpu_init",
    ]
    assert calls(events(run, 1), "svm_hardware_unsetup") == [
        "sev_hardware_unsetup",
        "svm_cpu_uninit",
        "svm_cpu_uninit",
        "__free_pages",
    ]
    assert calls(events(run), "svm_cpu_init") == ["snp_safe_alloc_page_node", "sev_cpu_init"]
    assert calls(events(run, 1), "svm_cpu_uninit") == ["kfree", "__free_page"]


def test_a_failed_kvm_init() -> None:
    """err_kvm_init in svm_init() undoes kvm_x86_vendor_init() and nothing else."""
    run = svm("load", fail="kmem_cache_create_usercopy#2")
    assert undone(events(run), "svm_init") == [">err_kvm_init", "__svm_exit"]
    assert results(run) == [-12]
    assert left(run) == []
    assert changed(run) == {}


@pytest.mark.parametrize(
    ("fault", "line"),
    [
        ("cpu_data", ["kvm_amd: CPU 0 isn't AMD or Hygon"]),
        ("cpu_has", ["kvm_amd: SVM not supported by CPU 0"]),
        ("cc_platform_has", ["kvm_amd: KVM is unsupported when running as an SEV guest"]),
        ("__kvm_is_svm_supported", []),
        ("kvm_is_svm_supported", []),
    ],
)
def test_no_svm(fault: str, line: list[str]) -> None:
    """svm_init() gives -EOPNOTSUPP without SVM, and on a machine that is an encrypted guest itself."""
    run = svm("load", fail=fault)
    assert calls(events(run), "svm_init") == ["kvm_is_svm_supported"]
    assert results(run) == [-95]
    assert run.trace.log == line


def test_what_is_asked_of_a_cpu() -> None:
    """__kvm_is_svm_supported() in svm.c: who made it, whether it has SVM, whether it is a guest's."""
    run = svm("load")
    assert calls(events(run), "__kvm_is_svm_supported") == ["cpu_data", "cpu_has", "cc_platform_has"]
    assert calls(events(svm("load", fail="cpu_data")), "__kvm_is_svm_supported") == ["cpu_data"]


@pytest.mark.parametrize(
    "fault", ["cpu_data@1", "cpu_has@1", "cc_platform_has@1", "svm_check_processor_compat@1"]
)
def test_one_cpu_without_svm(fault: str) -> None:
    """svm_check_processor_compat() gives -EIO, asked on each CPU by IPI: out_unwind_ops."""
    run = svm("load", fail=fault)
    assert exits(run, "svm_check_processor_compat") == [0, -5]
    assert undone(events(run), "kvm_x86_vendor_init")[:2] == [">out_unwind_ops", "svm_hardware_unsetup"]
    assert results(run) == [-5]
    assert left(run) == []


@pytest.mark.parametrize(
    ("fault", "errno", "log"),
    [
        ("boot_cpu_has#3", -95, ["kvm_amd: NX (Execute Disable) not supported"]),
        ("alloc_pages", -12, []),
        ("svm_hardware_setup=EOPNOTSUPP", -95, []),
    ],
)
def test_exits_of_hardware_setup_without_goto(fault: str, errno: int, log: list[str]) -> None:
    """svm_hardware_setup() returns -EOPNOTSUPP without NX and -ENOMEM without the I/O permission map."""
    run = svm("load", fail=fault)
    assert exits(run, "svm_hardware_setup") == [errno]
    assert (results(run), run.trace.log) == ([errno], log)
    assert left(run) == []


def test_the_label_err() -> None:
    """err in svm_hardware_setup(): CPU 1 failed, CPU 0's page and table go, and the map."""
    run = svm("load", fail="svm_cpu_init#2")
    assert undone(events(run), "svm_hardware_setup") == [">err", "svm_hardware_unsetup"]
    assert calls(events(run), "svm_cpu_uninit", 1) == ["kfree", "__free_page"]
    assert calls(events(run), "svm_cpu_uninit", 2) == []
    assert objects(run, "__free_pages") == ["iopm"]
    assert results(run) == [-12]
    assert left(run) == []


@pytest.mark.parametrize("fault", ["snp_safe_alloc_page_node#2", "alloc_pages_node#2"])
def test_no_save_area(fault: str) -> None:
    """svm_cpu_init() returns -ENOMEM by itself if there is no page."""
    run = svm("load", fail=fault)
    assert calls(events(run), "svm_cpu_init", 2) == ["snp_safe_alloc_page_node"]
    assert exits(run, "svm_cpu_init") == [0, -12]
    assert left(run) == []


@pytest.mark.parametrize("fault", ["sev_cpu_init#2", "kcalloc#2"])
def test_the_label_free_save_area(fault: str) -> None:
    """free_save_area in svm_cpu_init(): the page goes if SEV's table cannot be had."""
    run = svm("load", fail=fault)
    assert undone(events(run), "svm_cpu_init", 2) == [">free_save_area", "__free_page"]
    assert objects(run, "__free_page") == ["save_area#2", "save_area"]
    assert results(run) == [-12]
    assert left(run) == []


def test_turning_svm_on_and_off() -> None:
    """On: SVME, the save area, the TSC ratio once. Off: the save area, then SVME; the ratio is as it was."""
    run = svm("load", "unload")
    mine = [w for w in writes(events(run), 1) if w[0] != "MSR_TSC_AUX"]
    assert mine == [("MSR_EFER", EFER | SVME), ("MSR_VM_HSAVE_PA", 0x2000), ("MSR_AMD64_TSC_RATIO", RATIO)]
    assert writes(events(run, 1), 1) == [("MSR_VM_HSAVE_PA", 0), ("MSR_EFER", EFER)]
    assert changed(run) == {}


def test_without_tsc_scaling() -> None:
    """A CPU without TSCRATEMSR has no such register to write."""
    run = svm("load", "unload", features={"tscratemsr": False})
    names = {w[0] for step in (0, 1) for w in writes(events(run, step), 1)}
    assert names == {"MSR_EFER", "MSR_VM_HSAVE_PA"}


def test_a_ratio_that_another_left() -> None:
    """__svm_write_tsc_multiplier() writes only what the register is not known to hold."""
    k = kernel()
    perform(k, "load")
    k[Svm].current_tsc_ratio[1] = 7
    step, _ = perform(k, "unload")
    assert writes(step.events or [], 1)[0] == ("MSR_AMD64_TSC_RATIO", RATIO)
    assert writes(step.events or [], 0)[0] == ("MSR_VM_HSAVE_PA", 0)


def test_another_hypervisor() -> None:
    """EFER.SVME set: svm_enable_virtualization_cpu() gives -EBUSY, the user -EIO; the CPU is left alone."""
    run = svm("foreign-on=1", "load", "foreign-off=1", "load", "unload")
    assert exits(run, "svm_enable_virtualization_cpu", 1) == [0, -16]
    assert results(run) == [0, -5, 0, 0, 0]
    assert writes(events(run, 1), 1) == []
    assert [a["svme_cpus"] for a in run.trace.after.values()] == [[], [1], [1], [], [0, 1], []]


def test_emergency() -> None:
    """svm_emergency_disable_virtualization_cpu() is told by the register: SVM that is off stays off."""
    k = kernel()
    perform(k, "load")
    k.registers[1, "MSR_EFER"] = 0
    seen = k.record()
    k.run_on("nmi", 1, cpu_emergency_disable_virtualization)
    assert writes(seen, 1) == [("MSR_VM_HSAVE_PA", 0)]


ASKED = ["boot_cpu_has", "boot_cpu_has"]  # X86_FEATURE_DECODEASSISTS, X86_FEATURE_FLUSHBYASID
CAPACITY = ["misc_cg_set_capacity", "misc_cg_set_capacity"]
SEV = [*ASKED, "bitmap_zalloc", "bitmap_zalloc", *CAPACITY, "sev_platform_init"]


def test_sev_follows_the_c() -> None:
    """sev_hardware_setup() and _unsetup() in sev.c: bitmaps, cgroup capacity, firmware."""
    run = svm("load", "unload")
    assert calls(events(run), "sev_hardware_setup") == SEV
    assert calls(events(run, 1), "sev_hardware_unsetup") == [
        "sev_flush_asids",
        "bitmap_free",
        "bitmap_free",
        "misc_cg_set_capacity",
        "misc_cg_set_capacity",
        "sev_platform_shutdown",
    ]
    assert exits(run, "sev_flush_asids", 1) == [-16]
    assert results(run) == [0, 0]


@pytest.mark.parametrize(
    ("fault", "seen", "leaked"),
    [
        ("bitmap_zalloc", [*ASKED, "bitmap_zalloc", "sev_platform_init"], []),
        (
            "bitmap_zalloc#2",
            [*ASKED, "bitmap_zalloc", "bitmap_zalloc", "bitmap_free", "sev_platform_init"],
            [],
        ),
        (
            "sev_platform_init",
            SEV,
            [("bitmap", "sev_asid_bitmap"), ("bitmap", "sev_reclaim_asid_bitmap")],
        ),
    ],
)
def test_kvm_does_without_sev(fault: str, seen: list[str], leaked: list[tuple[str, object]]) -> None:
    """No failure of SEV fails the load; if only the firmware fails, 6.12.117 forgets the bitmaps."""
    run = svm("load", "unload", fail=fault)
    assert calls(events(run), "sev_hardware_setup") == seen
    assert calls(events(run), "sev_cpu_init") == []
    assert calls(events(run, 1), "sev_hardware_unsetup") == []
    assert results(run) == [0, 0]
    assert left(run) == leaked


def test_the_first_bitmap_is_forgotten() -> None:
    """sev_hardware_setup() clears the pointer to the first bitmap if the second cannot be had."""
    k = kernel()
    arm(k, [parse("bitmap_zalloc#2")], Vocabulary.of(k.arch))
    perform(k, "load")
    assert (k[Svm].sev_asid_bitmap, k[Svm].sev_reclaim_asid_bitmap) == (None, None)


def test_sev_without_capacity() -> None:
    """misc_cg_set_capacity() that fails is a warning in sev_hardware_setup(), nothing in the unsetup."""
    run = svm("load", "unload", fail=" ".join(f"misc_cg_set_capacity#{n}" for n in range(1, 5)))
    warned = [(name, value) for kind, _, name, _, value in events(run) + events(run, 1) if kind == "warn"]
    assert [text for _, text in warned] == [
        "misc_cg_set_capacity(MISC_CG_RES_SEV, sev_asid_count)",
        "misc_cg_set_capacity(MISC_CG_RES_SEV_ES, sev_es_asid_count)",
    ]
    assert results(run) == [0, 0]
    assert left(run) == []


def test_sev_is_not_wanted() -> None:
    """With sev=0 neither bitmaps nor firmware are asked for."""
    run = svm("load", "unload", params={"sev": "0"})
    assert calls(events(run), "sev_hardware_setup") == []
    assert calls(events(run, 1), "sev_hardware_unsetup") == []
    assert results(run) == [0, 0]


def test_a_cpu_without_sev() -> None:
    """Without SEV there are no bitmaps and no tables, yet the firmware is asked."""
    run = svm("load", "unload", features={"sev": False})
    assert calls(events(run), "sev_hardware_setup") == ["sev_platform_init"]
    assert calls(events(run, 1), "svm_cpu_uninit") == ["kfree", "__free_page"]
    assert objects(run, "kfree", 1) == ["NULL", "NULL"]
    assert left(run) == []


def test_avic_keeps_its_notifier() -> None:
    """With avic=1 the IOMMU's notifier is set after the CPUs' memory, and nobody takes it back."""
    k = kernel(params={"avic": "1"})
    step, _ = perform(k, "load")
    assert calls(step.events or [], "svm_hardware_setup")[-1] == "avic_hardware_setup"
    perform(k, "unload")
    assert k[AmdIommu].iommu_ga_log_notifier is avic_ga_log_notifier
    assert avic_ga_log_notifier(k, 0) == 0
    assert left(svm("load", "unload", params={"avic": "1"})) == GA_LOG


@pytest.mark.parametrize("more", [{"features": {"avic": False}}, {"fail": "avic_hardware_setup"}])
def test_no_avic(more: dict[str, Any]) -> None:
    """A CPU without AVIC: avic_hardware_setup() says no, and the load goes on."""
    run = svm("load", "unload", params={"avic": "1"}, **more)
    assert exits(run, "avic_hardware_setup") == [0]
    assert results(run) == [0, 0]
    assert left(run) == []
