# SPDX-License-Identifier: GPL-2.0-only
"""What AMD's part settles at load and on each CPU, against svm/{svm,sev,avic}.c, svm_ops.h, svm_onhyperv.h of 6.12.117."""

from __future__ import annotations

from typing import Any

import pytest
from leftovers import changed, events, held, results
from reading import calls, go, writes

from arch.x86.events.amd import AMD64_EVENTSEL_HOSTONLY, AmdPmu
from arch.x86.hyperv.hv_init import HvInit
from arch.x86.kernel.reboot import cpu_emergency_disable_virtualization
from arch.x86.kvm.svm_data import Svm
from arch.x86.kvm.x86 import X86
from kvm_ref import backend as backends
from kvm_ref.fault import arm, parse
from kvm_ref.kernel import Kernel
from kvm_ref.scenario import Cpus, Run, Scenario, machine, perform
from kvm_ref.vocabulary import Vocabulary

EFER = 0xD01
SNP = {"host_sev_snp": True}
HV = {"hyperv": True}
DECODEASSISTS = "!boot_cpu_has(X86_FEATURE_DECODEASSISTS)"
FLUSHBYASID = "!boot_cpu_has(X86_FEATURE_FLUSHBYASID)"


def svm(*verbs: str, fail: str = "", **more: Any) -> Run:
    return go("x86-svm", *verbs, fail=fail, **more)


def kernel(fail: str = "", **more: Any) -> Kernel:
    """A machine with two CPUs, on which nothing has run."""
    k = machine(Scenario("x86-svm", (), cpus=Cpus.of((0, 1)), **more), backends.load("x86-svm"))
    if fail:
        arm(k, [parse(spec) for spec in fail.split()], Vocabulary.of(k.arch))
    return k


def left(run: Run) -> list[tuple[str, object]]:
    """What a run left behind."""
    return held(backends.load("x86-svm"), run)


def args(run: Run, function: str, name: str, step: int = 0) -> list[object]:
    """One recorded argument of each call of `function`."""
    return [a[name] for kind, _, f, a, _ in events(run, step) if a and (kind, f) == ("enter", function)]


def warnings(run: Run) -> list[object]:
    """What was warned of at load."""
    return [value for kind, _, _, _, value in events(run) if kind == "warn"]


def test_gif_is_set_before_svm_goes() -> None:
    """kvm_cpu_svm_disable() in svm.c: the save area, STGI if SVM is on, then EFER; the counters last of all."""
    run = svm("load", "unload")
    assert calls(events(run, 1), "svm_disable_virtualization_cpu") == ["stgi", "amd_pmu_disable_virt"]
    assert calls(events(run, 1), "stgi") == ["svm_asm"]
    order = [
        name for kind, at, name, _, _ in events(run, 1) if at.cpu == 1 and (kind == "write" or name == "stgi")
    ]
    assert order == ["MSR_VM_HSAVE_PA", "stgi", "stgi", "MSR_EFER"]


def test_stgi_that_faults() -> None:
    """svm_ops.h: a fault is kvm_spurious_fault(), a BUG unless the machine reboots; then it is passed over."""
    run = svm("load", "unload", fail="svm_asm@1")
    assert run.trace.log[-1] == "kernel BUG: !kvm_rebooting"
    assert results(run) == [0, None]
    k = kernel("svm_asm@1")
    perform(k, "load")
    seen = k.record()
    k.run_on("nmi", 1, cpu_emergency_disable_virtualization)
    assert calls(seen, "stgi") == ["svm_asm", "kvm_spurious_fault"]
    assert writes(seen, 1) == [("MSR_VM_HSAVE_PA", 0), ("MSR_EFER", EFER)]


def test_the_counters_follow_svm() -> None:
    """amd_pmu_enable_virt() and amd_pmu_disable_virt() in events/amd/core.c: the Host-only bit is masked without SVM."""
    k = kernel()
    seen = [k[AmdPmu].perf_ctr_virt_mask[1]]
    for verb in ("load", "unload"):
        perform(k, verb)
        seen.append(k[AmdPmu].perf_ctr_virt_mask[1])
    assert seen == [AMD64_EVENTSEL_HOSTONLY, 0, AMD64_EVENTSEL_HOSTONLY]


READ, WRITE = "native_read_msr_safe", "native_write_msr_safe"


@pytest.mark.parametrize(
    ("features", "fail", "called"),
    [
        ({}, "", [READ, READ, "svm_init_erratum_383", "amd_pmu_enable_virt"]),
        ({}, READ, [READ, "svm_init_erratum_383", "amd_pmu_enable_virt"]),
        ({}, f"{READ}#2", [READ, READ, "svm_init_erratum_383", "amd_pmu_enable_virt"]),
        ({"osvw": False}, "", ["svm_init_erratum_383", "amd_pmu_enable_virt"]),
    ],
)
def test_errata_are_asked_for(features: dict[str, bool], fail: str, called: list[str]) -> None:
    """svm_enable_virtualization_cpu() in svm.c: OSVW's length, then its status, then erratum 383; no error leaves."""
    run = svm("load", features=features, fail=fail)
    assert calls(events(run), "svm_enable_virtualization_cpu") == called
    assert results(run) == [0]


@pytest.mark.parametrize(("fail", "osvw"), [("", (3, 0b101)), (f"{READ}@1", (0, 0)), (f"{READ}#2@1", (0, 0))])
def test_the_errata_of_all_cpus(fail: str, osvw: tuple[int, int]) -> None:
    """The shortest length counts, and each erratum that any CPU has; one that cannot be read leaves nothing."""
    k = kernel(fail)
    for cpu, length, status in ((0, 5, 0b001), (1, 3, 0b1100)):
        k.registers[cpu, "MSR_AMD64_OSVW_ID_LENGTH"] = length
        k.registers[cpu, "MSR_AMD64_OSVW_STATUS"] = status | 0b100
    perform(k, "load")
    assert (k[Svm].osvw_len, k[Svm].osvw_status) == osvw


def test_a_cpu_with_erratum_383() -> None:
    """svm_init_erratum_383() in svm.c sets bit 47 of DC_CFG, which nothing clears; neither access need work."""
    bug = {"tlb_mmatch_bug": True, "osvw": False}
    run = svm("load", "unload", features=bug)
    assert calls(events(run), "svm_init_erratum_383") == [READ, WRITE]
    assert changed(run) == {(0, "MSR_AMD64_DC_CFG"): 1 << 47, (1, "MSR_AMD64_DC_CFG"): 1 << 47}
    for fail, called, found in (
        (f"{READ} {READ}#2", [READ], False),
        (f"{WRITE} {WRITE}#2", [READ, WRITE], True),
    ):
        k = kernel(fail, features=bug)
        step, _ = perform(k, "load")
        assert step.results == [0]
        assert calls(step.events or [], "svm_init_erratum_383") == called
        assert k[Svm].erratum_383_found == found


def test_capacity_of_sev_and_sev_es() -> None:
    """sev_hardware_setup() in sev.c: ASIDs from min_sev_asid up are SEV's, those below SEV-ES's; 0 at the end."""
    run = svm("load", "unload")
    types = ["MISC_CG_RES_SEV", "MISC_CG_RES_SEV_ES"]
    for step, counts in ((0, [410, 99]), (1, [0, 0])):
        assert args(run, "misc_cg_set_capacity", "type", step) == types
        assert args(run, "misc_cg_set_capacity", "capacity", step) == counts


@pytest.mark.parametrize(
    ("more", "capacity", "warned"),
    [
        ({"features": {"sev_es": False}}, [509], []),
        ({"params": {"sev_es": "0"}}, [410], []),
        ({"params": {"lbrv": "0"}}, [410], []),
        ({"features": {"lbrv": False}}, [410], ["LBRV must be present for SEV-ES support"]),
        ({"features": {"npt": False}}, [], []),
        ({"params": {"npt": "0"}}, [], []),
        ({"fail": "boot_cpu_has#4"}, [], [DECODEASSISTS]),
        ({"fail": "boot_cpu_has#5"}, [], [FLUSHBYASID]),
    ],
)
def test_what_sev_needs(more: dict[str, Any], capacity: list[int], warned: list[str]) -> None:
    """sev_hardware_setup(): nested paging and two features for SEV, a feature, a parameter and LBR for SEV-ES."""
    run = svm("load", "unload", **more)
    assert args(run, "misc_cg_set_capacity", "capacity") == capacity
    assert warnings(run) == warned
    assert (results(run), left(run), changed(run)) == ([0, 0], [], {})


def test_a_host_with_snp() -> None:
    """snp_safe_alloc_page_node() in sev.c: of two pages one goes; the firmware says whether SNP is up."""
    run = svm("load", "unload", features=SNP)
    assert calls(events(run), "snp_safe_alloc_page_node") == [
        "alloc_pages_node",
        "split_page",
        "__free_page",
    ]
    assert calls(events(run), "sev_hardware_setup")[-2:] == ["sev_platform_init", "is_sev_snp_initialized"]
    assert calls(events(run), "is_sev_snp_initialized") == [
        "snp_alloc_firmware_page",
        "sev_do_cmd",
        "snp_free_firmware_page",
    ]
    assert (results(run), left(run)) == ([0, 0], [])
    run = svm("load", features=SNP, fail="alloc_pages_node#2")
    assert calls(events(run), "snp_safe_alloc_page_node", 2) == ["alloc_pages_node"]
    assert (results(run), left(run)) == ([-12], [])


@pytest.mark.parametrize(
    ("fail", "called"),
    [
        ("snp_alloc_firmware_page", ["snp_alloc_firmware_page"]),
        ("sev_do_cmd", ["snp_alloc_firmware_page", "sev_do_cmd", ">out", "snp_free_firmware_page"]),
    ],
)
def test_snp_that_is_not_up(fail: str, called: list[str]) -> None:
    """is_sev_snp_initialized() in sev.c: no page, or a command that fails, leaves the host with SEV and SEV-ES."""
    k = kernel(fail, features=SNP)
    step, _ = perform(k, "load")
    assert calls(step.events or [], "is_sev_snp_initialized") == called
    g = k[Svm]
    assert (step.results, g.sev_enabled, g.sev_es_enabled, g.sev_snp_enabled) == ([0], True, True, False)
    said = [line for line in k.log if "SNP_PLATFORM_STATUS" in line]
    command = "kvm_amd: SEV: SNP_PLATFORM_STATUS failed ret=-5, fw_error=0 (0)"
    assert said == ([command] if "sev_do_cmd" in fail else [])


def test_avic_on_a_host_with_snp() -> None:
    """avic_hardware_setup() in avic.c: with SNP it needs HvInUseWrAllowed, and always nested paging."""
    avic = {"avic": "1"}
    run = svm("load", params=avic, features=SNP)
    assert "kvm_amd: AVIC enabled" in run.trace.log
    assert calls(events(run), "avic_hardware_setup")[0] == "boot_cpu_has"
    run = svm("load", params=avic, features=SNP, fail="boot_cpu_has#6")
    assert "kvm_amd: AVIC disabled: missing HvInUseWrAllowed on SNP-enabled system" in run.trace.log
    assert calls(events(run), "avic_hardware_setup") == ["boot_cpu_has"]
    assert results(run) == [0]
    run = svm("load", params={**avic, "npt": "0"})
    assert calls(events(run), "avic_hardware_setup") == []
    assert "kvm_amd: AVIC enabled" not in run.trace.log


@pytest.mark.parametrize(
    ("more", "smaller"), [({}, False), ({"params": {"npt": "0"}}, True), ({"features": {"npt": False}}, True)]
)
def test_smaller_addresses_without_nested_paging(more: dict[str, Any], smaller: bool) -> None:
    """svm_hardware_setup() in svm.c: allow_smaller_maxphyaddr is !npt_enabled."""
    k = kernel(**more)
    perform(k, "load")
    assert k[X86].allow_smaller_maxphyaddr == smaller


def test_what_is_not_told() -> None:
    """What a load logs of the CPU's abilities is left out, as in the logs of tests/data; SEV knows them all the same."""
    run = svm("load")
    assert run.trace.log == []
    k = kernel(features={"sev_es": False})
    perform(k, "load")
    assert (k[Svm].min_sev_asid, k[Svm].max_sev_asid) == (1, 509)


def test_on_hyperv_guests_flush_by_it() -> None:
    """svm_hv_hardware_setup() in svm_onhyperv.h: each online CPU's page is marked, and one without is passed over."""
    k = kernel("hv_get_vp_assist_page", features=HV)
    step, _ = perform(k, "load")
    assert calls(step.events or [], "svm_hv_hardware_setup") == ["hv_get_vp_assist_page"] * 2
    assert {cpu: page.directhypercall for cpu, page in k[HvInit].hv_vp_assist_page.items()} == {1: 1}
    assert [line for line in k.log if "Hyper-V" in line] == [
        "kvm_amd: kvm_amd: Hyper-V enlightened NPT TLB flush enabled",
        "kvm_amd: kvm_amd: Hyper-V Direct TLB Flush enabled",
    ]
    told = svm("load", features=HV, params={"npt": "0"}).trace.log
    assert "kvm_amd: kvm_amd: Hyper-V enlightened NPT TLB flush enabled" not in told
    assert calls(events(svm("load")), "svm_hv_hardware_setup") == []
