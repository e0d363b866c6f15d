# SPDX-License-Identifier: GPL-2.0-only
"""What x86-svm and x86-vmx have in common, against arch/x86/kvm/{x86,mmu/mmu}.c of 6.12.117, read by hand."""

from __future__ import annotations

from typing import Any

import pytest
from bare_machine import errno_of
from leftovers import changed, events, held, results
from reading import calls, go, undone, writes

from arch.x86.hyperv.hv_init import HvInit
from arch.x86.kernel.msr import MSR_IA32_CR_PAT, cr4_clear_bits, cr4_set_bits
from arch.x86.kernel.reboot import (
    Reboot,
    cpu_emergency_disable_virtualization,
    cpu_emergency_register_virt_callback,
    cpu_emergency_unregister_virt_callback,
)
from arch.x86.kernel.smpboot import arch_cpuhp_cleanup_dead_cpu
from arch.x86.kvm.svm import svm_init_ops
from arch.x86.kvm.user_return import UserReturn, kvm_add_user_return_msr
from arch.x86.kvm.vmx import vt_init_ops
from arch.x86.kvm.x86 import kvm_x86_vendor_exit, kvm_x86_vendor_init
from kvm_ref import backend as backends
from kvm_ref.errno import EEXIST
from kvm_ref.fault import arm, parse
from kvm_ref.kernel import Kernel, KernelBug, SystemState
from kvm_ref.linux.syscore_ops import Syscore, register_syscore, syscore
from kvm_ref.scenario import Cpus, Run, Scenario, machine, perform
from kvm_ref.virt.kvm_main import KvmMain
from kvm_ref.vocabulary import Vocabulary

VENDOR = {"x86-svm": "svm", "x86-vmx": "vmx"}
both = pytest.mark.parametrize("backend", VENDOR)
# kvm_init() of 6.12.117 forgets the directory on three of its labels.
DEBUGFS = ("debugfs_dir", "kvm")


def kernel(backend: str, **more: Any) -> Kernel:
    """A machine with two CPUs, on which nothing has run."""
    return machine(Scenario(backend, (), cpus=Cpus.of((0, 1)), **more), backends.load(backend))


def kept(run: Run) -> list[tuple[str, object]]:
    """What a run left behind, but for the debugfs directory."""
    return [h for h in held(backends.load(run.scenario.backend), run) if h[1] != "kvm"]


def exits(run: Run, function: str, step: int = 0) -> list[object]:
    """What each call of `function` returned."""
    return [v for kind, _, name, _, v in events(run, step) if (kind, name) == ("exit", function)]


def args(run: Run, function: str, step: int = 0) -> list[dict[str, Any] | None]:
    """The recorded arguments of each call of `function`."""
    return [a for kind, _, name, a, _ in events(run, step) if (kind, name) == ("enter", function)]


@both
def test_vendor_init_follows_the_c(backend: str) -> None:
    """kvm_x86_vendor_init() in x86.c makes its calls in this order, one IPI for each online CPU."""
    run = go(backend, "load")
    assert results(run) == [0]
    assert calls(events(run), "kvm_x86_vendor_init") == [
        "boot_cpu_has",
        "boot_cpu_has",
        "rdmsrl_safe",
        "kvm_alloc_emulator_cache",
        "alloc_percpu",
        "kvm_mmu_vendor_module_init",
        "rdmsrl_safe",
        f"{VENDOR[backend]}_hardware_setup",
        "smp_call_function_single",
        "smp_call_function_single",
        "kvm_timer_init",
        "pvclock_gtod_register_notifier",
        "kvm_register_perf_callbacks",
    ]
    locks = [(kind, name) for kind, _, name, _, _ in events(run) if name == "vendor_module_lock"]
    assert locks == [("lock", "vendor_module_lock"), ("unlock", "vendor_module_lock")]


@both
def test_vendor_exit_follows_the_c(backend: str) -> None:
    """kvm_x86_vendor_exit() in x86.c: perf first, the operations cleared last of all, under the lock."""
    run = go(backend, "load", "unload")
    assert calls(events(run, 1), "kvm_x86_vendor_exit") == [
        "kvm_unregister_perf_callbacks",
        "kvm_lapic_exit",
        "cpufreq_unregister_notifier",
        "cpuhp_remove_state_nocalls",
        "pvclock_gtod_unregister_notifier",
        "irq_work_sync",
        "cancel_work_sync",
        f"{VENDOR[backend]}_hardware_unsetup",
        "kvm_mmu_vendor_module_exit",
        "free_percpu",
        "kmem_cache_destroy",
    ]
    last = [(kind, name) for kind, _, name, _, _ in events(run, 1) if name.endswith(("_lock", "_destroy"))]
    assert last[-3:] == [
        ("exit", "kmem_cache_destroy"),
        ("lock", "vendor_module_lock"),
        ("unlock", "vendor_module_lock"),
    ]


@both
def test_a_load_and_unload_leave_nothing(backend: str) -> None:
    """Two lives of the vendor module: every object released, every register as it was, kvm.ko still in."""
    run = go(backend, "load", "unload", "load", "unload")
    assert results(run) == [0, 0, 0, 0]
    assert held(backends.load(backend), run) == []
    assert changed(run) == {}
    assert run.trace.after["4 unload"]["modules"] == ["kvm"]


MMU = "kvm_mmu_vendor_module_exit"
UNWIND = [
    ("alloc_percpu", "out_free_x86_emulator_cache", [], -12),
    ("kvm_mmu_vendor_module_init", "out_free_percpu", ["free_percpu"], -12),
    ("HARDWARE_setup", "out_mmu_exit", [MMU, "free_percpu"], None),
    ("__cr4_reserved_bits", "out_unwind_ops", ["HARDWARE_unsetup", MMU, "free_percpu"], -5),
    ("HARDWARE_compat#2", "out_unwind_ops", ["HARDWARE_unsetup", MMU, "free_percpu"], -5),
]


@both
@pytest.mark.parametrize(("fault", "label", "undo", "errno"), UNWIND)
def test_each_label_of_vendor_init(
    backend: str, fault: str, label: str, undo: list[str], errno: int | None
) -> None:
    """Each label of kvm_x86_vendor_init() undoes what stands below it in x86.c; nothing is left."""
    vendor = VENDOR[backend]
    spec = fault.replace("HARDWARE_setup", f"{vendor}_hardware_setup")
    spec = spec.replace("HARDWARE_compat", f"{vendor}_check_processor_compat")
    run = go(backend, "load", fail=spec)
    wanted = [u.replace("HARDWARE", f"{vendor}_hardware") for u in undo]
    assert undone(events(run), "kvm_x86_vendor_init") == [f">{label}", *wanted, "kmem_cache_destroy"]
    assert results(run) == [errno or {"svm": -12, "vmx": -5}[vendor]]
    assert kept(run) == []
    assert changed(run) == {}


@both
def test_the_module_can_be_loaded_after_each_failure(backend: str) -> None:
    """out_unwind_ops clears the operations, so the next load is not refused."""
    run = go(backend, "load", "load", "unload", fail="__cr4_reserved_bits#2")
    assert results(run) == [-5, 0, 0]
    assert kept(run) == []


@both
@pytest.mark.parametrize(
    ("fault", "errno", "line"),
    [
        ("boot_cpu_has", -95, "kvm: inadequate fpu"),
        ("boot_cpu_has#2", -95, "kvm: inadequate fpu"),
        ("rdmsrl_safe", -5, "kvm: host PAT[0] is not WB"),
        ("kvm_alloc_emulator_cache", -12, "kvm: failed to allocate cache for x86 emulator"),
        ("kmem_cache_create_usercopy", -12, "kvm: failed to allocate cache for x86 emulator"),
        ("alloc_percpu", -12, "kvm: failed to allocate percpu kvm_user_return_msrs"),
    ],
)
def test_early_exits_of_vendor_init(backend: str, fault: str, errno: int, line: str) -> None:
    """The exits of kvm_x86_vendor_init() before hardware_setup() give their errno and say why."""
    run = go(backend, "load", fail=fault)
    assert results(run) == [errno]
    assert run.trace.log == [line]
    assert kept(run) == []


@both
def test_a_real_time_kernel_wants_a_constant_tsc(backend: str) -> None:
    """PREEMPT_RT without constant TSC is refused (-EOPNOTSUPP), with it is not."""
    run = go(backend, "load", features={"preempt_rt": True})
    assert results(run) == [-95]
    assert run.trace.log == ["kvm: RT requires X86_FEATURE_CONSTANT_TSC"]
    assert results(go(backend, "load", features={"preempt_rt": True, "constant_tsc": True})) == [0]


@both
def test_pat_that_is_not_write_back(backend: str) -> None:
    """A host whose PAT[0] is not WB (6) is refused with -EIO before anything is allocated."""
    k = kernel(backend)
    k.registers[0, MSR_IA32_CR_PAT] = 0x0007040600070404
    step, _ = perform(k, "load")
    assert step.results == [-5]
    assert calls(step.events or [], "kvm_x86_vendor_init") == ["boot_cpu_has", "boot_cpu_has", "rdmsrl_safe"]


@both
def test_what_vendor_init_does_not_look_at(backend: str) -> None:
    """x86.c ignores what reading EFER, an IPI and the clock's notifiers return: the load succeeds."""
    for fault in (
        "rdmsrl_safe#2",
        "smp_call_function_single#2",
        "cpufreq_register_notifier",
        "cpuhp_setup_state",
        "pvclock_gtod_register_notifier",
    ):
        run = go(backend, "load", "unload", fail=fault)
        assert (fault, results(run)) == (fault, [0, 0])
        assert held(backends.load(backend), run) == []


@both
def test_two_vendors(backend: str) -> None:
    """A second kvm_x86_vendor_init() of a machine gives -EEXIST and names the first; not after the exit."""
    k = kernel(backend)
    first, second = (svm_init_ops, vt_init_ops) if backend == "x86-svm" else (vt_init_ops, svm_init_ops)
    kvm_x86_vendor_init(k, first)
    k.record()
    assert errno_of(lambda: kvm_x86_vendor_init(k, second)) == EEXIST
    assert errno_of(lambda: kvm_x86_vendor_init(k, first)) == EEXIST
    assert k.log[-1] == f"kvm: already loaded vendor module '{first.name}'"
    assert [e[0] for e in k.events] == ["enter", "lock", "unlock", "exit"] * 2
    kvm_x86_vendor_exit(k)
    assert errno_of(lambda: kvm_x86_vendor_init(k, first)) is None


@both
def test_constant_tsc(backend: str) -> None:
    """With a constant TSC kvm_timer_init() does nothing, and the exit takes nothing back."""
    run = go(backend, "load", "unload", features={"constant_tsc": True})
    assert calls(events(run), "kvm_timer_init") == []
    assert "cpufreq_unregister_notifier" not in calls(events(run, 1), "kvm_x86_vendor_exit")
    assert "cpuhp_remove_state_nocalls" not in calls(events(run, 1), "kvm_x86_vendor_exit")


@both
def test_timer_init_follows_the_c(backend: str) -> None:
    """kvm_timer_init(): a look at cpufreq's policy, the notifier, then the hotplug state."""
    run = go(backend, "load")
    assert calls(events(run), "kvm_timer_init") == [
        "cpufreq_cpu_get",
        "cpufreq_cpu_put",
        "cpufreq_register_notifier",
        "cpuhp_setup_state",
    ]
    assert args(run, "cpuhp_setup_state")[0] == {"state": 234, "name": "x86/kvm/clk:online", "obj": 234}
    run = go(backend, "load", fail="cpufreq_cpu_get")
    assert calls(events(run), "kvm_timer_init")[:2] == ["cpufreq_cpu_get", "cpufreq_register_notifier"]


@both
def test_clock_state_rolls_back(backend: str) -> None:
    """If the clock's hotplug state fails on CPU 1, CPU 0 gets kvmclock_cpu_down_prep(), and KVM loads."""
    run = go(backend, "load", fail="cpuhp_issue_call#2")
    callbacks = [(at.cpu, a["callback"]) for kind, at, name, a, _ in events(run) if name == "cpuhp_cb" and a]
    assert callbacks[:2] == [(0, "kvmclock_cpu_online"), (0, "kvmclock_cpu_down_prep")]
    assert results(run) == [0]
    assert run.trace.after["1 load"]["cpuhp_states"] == ["kvm/cpu:online"]


@both
def test_unregistering_what_is_not_there(backend: str) -> None:
    """The exit unregisters notifiers whether they were registered or not, and -ENOENT goes unseen."""
    run = go(backend, "load", "unload", fail="cpufreq_register_notifier pvclock_gtod_register_notifier")
    assert exits(run, "cpufreq_unregister_notifier", 1) == [-2]
    assert exits(run, "pvclock_gtod_unregister_notifier", 1) == [-2]
    assert results(run) == [0, 0]


@both
def test_on_hyperv_the_tsc_may_change(backend: str) -> None:
    """On Hyper-V x86.c asks to be told when the TSC changes: between pvclock and perf, undone after perf."""
    run = go(backend, "load", "unload", features={"hyperv": True})
    assert results(run) == [0, 0]
    assert calls(events(run), "kvm_x86_vendor_init")[-3:] == [
        "pvclock_gtod_register_notifier",
        "set_hv_tscchange_cb",
        "kvm_register_perf_callbacks",
    ]
    assert calls(events(run, 1), "kvm_x86_vendor_exit")[:3] == [
        "kvm_unregister_perf_callbacks",
        "clear_hv_tscchange_cb",
        "kvm_lapic_exit",
    ]
    assert held(backends.load(backend), run) == []
    # HYPERV_REENLIGHTENMENT_VECTOR is 0xee, bit 16 is `enabled`; only that is taken back.
    mine = [[w for w in writes(events(run, step), 0) if w[0].startswith("HV_")] for step in (0, 1)]
    re_ctrl, emu_ctrl = "HV_X64_MSR_REENLIGHTENMENT_CONTROL", "HV_X64_MSR_TSC_EMULATION_CONTROL"
    assert mine == [[(re_ctrl, 0x100EE), (emu_ctrl, 1)], [(re_ctrl, 0xEE)]]


@both
def test_hyperv_that_does_not_tell(backend: str) -> None:
    """set_hv_tscchange_cb() and clear_hv_tscchange_cb() in hyperv/hv_init.c: nothing is written or held."""
    run = go(backend, "load", "unload", features={"hyperv": True, "hv_reenlightenment": False})
    assert "Hyper-V: reenlightenment support is unavailable" in run.trace.log
    assert [w for step in (0, 1) for w in writes(events(run, step), 0) if w[0].startswith("HV_")] == []
    assert (results(run), held(backends.load(backend), run)) == ([0, 0], [])
    k = kernel(backend, features={"hyperv": True})
    k[HvInit].hv_vp_index = None
    step, _ = perform(k, "load")
    assert [w for w in writes(step.events or [], 0) if w[0].startswith("HV_")] == []
    assert k[HvInit].hv_reenlightenment_cb is None


MMU_UNWIND = [
    ("KMEM_CACHE", [">out", "mmu_destroy_caches"], ["NULL", "NULL"]),
    ("kmem_cache_create", [">out", "mmu_destroy_caches"], ["pte_list_desc", "NULL"]),
    ("percpu_counter_init", [">out", "mmu_destroy_caches"], ["pte_list_desc", "kvm_mmu_page_header"]),
    (
        "shrinker_alloc",
        [">out_shrinker", "percpu_counter_destroy", "mmu_destroy_caches"],
        ["pte_list_desc", "kvm_mmu_page_header"],
    ),
]


@both
@pytest.mark.parametrize(("fault", "undo", "destroyed"), MMU_UNWIND)
def test_each_label_of_the_mmu(backend: str, fault: str, undo: list[str], destroyed: list[str]) -> None:
    """kvm_mmu_vendor_module_init() in mmu.c: both labels, and caches destroyed that may be NULL."""
    run = go(backend, "load", fail=fault)
    assert results(run) == [-12]
    assert undone(events(run), "kvm_mmu_vendor_module_init") == undo
    assert [a and a["obj"] for a in args(run, "kmem_cache_destroy")][:2] == destroyed
    assert kept(run) == []


@both
def test_the_mmu_follows_the_c(backend: str) -> None:
    """kvm_mmu_vendor_module_init() and _exit() in mmu.c; the exit is no mirror image of the init."""
    run = go(backend, "load", "unload")
    assert calls(events(run), "kvm_mmu_vendor_module_init") == [
        "KMEM_CACHE",
        "kmem_cache_create",
        "percpu_counter_init",
        "shrinker_alloc",
        "shrinker_register",
    ]
    assert calls(events(run, 1), "kvm_mmu_vendor_module_exit") == [
        "mmu_destroy_caches",
        "percpu_counter_destroy",
        "shrinker_free",
    ]


@both
def test_the_mmu_knows_one_errno(backend: str) -> None:
    """kvm_mmu_vendor_module_init() gives -ENOMEM, whatever percpu_counter_init() gave."""
    run = go(backend, "load", fail="percpu_counter_init=EBUSY")
    assert exits(run, "percpu_counter_init") == [-16]
    assert exits(run, "kvm_mmu_vendor_module_init") == [-12]
    assert results(run) == [-12]


@both
def test_probing_a_user_return_msr(backend: str) -> None:
    """kvm_probe_user_return_msr(): both ways lead through out; a register that faults has no slot."""
    run = go(backend, "load")
    assert calls(events(run), "kvm_probe_user_return_msr") == ["rdmsrl_safe", "wrmsrl_safe"]
    run = go(backend, "load", fail="rdmsrl_safe#3")
    assert calls(events(run), "kvm_probe_user_return_msr") == ["rdmsrl_safe", ">out"]
    assert exits(run, "kvm_probe_user_return_msr")[0] == -5
    assert exits(run, "kvm_add_user_return_msr")[0] == -1
    assert results(run) == [0]
    run = go(backend, "load", fail="wrmsrl_safe")
    assert calls(events(run), "kvm_probe_user_return_msr") == ["rdmsrl_safe", "wrmsrl_safe"]
    assert exits(run, "kvm_add_user_return_msr")[0] == -1


def test_room_for_16_user_return_msrs() -> None:
    """KVM_MAX_NR_USER_RETURN_MSRS is 16: slots 0 to 15, and the 17th register is a BUG."""
    k = kernel("x86-svm")
    assert [kvm_add_user_return_msr(k, f"MSR_{n}") for n in range(16)] == list(range(16))
    with pytest.raises(KernelBug, match="kvm_nr_uret_msrs >= KVM_MAX_NR_USER_RETURN_MSRS"):
        kvm_add_user_return_msr(k, "MSR_16")


@both
def test_a_guest_s_value_is_put_back(backend: str) -> None:
    """drop_user_return_notifiers() writes the host's value back where a guest's is, after the vendor."""
    k = kernel(backend)
    perform(k, "load")
    percpu = k[UserReturn].user_return_msrs
    assert percpu is not None
    msrs = percpu.cpu[1]
    assert msrs is not None
    msrs.registered = True
    msrs.values["MSR_TSC_AUX"].curr = k.registers[1, "MSR_TSC_AUX"] = 7
    step, _ = perform(k, "unload")
    assert writes(step.events or [], 1)[-1] == ("MSR_TSC_AUX", 0)
    assert calls(step.events or [], "kvm_arch_disable_virtualization_cpu", 2) == [
        f"{VENDOR[backend]}_disable_virtualization_cpu",
        "drop_user_return_notifiers",
    ]
    assert not [w for w in writes(step.events or [], 0) if w[0] == "MSR_TSC_AUX"]
    assert not msrs.registered


@both
def test_the_host_s_values_are_read_one_by_one(backend: str) -> None:
    """kvm_user_return_msr_cpu_online() in x86.c: rdmsrl_safe() for each slot, in order; VMX has seven (vmx.c)."""
    syscall = ["MSR_SYSCALL_MASK", "MSR_LSTAR", "MSR_CSTAR", "MSR_EFER"]
    slots = {
        "x86-svm": ["MSR_TSC_AUX"],
        "x86-vmx": [*syscall, "MSR_TSC_AUX", "MSR_STAR", "MSR_IA32_TSX_CTRL"],
    }
    run = go(backend, "load")
    assert calls(events(run), "kvm_user_return_msr_cpu_online") == ["rdmsrl_safe"] * len(slots[backend])
    asked = [
        a["msr"]
        for kind, at, name, a, _ in events(run)
        if a and (kind, at.cpu, name) == ("enter", 1, "rdmsrl_safe")
    ]
    assert asked == slots[backend]


def test_a_host_s_value_that_cannot_be_read() -> None:
    """kvm_user_return_msr_cpu_online() in x86.c does not look at the error: host and curr are 0."""
    k = kernel("x86-svm")
    arm(k, [parse("rdmsrl_safe@1")], Vocabulary.of(k.arch))
    k.registers[0, "MSR_TSC_AUX"] = k.registers[1, "MSR_TSC_AUX"] = 7
    step, _ = perform(k, "load")
    assert step.results == [0]
    percpu = k[UserReturn].user_return_msrs
    assert percpu is not None
    found = [(m.values["MSR_TSC_AUX"].host, m.values["MSR_TSC_AUX"].curr) for m in percpu.cpu.values() if m]
    assert found == [(7, 7), (0, 0)]


@both
def test_enabling_a_cpu_follows_the_c(backend: str) -> None:
    """kvm_arch_enable_virtualization_cpu() in x86.c: the host's registers, the check, then the vendor."""
    run = go(backend, "load")
    assert calls(events(run), "kvm_arch_enable_virtualization_cpu") == [
        "kvm_user_return_msr_cpu_online",
        "kvm_x86_check_processor_compatibility",
        f"{VENDOR[backend]}_enable_virtualization_cpu",
    ]
    assert calls(events(run), "kvm_x86_check_processor_compatibility") == [
        "__cr4_reserved_bits",
        f"{VENDOR[backend]}_check_processor_compat",
    ]


@both
def test_the_check_is_made_again_when_a_cpu_is_enabled(backend: str) -> None:
    """A CPU that passes at load and fails in its hotplug callback: -EIO through err_cpuhp and err_virt."""
    run = go(backend, "load", fail="__cr4_reserved_bits#2@1")
    assert exits(run, "kvm_arch_enable_virtualization_cpu") == [0, -5]
    assert undone(events(run), "kvm_enable_virtualization") == [
        ">err_cpuhp",
        "kvm_arch_disable_virtualization",
    ]
    assert undone(events(run), "kvm_init")[0] == ">err_virt"
    assert results(run) == [-5]
    assert kept(run) == []
    assert changed(run) == {}


@both
def test_offline_cpus_are_not_asked(backend: str) -> None:
    """The check at load goes to online CPUs; memory is allocated for every possible one."""
    cpus = Cpus((0, 1, 2, 3), (0, 1, 2), (0, 2))
    k = machine(Scenario(backend, (), cpus=cpus), backends.load(backend))
    step, _ = perform(k, "load")
    asked = [
        a["cpu"]
        for kind, _, name, a, _ in step.events or []
        if (kind, name) == ("enter", "smp_call_function_single") and a
    ]
    per_cpu = {"x86-svm": "svm_cpu_init", "x86-vmx": "alloc_vmcs_cpu"}[backend]
    allocated = [
        a["cpu"] for kind, _, name, a, _ in step.events or [] if (kind, name) == ("enter", per_cpu) and a
    ]
    assert (asked, allocated) == ([0, 2], [0, 1, 2, 3])


@both
def test_emergency(backend: str) -> None:
    """In a crash each CPU leaves VMX or SVM through the callback, which exists while KVM is enabled."""
    k = kernel(backend)
    k.record()
    cpu_emergency_disable_virtualization(k)
    assert [e[2] for e in k.events] == ["cpu_emergency_disable_virtualization"] * 2
    perform(k, "load")
    for cpu in k.online:
        events = k.record()
        k.run_on("nmi", cpu, cpu_emergency_disable_virtualization)
        assert calls(events, "cpu_emergency_disable_virtualization") == [
            f"{VENDOR[backend]}_emergency_disable_virtualization_cpu"
        ]
    assert k[KvmMain].kvm_rebooting
    assert k.arch.after(k) == {{"x86-svm": "svme_cpus", "x86-vmx": "vmxe_cpus"}[backend]: []}


ENDS = {
    "reboot": "native_machine_restart",
    "poweroff": "native_machine_power_off",
    "halt": "native_machine_halt",
    "kexec": "",
}


@both
@pytest.mark.parametrize("verb", ENDS)
def test_the_end_stops_the_other_cpus(backend: str, verb: str) -> None:
    """native_machine_shutdown() in reboot.c: after kvm_shutdown(), sysvec_reboot() in smp.c on each other CPU."""
    done = go(backend, "load", verb, cpus=3)
    seen = events(done, 1)
    entered = [(at.cpu, name) for kind, at, name, _, _ in seen if kind == "enter"]
    names = [name for _, name in entered]
    after = entered[names.index("native_machine_shutdown") - (1 if ENDS[verb] else 0) :]
    emergency = f"{VENDOR[backend]}_emergency_disable_virtualization_cpu"
    there = ["sysvec_reboot", "cpu_emergency_disable_virtualization", emergency]
    here = [(0, ENDS[verb])] * bool(ENDS[verb]) + [
        (0, "native_machine_shutdown"),
        (0, "native_stop_other_cpus"),
    ]
    assert after == [*here, *((cpu, name) for cpu in (1, 2) for name in there)]
    assert names.index("kvm_shutdown") < names.index("native_machine_shutdown")
    assert ("reboot: machine restart" in done.trace.log) == (verb == "reboot")


@both
def test_the_end_without_kvm(backend: str) -> None:
    """cpu_emergency_disable_virtualization() in reboot.c: no callback is there when KVM is not enabled."""
    seen = events(go(backend, "load=kvm", "reboot"), 1)
    assert calls(seen, "sysvec_reboot") == ["cpu_emergency_disable_virtualization"]
    assert calls(seen, "cpu_emergency_disable_virtualization") == []


@both
def test_a_cpu_that_is_enabled_late_is_caught(backend: str) -> None:
    """A CPU on which virtualization is on after kvm_shutdown() leaves it when it is stopped, whatever faults."""
    k = kernel(backend)
    perform(k, "load")
    register, bit = {"x86-svm": ("MSR_EFER", 1 << 12), "x86-vmx": ("CR4", 1 << 13)}[backend]
    stop = "svm_asm" if backend == "x86-svm" else "vmxoff"
    arm(k, [parse(f"{stop}#2@1")], Vocabulary.of(k.arch))

    def late(k: Kernel) -> None:
        k.registers[1, register] = k.reset[register] | bit

    register_syscore(k, syscore("late", shutdown=late))
    # Callbacks run last registered first: this one is to come after KVM's.
    k[Syscore].syscore_list.reverse()
    step, _ = perform(k, "reboot")
    assert writes(step.events or [], 1)[-1] == (register, k.reset[register])
    assert k.arch.after(k) == {{"x86-svm": "svme_cpus", "x86-vmx": "vmxe_cpus"}[backend]: []}


def test_there_is_one_emergency_callback() -> None:
    """reboot.c warns about a second callback, and about taking back another than is there."""
    k = kernel("x86-svm")

    def one(k: Kernel) -> None:
        pass

    def two(k: Kernel) -> None:
        pass

    cpu_emergency_register_virt_callback(k, one)
    cpu_emergency_register_virt_callback(k, two)
    assert k[Reboot].cpu_emergency_virt_callback is one
    cpu_emergency_unregister_virt_callback(k, two)
    assert k[Reboot].cpu_emergency_virt_callback is one
    assert [e[2] for e in k.events if e[0] == "warn"] == [
        "cpu_emergency_register_virt_callback",
        "cpu_emergency_unregister_virt_callback",
    ]
    cpu_emergency_unregister_virt_callback(k, one)
    assert k[Reboot].cpu_emergency_virt_callback is None


def test_cr4_is_written_only_if_it_changes() -> None:
    """cr4_update_irqsoff() in cpu/common.c leaves the register alone if it would hold the same."""
    k = kernel("x86-vmx")
    cr4_set_bits(k, 1 << 5)
    cr4_clear_bits(k, 1 << 13)
    assert writes(k.events, 0) == []
    cr4_set_bits(k, 1 << 13)
    assert writes(k.events, 0) == [("CR4", 0x3726E0)]


@both
def test_kvm_ko_stays(backend: str) -> None:
    """kvm.ko goes after the vendor module, not before it (\"Module is in use\")."""
    run = go(backend, "load", "unload=kvm", "unload", "unload=kvm")
    assert results(run) == [0, -16, 0, 0]
    assert run.trace.after["4 unload=kvm"]["modules"] == []


def test_a_dead_cpu_is_told_of_while_the_system_runs() -> None:
    """arch_cpuhp_cleanup_dead_cpu() of smpboot.c asks system_state; tests/data/hotplug_load1.json has the line."""
    k = kernel("x86-svm")
    k.system_state = SystemState.SYSTEM_RESTART
    arch_cpuhp_cleanup_dead_cpu(k, 1)
    assert k.log == []
    k.system_state = SystemState.SYSTEM_RUNNING
    arch_cpuhp_cleanup_dead_cpu(k, 1)
    assert k.log == ["smpboot: CPU 1 is now offline"]
