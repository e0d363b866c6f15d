# SPDX-License-Identifier: GPL-2.0-only
"""The backend x86-vmx against arch/x86/kvm/vmx/{vmx,nested,main}.c of 6.12.117, read by hand."""

from __future__ import annotations

from typing import Any

import pytest
from leftovers import changed, events, held, results
from reading import calls, go, undone, writes

from arch.x86.events.pt import Pt
from arch.x86.hyperv.hv_init import HvInit
from arch.x86.kernel.bugs import Bugs, l1tf_mitigations
from arch.x86.kernel.irq import Irq
from arch.x86.kernel.reboot import cpu_emergency_disable_virtualization
from arch.x86.kvm.nested import Nested
from arch.x86.kvm.vmx_data import Vmx
from arch.x86.kvm.vmx_l1d import vmx_cleanup_l1d_flush
from arch.x86.kvm.vmx_setup import pi_wakeup_handler, vmx_hardware_unsetup
from arch.x86.kvm.x86 import X86
from kvm_ref import backend as backends
from kvm_ref.fault import arm, parse
from kvm_ref.kernel import Kernel
from kvm_ref.linux.module import find_module
from kvm_ref.misuse import Misuse
from kvm_ref.scenario import Cpus, Run, Scenario, machine, perform
from kvm_ref.trace import Event
from kvm_ref.virt.kvm_main import KvmMain
from kvm_ref.vocabulary import Vocabulary

CR4_BOOT = 0x3706E0
VMXE = 1 << 13
BASIC = 0x00DA040000000004
# vmx_hardware_setup() sets it even when it fails.
HANDLER = [("posted_intr_wakeup_handler", "kvm_posted_intr_wakeup_handler")]
VENDOR_EXIT = "kvm_x86_vendor_exit"


def vmx(*verbs: str, fail: str = "", **more: Any) -> Run:
    return go("x86-vmx", *verbs, fail=fail, **more)


def kernel(**more: Any) -> Kernel:
    """A machine with two CPUs, on which nothing has run."""
    return machine(Scenario("x86-vmx", (), cpus=Cpus.of((0, 1)), **more), backends.load("x86-vmx"))


def do(k: Kernel, verb: str) -> tuple[int | None, list[Event]]:
    """Run a verb; return what it gave, and what happened."""
    step, _ = perform(k, verb)
    return step.results[0], step.events or []


def left(run: Run) -> list[tuple[str, object]]:
    """What a run left behind, but for the debugfs directory."""
    return [h for h in held(backends.load("x86-vmx"), run) if h[1] != "kvm"]


def objects(run: Run, function: str, step: int = 0) -> list[object]:
    """What each call of `function` released."""
    return [
        a["obj"] for kind, _, name, a, _ in events(run, step) if (kind, name) == ("enter", function) and a
    ]


def exits(seen: list[Event], function: str) -> list[object]:
    """What each call of `function` returned."""
    return [v for kind, _, name, _, v in seen if (kind, name) == ("exit", function)]


def warnings(seen: list[Event]) -> list[tuple[str, object]]:
    """Who warned, and of what."""
    return [(name, value) for kind, _, name, _, value in seen if kind == "warn"]


def test_init_and_exit_follow_the_c() -> None:
    """vmx_init() and vmx_exit() in vmx.c: kvm_init() last; the exit is not the error path."""
    run = vmx("load", "unload")
    assert calls(events(run), "vmx_init") == [
        "kvm_is_vmx_supported",
        "hv_init_evmcs",
        "kvm_x86_vendor_init",
        "vmx_setup_l1d_flush",
        "kvm_init",
    ]
    assert calls(events(run, 1), "vmx_exit") == ["kvm_exit", "__vmx_exit", VENDOR_EXIT]
    assert calls(events(run, 1), "__vmx_exit") == ["vmx_cleanup_l1d_flush"]
    assert results(run) == [0, 0]


def test_the_label_err_kvm_init() -> None:
    """err_kvm_init in vmx_init(): __vmx_exit(), then what stands below err_l1d_flush."""
    run = vmx("load", fail="kmem_cache_create_usercopy#2", features={"l1tf_bug": True})
    assert undone(events(run), "vmx_init") == [">err_kvm_init", "__vmx_exit", VENDOR_EXIT]
    assert objects(run, "free_pages") == ["vmx_l1d_flush_pages"]
    assert results(run) == [-12]
    assert left(run) == []
    assert changed(run) == {}


@pytest.mark.parametrize("fault", ["alloc_pages", "vmx_setup_l1d_flush"])
def test_the_label_err_l1d_flush(fault: str) -> None:
    """err_l1d_flush in vmx_init(): kvm_x86_vendor_exit() alone."""
    run = vmx("load", fail=fault, features={"l1tf_bug": True})
    assert undone(events(run), "vmx_init") == [">err_l1d_flush", VENDOR_EXIT]
    assert results(run) == [-12]
    assert left(run) == []


@pytest.mark.parametrize(
    ("fault", "line"),
    [
        ("cpuid_ecx", ["kvm_intel: VMX not supported by CPU 0"]),
        ("this_cpu_has", ["kvm_intel: VMX not enabled (by BIOS) in MSR_IA32_FEAT_CTL on CPU 0"]),
        ("this_cpu_has#2", ["kvm_intel: VMX not enabled (by BIOS) in MSR_IA32_FEAT_CTL on CPU 0"]),
        ("__kvm_is_vmx_supported", []),
        ("kvm_is_vmx_supported", []),
    ],
)
def test_no_vmx(fault: str, line: list[str]) -> None:
    """vmx_init() gives -EOPNOTSUPP if the CPU lacks VMX or firmware has locked it off."""
    run = vmx("load", fail=fault)
    assert calls(events(run), "vmx_init") == ["kvm_is_vmx_supported"]
    assert (results(run), run.trace.log) == ([-95], line)


def test_hardware_setup_and_unsetup_follow_the_c() -> None:
    """vmx_hardware_setup() in vmx.c; the unsetup takes the handler back first, then frees."""
    run = vmx("load", "unload")
    assert calls(events(run), "vmx_hardware_setup") == [
        "vmx_setup_user_return_msrs",
        "setup_vmcs_config",
        "nested_vmx_setup_ctls_msrs",
        "nested_vmx_hardware_setup",
        "alloc_kvm_area",
        "kvm_set_posted_intr_wakeup_handler",
    ]
    assert calls(events(run, 1), "vmx_hardware_unsetup") == [
        "kvm_set_posted_intr_wakeup_handler",
        "nested_vmx_hardware_unsetup",
        "free_kvm_area",
    ]
    assert left(run) == []


def test_user_return_msrs() -> None:
    """vmx_setup_user_return_msrs() adds seven registers, in the order of its list."""
    run = vmx("load")
    added = [
        a["msr"]
        for kind, _, name, a, _ in events(run)
        if (kind, name) == ("enter", "kvm_add_user_return_msr") and a
    ]
    assert [str(name).removeprefix("MSR_") for name in added] == [
        "SYSCALL_MASK",
        "LSTAR",
        "CSTAR",
        "EFER",
        "TSC_AUX",
        "STAR",
        "IA32_TSX_CTRL",
    ]


CONTROLS = ["PROCBASED_CTLS", "PROCBASED_CTLS2", "EXIT_CTLS", "PINBASED_CTLS", "ENTRY_CTLS"]


def test_controls() -> None:
    """setup_vmcs_config() adjusts five kinds of controls, exits before pins before entries."""
    run = vmx("load", cpus=1)
    asked = [
        str(a["msr"]).removeprefix("MSR_IA32_VMX_")
        for kind, _, name, a, _ in events(run)
        if (kind, name) == ("enter", "adjust_vmx_controls") and a
    ]
    assert asked == CONTROLS * 3  # hardware_setup, the check at load, the check when enabling


@pytest.mark.parametrize("fault", ["setup_vmcs_config", "adjust_vmx_controls", "adjust_vmx_controls#5=EBUSY"])
def test_vmx_that_is_too_little(fault: str) -> None:
    """vmx_hardware_setup() makes -EIO of whatever setup_vmcs_config() gives, and it gives -EIO alone."""
    run = vmx("load", fail=fault)
    assert exits(events(run), "setup_vmcs_config") == [-5]
    assert calls(events(run), "vmx_hardware_setup") == ["vmx_setup_user_return_msrs", "setup_vmcs_config"]
    assert results(run) == [-5]
    assert left(run) == []


def test_setup_vmcs_config_hands_on_no_other_errno() -> None:
    """vmx_hardware_setup() tests for less than 0 and returns -EIO."""
    run = vmx("load", fail="setup_vmcs_config=EINVAL")
    assert exits(events(run), "setup_vmcs_config") == [-22]
    assert exits(events(run), "vmx_hardware_setup") == [-5]


@pytest.mark.parametrize(
    "basic",
    [
        BASIC | 0x1FFF << 32,  # more than a page
        BASIC | 1 << 48,  # 32-bit addresses only
        BASIC & ~(0xF << 50),  # uncacheable
    ],
)
def test_a_vmcs_that_kvm_cannot_use(basic: int) -> None:
    """setup_vmcs_config() wants a VMCS of at most a page, anywhere in memory, write-back."""
    k = kernel()
    k.registers[0, "MSR_IA32_VMX_BASIC"] = basic
    result, seen = do(k, "load")
    assert exits(seen, "setup_vmcs_config") == [-5]
    assert result == -5


@pytest.mark.parametrize(
    ("fault", "line"),
    [
        ("cpuid_ecx@1", "VMX not supported by CPU 1"),
        ("this_cpu_has@1", "VMX not enabled (by BIOS) in MSR_IA32_FEAT_CTL on CPU 1"),
        ("adjust_vmx_controls@1", "Failed to setup VMCS config on CPU 1"),
        ("setup_vmcs_config@1=EINVAL", "Failed to setup VMCS config on CPU 1"),
        ("memcmp@1", "Inconsistent VMCS config on CPU 1"),
    ],
)
def test_one_cpu_that_will_not_do(fault: str, line: str) -> None:
    """vmx_check_processor_compat() gives -EIO for a CPU without VMX, or with another than the first's."""
    run = vmx("load", fail=fault)
    assert exits(events(run), "vmx_check_processor_compat") == [0, -5]
    assert undone(events(run), "kvm_x86_vendor_init")[:2] == [">out_unwind_ops", "vmx_hardware_unsetup"]
    assert run.trace.log == [f"kvm_intel: {line}"]
    assert results(run) == [-5]
    assert left(run) == []


def test_a_cpu_of_another_make() -> None:
    """Two CPUs whose VMX differs in its revision alone: -EIO at load."""
    k = kernel()
    k.registers[1, "MSR_IA32_VMX_BASIC"] = BASIC + 1
    result, seen = do(k, "load")
    assert (result, exits(seen, "memcmp")) == (-5, [0, 1])


def test_shadow_paging_wants_nx() -> None:
    """Without EPT, by parameter or CPU, vmx_hardware_setup() asks for NX, else -EOPNOTSUPP."""
    for more in ({"params": {"ept": "0"}}, {"features": {"ept": False}}):
        run = vmx("load", "unload", **more)
        assert calls(events(run), "vmx_hardware_setup")[2] == "boot_cpu_has"
        assert results(run) == [0, 0]
        run = vmx("load", fail="boot_cpu_has#3", **more)
        assert exits(events(run), "vmx_hardware_setup") == [-95]
        assert run.trace.log == ["kvm_intel: NX (Execute Disable) not supported"]
        assert (results(run), left(run)) == ([-95], [])


def test_smaller_addresses_without_ept() -> None:
    """Without EPT vmx_init() allows guests with fewer physical address bits; __vmx_exit() takes that back."""
    k = kernel(params={"ept": "0"})
    do(k, "load")
    assert k[X86].allow_smaller_maxphyaddr
    do(k, "unload")
    assert not k[X86].allow_smaller_maxphyaddr
    k = kernel()
    do(k, "load")
    assert not k[X86].allow_smaller_maxphyaddr


@pytest.mark.parametrize(("mode", "errno"), [("0", 0), ("1", 0), ("2", -22)])
def test_pt_mode(mode: str, errno: int) -> None:
    """vmx_hardware_setup() knows two modes of Processor Trace, and gives -EINVAL for a third."""
    run = vmx("load", params={"pt_mode": mode})
    assert results(run) == [errno]
    assert exits(events(run), "vmx_hardware_setup") == [errno]
    if errno:
        assert "nested_vmx_hardware_setup" not in calls(events(run), "vmx_hardware_setup")
        assert left(run) == []


def test_no_area_for_the_second_cpu() -> None:
    """alloc_kvm_area() frees every possible CPU's page, NULL too; the wakeup handler is set anyway."""
    run = vmx("load", fail="alloc_vmcs_cpu#2", cpus=3)
    assert calls(events(run), "alloc_kvm_area") == ["alloc_vmcs_cpu", "alloc_vmcs_cpu", "free_kvm_area"]
    assert calls(events(run), "free_kvm_area") == ["free_vmcs"] * 3
    assert objects(run, "free_page") == ["vmcs", "NULL", "NULL", "vmx_bitmap", "vmx_bitmap#2"]
    assert calls(events(run), "vmx_hardware_setup")[4:] == [
        "alloc_kvm_area",
        "nested_vmx_hardware_unsetup",
        "kvm_set_posted_intr_wakeup_handler",
    ]
    assert undone(events(run), "kvm_x86_vendor_init")[0] == ">out_mmu_exit"
    assert results(run) == [-12]
    assert left(run) == HANDLER


def test_the_handler_outlives_the_module() -> None:
    """What alloc_kvm_area() failed with stays behind until a later life of the module takes it back."""
    run = vmx("load", "load", "unload", fail="__alloc_pages_node", cpus=1)
    assert results(run) == [-12, 0, 0]
    assert left(run) == []  # a later life of the module takes it back
    k = kernel()
    do(k, "load")
    assert k[Irq].kvm_posted_intr_wakeup_handler is pi_wakeup_handler
    do(k, "unload")
    assert k[Irq].kvm_posted_intr_wakeup_handler is None


def test_no_area_and_not_nested() -> None:
    """With nested=0 there are no bitmaps to free when alloc_kvm_area() fails."""
    run = vmx("load", fail="alloc_kvm_area", params={"nested": "0"})
    assert calls(events(run), "vmx_hardware_setup")[2:] == [
        "alloc_kvm_area",
        "kvm_set_posted_intr_wakeup_handler",
    ]
    assert results(run) == [-12]
    assert left(run) == HANDLER


@pytest.mark.parametrize(("nth", "freed"), [(1, ["NULL", "NULL"]), (2, ["vmx_bitmap", "NULL"])])
def test_no_bitmap(nth: int, freed: list[str]) -> None:
    """nested_vmx_hardware_setup() in nested.c frees both bitmaps itself, and -ENOMEM goes up."""
    run = vmx("load", fail=f"__get_free_page#{nth}")
    assert calls(events(run), "nested_vmx_hardware_setup") == ["__get_free_page"] * nth + [
        "nested_vmx_hardware_unsetup"
    ]
    assert objects(run, "free_page") == freed
    assert "alloc_kvm_area" not in calls(events(run), "vmx_hardware_setup")
    assert results(run) == [-12]
    assert left(run) == []


@pytest.mark.parametrize(
    "more", [{"params": {"enable_shadow_vmcs": "0"}}, {"features": {"shadow_vmcs": False}}]
)
def test_no_shadow_vmcs(more: dict[str, Any]) -> None:
    """Without shadow VMCS nested.c allocates nothing and frees nothing."""
    run = vmx("load", "unload", **more)
    assert calls(events(run), "nested_vmx_hardware_setup") == []
    assert calls(events(run, 1), "nested_vmx_hardware_unsetup") == []
    assert results(run) == [0, 0]


def test_not_nested() -> None:
    """With nested=0 neither half of nested.c is called."""
    run = vmx("load", "unload", params={"nested": "0"})
    assert "nested_vmx_hardware_setup" not in calls(events(run), "vmx_hardware_setup")
    assert "nested_vmx_hardware_unsetup" not in calls(events(run, 1), "vmx_hardware_unsetup")
    assert left(run) == []


def test_turning_vmx_on_and_off() -> None:
    """Each CPU: perf is told, CR4.VMXE set, VMXON on its own page; back: VMXOFF, CR4.VMXE, perf."""
    run = vmx("load", "unload")
    assert calls(events(run), "vmx_enable_virtualization_cpu") == ["intel_pt_handle_vmx", "kvm_cpu_vmxon"]
    assert calls(events(run), "kvm_cpu_vmxon") == ["cr4_set_bits", "vmxon"]
    assert calls(events(run, 1), "vmx_disable_virtualization_cpu") == [
        "kvm_cpu_vmxoff",
        "intel_pt_handle_vmx",
    ]
    assert calls(events(run, 1), "kvm_cpu_vmxoff") == ["vmxoff", "cr4_clear_bits"]
    used = [a["uses"] for kind, _, name, a, _ in events(run) if name == "kvm_cpu_vmxon" and a and "uses" in a]
    assert used == ["vmcs", "vmcs#2"]
    assert writes(events(run), 1) == [("CR4", CR4_BOOT | VMXE)]
    assert writes(events(run, 1), 1) == [("CR4", CR4_BOOT)]
    assert changed(run) == {}
    assert [a["vmxe_cpus"] for a in run.trace.after.values()] == [[], [0, 1], []]


def test_cr4_before_vmxon_and_after_vmxoff() -> None:
    """VMXON faults with CR4.VMXE clear, so it is set before; and cleared after VMXOFF."""
    run = vmx("load", "unload", cpus=1)
    order = [
        name for kind, _, name, _, _ in events(run) + events(run, 1) if name in ("CR4", "vmxon", "vmxoff")
    ]
    assert order == ["CR4", "vmxon", "vmxon", "vmxoff", "vmxoff", "CR4"]


def test_vmxon_faults() -> None:
    """The label fault in kvm_cpu_vmxon(): CR4.VMXE goes, -EFAULT; perf is told; the user gets -EIO."""
    run = vmx("load", fail="vmxon@1")
    seen = events(run)
    assert calls(seen, "kvm_cpu_vmxon", 2) == [
        "cr4_set_bits",
        "vmxon",
        ">fault",
        "rdmsrl_safe",
        "cr4_clear_bits",
    ]
    assert exits(seen, "kvm_cpu_vmxon") == [0, -14]
    assert calls(seen, "vmx_enable_virtualization_cpu", 2) == [
        "intel_pt_handle_vmx",
        "kvm_cpu_vmxon",
        "intel_pt_handle_vmx",
    ]
    assert exits(seen, "vmx_enable_virtualization_cpu") == [0, -14]
    assert warnings(seen) == [("kvm_cpu_vmxon", "VMXON faulted, MSR_IA32_FEAT_CTL (0x3a) = 0x5")]
    assert writes(seen, 1) == [("CR4", CR4_BOOT | VMXE), ("CR4", CR4_BOOT)]
    assert results(run) == [-5]
    assert left(run) == []
    assert changed(run) == {}


def test_perf_is_told() -> None:
    """intel_pt_handle_vmx() keeps for each CPU whether VMX is on."""
    k = kernel()
    do(k, "load")
    assert [k[Pt].vmx_on[cpu] for cpu in (0, 1)] == [1, 1]
    do(k, "unload")
    assert [k[Pt].vmx_on[cpu] for cpu in (0, 1)] == [0, 0]


def test_another_hypervisor() -> None:
    """CR4.VMXE set: vmx_enable_virtualization_cpu() gives -EBUSY, the user -EIO; the CPU is left alone."""
    run = vmx("foreign-on=1", "load", "foreign-off=1", "load", "unload")
    assert exits(events(run, 1), "vmx_enable_virtualization_cpu") == [0, -16]
    assert calls(events(run, 1), "vmx_enable_virtualization_cpu", 2) == []
    assert writes(events(run, 1), 1) == []
    assert results(run) == [0, -5, 0, 0, 0]
    assert [a["vmxe_cpus"] for a in run.trace.after.values()] == [[], [1], [1], [], [0, 1], []]


def test_vmxoff_faults() -> None:
    """kvm_cpu_vmxoff(): the label fault clears CR4.VMXE too; kvm_spurious_fault() is a BUG at unload."""
    run = vmx("load", "unload", fail="vmxoff@1")
    assert writes(events(run, 1), 1) == [("CR4", CR4_BOOT)]
    assert ("goto", "kvm_cpu_vmxoff", -5) in [(kind, name, v) for kind, _, name, _, v in events(run, 1)]
    assert results(run) == [0, None]
    assert run.trace.log == ["kernel BUG: !kvm_rebooting"]


def test_vmxoff_faults_while_rebooting() -> None:
    """kvm_spurious_fault() lets a fault pass while the machine reboots."""
    k = kernel()
    do(k, "load")
    k[KvmMain].kvm_rebooting = True
    arm(k, [parse("vmxoff@1")], Vocabulary.of(backends.load("x86-vmx")))
    result, seen = do(k, "unload")
    assert exits(seen, "kvm_cpu_vmxoff") == [0, -5]
    assert calls(seen, "vmx_disable_virtualization_cpu", 2) == [
        "kvm_cpu_vmxoff",
        "kvm_spurious_fault",
        "intel_pt_handle_vmx",
    ]
    assert result == 0


def test_loaded_vmcss_are_written_back() -> None:
    """A CPU writes back every VMCS it holds before VMXOFF, and forgets it."""
    k = kernel()
    do(k, "load")
    assert k[Vmx].loaded_vmcss_on_cpu == {0: [], 1: []}
    assert k[Vmx].wakeup_vcpus_on_cpu == {0: [], 1: []}
    mine = k[Vmx].loaded_vmcss_on_cpu[1]
    mine += ["vmcs01", "vmcs02"]
    _, seen = do(k, "unload")
    assert calls(seen, "vmx_disable_virtualization_cpu", 2)[:3] == [
        "vmcs_clear",
        "vmcs_clear",
        "kvm_cpu_vmxoff",
    ]
    assert mine == []


def test_emergency() -> None:
    """In a crash a CPU writes its VMCSs back and leaves VMX; one that is out already does nothing."""
    k = kernel()
    do(k, "load")
    k[Vmx].loaded_vmcss_on_cpu[1] += ["vmcs01"]
    emergency = "vmx_emergency_disable_virtualization_cpu"
    seen = k.record()
    k.run_on("nmi", 1, cpu_emergency_disable_virtualization)
    assert calls(seen, emergency) == ["vmcs_clear", "kvm_cpu_vmxoff"]
    assert k[KvmMain].kvm_rebooting
    assert k[Vmx].loaded_vmcss_on_cpu[1] == ["vmcs01"]
    seen = k.record()
    k.run_on("nmi", 1, cpu_emergency_disable_virtualization)
    assert calls(seen, emergency) == []


L1TF = {"l1tf_bug": True}
FLUSH = ["static_branch_enable vmx_l1d_should_flush", "static_branch_enable vmx_l1d_flush_cond"]
ALWAYS = ["static_branch_enable vmx_l1d_should_flush", "static_branch_disable vmx_l1d_flush_cond"]
NEVER = ["static_branch_disable vmx_l1d_should_flush", "static_branch_disable vmx_l1d_flush_cond"]


def l1d(seen: list[Event]) -> list[str]:
    """What vmx_setup_l1d_flush() called, static keys with their names."""
    inside, out = False, []
    for kind, _, name, a, _ in seen:
        if name == "vmx_setup_l1d_flush":
            inside = kind == "enter"
        elif inside and kind == "enter":
            out.append(f"{name} {(a or {}).get('key', '')}".strip())
    return out


@pytest.mark.parametrize(
    ("param", "state", "wanted"),
    [
        ("auto", "cond", ["alloc_pages", *FLUSH]),
        ("cond", "cond", ["alloc_pages", *FLUSH]),
        ("always", "always", ["alloc_pages", *ALWAYS]),
        ("never", "never", NEVER),
    ],
)
def test_flushing_the_l1d(param: str, state: str, wanted: list[str]) -> None:
    """vmx_setup_l1d_flush() for each word of the parameter; after unload the state is auto again."""
    k = kernel(params={"vmentry_l1d_flush": param}, features=L1TF)
    _, seen = do(k, "load")
    assert l1d(seen) == wanted
    assert k[Bugs].l1tf_vmx_mitigation == state
    _, seen = do(k, "unload")
    assert calls(seen, "vmx_cleanup_l1d_flush") == (["free_pages"] if "alloc_pages" in wanted else [])
    assert k[Bugs].l1tf_vmx_mitigation == "auto"


@pytest.mark.parametrize(
    ("host", "param", "state"),
    [
        ("OFF", "auto", "never"),
        ("FLUSH_NOWARN", "auto", "cond"),
        ("FLUSH", "auto", "cond"),
        ("FLUSH_NOSMT", "auto", "cond"),
        ("FULL", "auto", "always"),
        ("FULL", "never", "never"),
        ("FULL_FORCE", "auto", "always"),
        ("FULL_FORCE", "never", "always"),
    ],
)
def test_the_kernel_s_own_l1tf_choice(host: str, param: str, state: str) -> None:
    """auto follows the kernel's l1tf=; full,force overrides the parameter."""
    k = kernel(params={"vmentry_l1d_flush": param}, features=L1TF)
    k[Bugs].l1tf_mitigation = l1tf_mitigations[f"L1TF_MITIGATION_{host}"]
    do(k, "load")
    assert k[Bugs].l1tf_vmx_mitigation == state


@pytest.mark.parametrize(
    ("more", "state", "wanted"),
    [
        ({}, "not required", []),
        ({"features": L1TF, "params": {"ept": "0"}}, "EPT disabled", []),
        ({"features": {**L1TF, "skip_vmentry_l1dflush": True}}, "not required", []),
        ({"features": {**L1TF, "flush_l1d": True}}, "cond", FLUSH),
    ],
)
def test_no_pages_to_flush_with(more: dict[str, Any], state: str, wanted: list[str]) -> None:
    """No bug, no EPT, an outer hypervisor that flushes, or an instruction for it: no pages."""
    k = kernel(**more)
    _, seen = do(k, "load")
    assert l1d(seen) == wanted
    assert k[Bugs].l1tf_vmx_mitigation == state


def test_pointers_that_are_cleared() -> None:
    """vmx_cleanup_l1d_flush() and free_kvm_area() clear what they free, nested.c does not."""
    k = kernel(features=L1TF)
    do(k, "load")
    g = k[Vmx]
    assert g.vmx_l1d_flush_pages
    assert all(g.vmxarea[cpu] for cpu in k.possible)
    vmx_cleanup_l1d_flush(k)
    vmx_hardware_unsetup(k)
    assert g.vmx_l1d_flush_pages is None
    assert [g.vmxarea[cpu] for cpu in k.possible] == [None, None]
    assert all(k[Nested].vmx_bitmap)


def test_words_of_the_parameter() -> None:
    """vmentry_l1d_flush takes four words; those that sysfs alone shows are refused, as is a typo."""
    for word in ("not required", "EPT disabled", "allways", ""):
        with pytest.raises(Misuse, match="vmentry_l1d_flush: expected auto, never, cond or always"):
            vmx("load", params={"vmentry_l1d_flush": word})
    run = vmx("load", params={"vmentry_l1d_flush": "always\n"})
    assert run.trace.params["vmentry_l1d_flush"] == "always"


HV = {"hyperv": True}


def test_enlightened_vmcs() -> None:
    """On Hyper-V hv_init_evmcs() asks for each online CPU's page, then turns the static key on."""
    run = vmx("load", "unload", features=HV)
    assert calls(events(run), "hv_init_evmcs") == [
        "hv_get_vp_assist_page",
        "hv_get_vp_assist_page",
        "static_branch_enable",
    ]
    assert run.trace.log == ["kvm_intel: Using Hyper-V Enlightened VMCS"]
    assert calls(events(run), "vmx_enable_virtualization_cpu")[0] == "hv_get_vp_assist_page"
    assert calls(events(run, 1), "vmx_disable_virtualization_cpu") == [
        "kvm_cpu_vmxoff",
        "hv_get_vp_assist_page",
        "intel_pt_handle_vmx",
    ]
    assert results(run) == [0, 0]
    assert left(run) == []


@pytest.mark.parametrize(
    ("more", "asked"),
    [
        ({}, []),
        ({"features": HV, "params": {"enlightened_vmcs": "0"}}, []),
        ({"features": HV, "fail": "hv_get_vp_assist_page"}, ["hv_get_vp_assist_page"]),
    ],
)
def test_no_enlightened_vmcs(more: dict[str, Any], asked: list[str]) -> None:
    """Not on Hyper-V, not wanted, or a CPU without its page: VMX is used as it is."""
    run = vmx("load", "unload", **more)
    assert calls(events(run), "hv_init_evmcs") == asked
    assert calls(events(run), "vmx_enable_virtualization_cpu")[0] == "intel_pt_handle_vmx"
    assert results(run) == [0, 0]


def test_a_cpu_without_its_page() -> None:
    """With the enlightened VMCS in use, a CPU without a page gives -EFAULT before perf is told."""
    run = vmx("load", features=HV, fail="hv_get_vp_assist_page@1")
    assert calls(events(run), "vmx_enable_virtualization_cpu", 2) == ["hv_get_vp_assist_page"]
    assert exits(events(run), "vmx_enable_virtualization_cpu") == [0, -14]
    assert results(run) == [-5]
    assert left(run) == []


def test_resetting_the_page() -> None:
    """hv_reset_evmcs() clears what KVM set in the CPU's page, and warns if there is none any more."""
    k = kernel(features=HV)
    do(k, "load")
    page = k[HvInit].hv_vp_assist_page[1]
    page.directhypercall = page.current_nested_vmcs = page.enlighten_vmentry = 1
    do(k, "unload")
    assert (page.directhypercall, page.current_nested_vmcs, page.enlighten_vmentry) == (0, 0, 0)
    run = vmx("load", "unload", features=HV, fail="hv_get_vp_assist_page#2@1")
    assert warnings(events(run, 1)) == [("hv_reset_evmcs", "!vp_ap")]
    assert results(run) == [0, 0]


def test_a_failed_load_forgets_the_module() -> None:
    """After a failed load kvm_intel is gone, and what its init function had set with it; kvm.ko stays."""
    k = kernel(params={"pt_mode": "2", "ept": "0"})
    assert do(k, "load")[0] == -22
    assert find_module(k, "kvm")
    assert not find_module(k, "kvm_intel")
    assert k[Vmx].enable_ept
