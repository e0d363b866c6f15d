# SPDX-License-Identifier: GPL-2.0-only
"""What the CPU says of VMX, against setup_vmcs_config() and kvm_cpu_vmxon() in vmx.c of 6.12.117, read by hand."""

from __future__ import annotations

from typing import Any

import pytest
from leftovers import events, held, results
from reading import calls, go

from arch.x86.kvm.vmx_data import PT_MODE_HOST_GUEST, PT_MODE_SYSTEM, Vmx
from arch.x86.kvm.vmx_setup import vmx_handle_intel_pt_intr
from arch.x86.kvm.x86 import X86
from kvm_ref import backend as backends
from kvm_ref.fault import arm, parse
from kvm_ref.kernel import Kernel
from kvm_ref.scenario import Cpus, Run, Scenario, machine, perform
from kvm_ref.trace import Event
from kvm_ref.vocabulary import Vocabulary

LENIENT = {"error_on_inconsistent_vmcs_config": "0"}
CONTROLS = "adjust_vmx_controls"
# In other words than the C.
EPT = "kvm_intel: EPT capabilities without the control that enables EPT"
VPID = "kvm_intel: VPID capabilities without the control that enables VPIDs"
# VM_ENTRY_LOAD_IA32_PERF_GLOBAL_CTRL is the first of the pairs, and is 0x2000 (asm/vmx.h).
PAIR = "kvm_intel: Inconsistent VM-Entry/VM-Exit pair, entry = 2000, exit = 0"


def vmx(*verbs: str, fail: str = "", **more: Any) -> Run:
    return go("x86-vmx", *verbs, fail=fail, **more)


def kernel(**more: Any) -> Kernel:
    """A machine with two CPUs, on which nothing has run."""
    return machine(Scenario("x86-vmx", (), cpus=Cpus.of((0, 1)), **more), backends.load("x86-vmx"))


def exits(seen: list[Event], function: str) -> list[object]:
    """What each call of `function` returned."""
    return [v for kind, _, name, _, v in seen if (kind, name) == ("exit", function)]


def test_the_order_of_what_is_read() -> None:
    """setup_vmcs_config(): both kinds of execution controls, then what EPT and VPID can do, then the others."""
    run = vmx("load", cpus=1)
    assert calls(events(run), "setup_vmcs_config") == [
        CONTROLS,
        CONTROLS,
        "rdmsr_safe",
        CONTROLS,
        CONTROLS,
        CONTROLS,
    ]
    asked = [a["msr"] for kind, _, name, a, _ in events(run) if a and (kind, name) == ("enter", "rdmsr_safe")]
    assert asked == ["MSR_IA32_VMX_EPT_VPID_CAP"] * 3


@pytest.mark.parametrize(
    ("feature", "line", "read"),
    [
        ("ept_cap_alone", EPT, [CONTROLS, CONTROLS, "rdmsr_safe"]),
        ("vpid_cap_alone", VPID, [CONTROLS, CONTROLS, "rdmsr_safe"]),
        ("vmentry_alone", PAIR, [CONTROLS, CONTROLS, "rdmsr_safe", CONTROLS, CONTROLS, CONTROLS]),
    ],
)
def test_a_cpu_that_contradicts_itself(feature: str, line: str, read: list[str]) -> None:
    """setup_vmcs_config(): three exits with -EIO, each with its line; the parameter lets all three pass."""
    run = vmx("load", features={feature: True})
    assert calls(events(run), "setup_vmcs_config") == read
    assert exits(events(run), "setup_vmcs_config") == exits(events(run), "vmx_hardware_setup") == [-5]
    assert (results(run), run.trace.log) == ([-5], [line])
    assert held(backends.load("x86-vmx"), run) == []
    run = vmx("load", "unload", features={feature: True}, params=LENIENT)
    assert results(run) == [0, 0]
    # pr_warn_once() is asked on two CPUs, twice on each, and in vmx_hardware_setup().
    assert run.trace.log == [line]


def test_what_is_left_out_of_a_cpu_that_contradicts_itself() -> None:
    """setup_vmcs_config() forgets a capability without its control, and both halves of a broken pair."""
    k = kernel(
        features={"ept_cap_alone": True, "vpid_cap_alone": True, "vmentry_alone": True}, params=LENIENT
    )
    perform(k, "load")
    g = k[Vmx]
    assert (g.vmx_capability.ept, g.vmx_capability.vpid, g.vmcs_config.vmentry_ctrl) == (0, 0, 0)
    assert not g.enable_ept
    # All five pairs are broken; pr_warn_once() tells of the first.
    assert k.log == [EPT, VPID, PAIR]


def test_one_cpu_that_contradicts_itself() -> None:
    """vmx_check_processor_compat(): CPU 1's VM entries lack a control that its VM exits have: -EIO."""
    k = kernel()
    k.registers[1, "MSR_IA32_VMX_ENTRY_CTLS"] = 0
    step, _ = perform(k, "load")
    assert step.results == [-5]
    pair = "Inconsistent VM-Entry/VM-Exit pair, entry = 0, exit = 1000"
    assert k.log == [f"kvm_intel: {pair}", "kvm_intel: Failed to setup VMCS config on CPU 1"]


@pytest.mark.parametrize("register", ["MSR_IA32_VMX_ENTRY_CTLS", "MSR_IA32_VMX_PROCBASED_CTLS2"])
def test_a_cpu_of_another_kind(register: str) -> None:
    """vmx_check_processor_compat() compares the whole of vmcs_config: a control less on CPU 1 is -EIO."""
    k = kernel(params=LENIENT)
    k.registers[1, register] = 0
    step, _ = perform(k, "load")
    assert step.results == [-5]
    assert exits(step.events or [], "memcmp") == [0, 1]
    assert k.log[-1] == "kvm_intel: Inconsistent VMCS config on CPU 1"


def test_ept_that_cannot_be_read() -> None:
    """rdmsr_safe() in setup_vmcs_config() may fault: both halves are 0, which is EPT without 4 levels."""
    k = kernel()
    arm(k, [parse("rdmsr_safe")], Vocabulary.of(k.arch))
    step, _ = perform(k, "load")
    assert not k[Vmx].enable_ept
    assert calls(step.events or [], "vmx_hardware_setup")[2] == "boot_cpu_has"
    # Without EPT, guests that are hypervisors have none on any CPU: they are alike.
    assert step.results == [0]
    # On CPU 1 alone: nested.ept_caps differ, in nested_vmx_setup_secondary_ctls() of nested.c.
    assert results(vmx("load", fail="rdmsr_safe@1")) == [-5]
    assert results(vmx("load", fail="rdmsr_safe@1", params={"nested": "0"})) == [0]


def test_nested_settles_its_registers_first() -> None:
    """vmx_hardware_setup() and vmx_check_processor_compat(): nested_vmx_setup_ctls_msrs() with nested=1 alone."""
    run = vmx("load")
    assert calls(events(run), "vmx_hardware_setup")[2:4] == [
        "nested_vmx_setup_ctls_msrs",
        "nested_vmx_hardware_setup",
    ]
    assert calls(events(run), "vmx_check_processor_compat") == [
        "__kvm_is_vmx_supported",
        "setup_vmcs_config",
        "nested_vmx_setup_ctls_msrs",
        "memcmp",
    ]
    run = vmx("load", params={"nested": "0"})
    assert exits(events(run), "nested_vmx_setup_ctls_msrs") == []


@pytest.mark.parametrize(("fail", "value"), [("", "0x5"), ("rdmsrl_safe#{}=EIO", "0xdeadbeef")])
def test_vmxon_that_faults_tells_why(fail: str, value: str) -> None:
    """kvm_cpu_vmxon(): WARN_ONCE() with FEAT_CTL, or 0xdeadbeef if that cannot be read."""
    # Before it: PAT, EFER, and for each of seven registers one probe and one reading on each CPU.
    run = vmx("load", fail=f"vmxon@1 {fail.format(2 + 7 + 7 + 7 + 1)}")
    warned = [(name, text) for kind, _, name, _, text in events(run) if kind == "warn"]
    assert warned == [("kvm_cpu_vmxon", f"VMXON faulted, MSR_IA32_FEAT_CTL (0x3a) = {value}")]
    assert results(run) == [-5]


def test_the_second_time_vmxon_faults() -> None:
    """WARN_ONCE() works its arguments out when it warns: the second fault reads no register."""
    run = vmx("load", "load", fail="vmxon vmxon#2")
    first, second = (calls(events(run, step), "kvm_cpu_vmxon") for step in (0, 1))
    assert first == ["cr4_set_bits", "vmxon", ">fault", "rdmsrl_safe", "cr4_clear_bits"]
    assert second == ["cr4_set_bits", "vmxon", ">fault", "cr4_clear_bits"]
    assert sum("VMXON faulted" in line for line in run.trace.log) == 1


@pytest.mark.parametrize(
    ("more", "mode"),
    [
        ({"params": {"pt_mode": "1"}}, PT_MODE_HOST_GUEST),
        ({"params": {"pt_mode": "0"}}, PT_MODE_SYSTEM),
        ({"params": {"pt_mode": "1", "ept": "0"}}, PT_MODE_SYSTEM),
        ({"params": {"pt_mode": "1", "enable_pmu": "0"}}, PT_MODE_SYSTEM),
        ({"params": {"pt_mode": "1"}, "features": {"intel_pt": False}}, PT_MODE_SYSTEM),
    ],
)
def test_perf_gets_the_handler_of_processor_trace(more: dict[str, Any], mode: int) -> None:
    """vmx_hardware_setup() sets handle_intel_pt_intr in the mode host-guest, which needs EPT, PMU and a CPU that can."""
    k = kernel(**more)
    step, _ = perform(k, "load")
    inside = mode == PT_MODE_HOST_GUEST
    assert k[Vmx].pt_mode == mode
    handler = k[X86].handle_intel_pt_intr
    assert handler is (vmx_handle_intel_pt_intr if inside else None)
    assert handler is None or handler(k) == 0
    told = [
        a["pt_intr_handler"]
        for kind, _, name, a, _ in step.events or []
        if a and (kind, name) == ("enter", "kvm_register_perf_callbacks")
    ]
    assert told == ["vmx_handle_intel_pt_intr" if inside else "NULL"]
