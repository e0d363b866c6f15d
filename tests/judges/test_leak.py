# SPDX-License-Identifier: GPL-2.0-only
"""The judge of leaks."""

from __future__ import annotations

import pytest
from reading import go
from tape import Tape, changed, drop_call, kernel_trace, vocabulary

from kvm_ref.judges.finding import Finding
from kvm_ref.judges.leak import leak
from kvm_ref.trace import Step, Trace

SVM = vocabulary()


def told(findings: list[Finding]) -> list[tuple[int, str, str, str]]:
    return [(f.step, f.resource, f.label, f.acquired) for f in findings]


def of(trace: Trace) -> list[tuple[int, str, str, str]]:
    return told(leak(trace, SVM))


def test_a_clean_run_leaks_nothing() -> None:
    """Loading and unloading twice leaves nothing behind."""
    assert leak(go("x86-svm", "load", "unload", "load", "unload").trace, SVM) == []


@pytest.mark.parametrize(
    ("fail", "label"),
    [
        ("misc_register", "kvm_init:err_register"),
        ("cpuhp_setup_state#2", "kvm_init:err_virt"),
        ("kvm_register_device_ops", "kvm_init:err_vfio"),
    ],
)
def test_the_directory_that_three_labels_forget(fail: str, label: str) -> None:
    """kvm_init() of 6.12.117 forgets debugfs at three labels (virt/kvm/kvm_main.c; b31e7c24b475)."""
    where = "kvm_init_debug < kvm_init < svm_init, step 1 (load)"
    assert of(go("x86-svm", "load", fail=fail).trace) == [(0, "debugfs:kvm", label, where)]


def test_a_leak_is_told_once_and_in_one_line() -> None:
    """The directory that the first load forgot is no news after the second unload."""
    findings = leak(go("x86-svm", "load", "load", "unload", fail="misc_register").trace, SVM)
    assert [f.message for f in findings] == [
        "debugfs:kvm is still held after load failed with -EBUSY; "
        "acquired in kvm_init_debug < kvm_init < svm_init, step 1 (load)"
    ]


def test_a_release_that_is_taken_out_of_a_failed_load() -> None:
    """The error path without free_percpu() leaks what alloc_percpu() gave; the label is vendor_init's."""
    trace = go("x86-svm", "load", fail="kvm_mmu_vendor_module_init").trace
    assert of(trace) == []
    mutated = changed(trace, 0, lambda events: drop_call(events, "free_percpu"))
    assert of(mutated) == [
        (
            0,
            "percpu:percpu:kvm_user_return_msrs",
            "kvm_x86_vendor_init:out_free_percpu",
            "kvm_x86_vendor_init < svm_init, step 1 (load)",
        )
    ]


def test_a_release_that_is_taken_out_of_an_unload() -> None:
    """After an unload what was acquired since the load is a leak; no goto, no label."""
    trace = go("x86-svm", "load", "unload").trace
    mutated = changed(trace, 1, lambda events: drop_call(events, "kmem_cache_destroy", obj="kvm_vcpu"))
    assert of(mutated) == [(1, "kmem_cache:kvm_vcpu", "", "kvm_init < svm_init, step 1 (load)")]


def test_what_a_failed_verb_gave_up() -> None:
    """A verb that fails must not release what was held before it."""
    tape = Tape()
    tape.enter("svm_init")
    tape.call("alloc_workqueue", "ptr", "wq")
    tape.leave("svm_init", 0)
    tape.step("load")
    tape.enter("kvm_init")
    tape.call("destroy_workqueue", obj="wq")
    tape.leave("kvm_init", -12)
    tape.step("load", -12)
    (finding,) = leak(tape.trace(), SVM)
    assert finding.message == (
        "workqueue:wq was held before load failed with -ENOMEM, and is not any more: "
        "released in kvm_init, step 2 (load)"
    )
    assert (finding.resource, finding.acquired) == ("workqueue:wq", "svm_init, step 1 (load)")


def test_what_a_failed_verb_gave_up_and_took_again() -> None:
    """What is held again at the end of the verb is held as it was before."""
    tape = Tape()
    tape.call("alloc_workqueue", "ptr", "wq")
    tape.step("load")
    tape.call("destroy_workqueue", obj="wq")
    tape.call("alloc_workqueue", "ptr", "wq")
    tape.step("unload", -11)
    assert told(leak(tape.trace(), SVM)) == []


@pytest.mark.parametrize(
    "verbs",
    [
        ("load", "open-dev", "create-vm", "close-dev", "close-vm", "unload"),
        ("load", "create-vm", "open-dev", "close-vm", "close-dev", "unload"),
        ("load", "create-vm", "create-vm", "close-vm=0", "close-vm", "unload"),
    ],
)
def test_files_that_close_in_any_order(verbs: tuple[str, ...]) -> None:
    """References to the module are alike: what counts is that none is left at the end."""
    assert leak(go("x86-svm", *verbs).trace, SVM) == []


def test_what_a_closed_vm_leaves() -> None:
    """What was acquired when a VM was created is to be released with the last VM, not later."""
    trace = go("x86-svm", "load", "create-vm", "close-vm", "unload").trace
    kept = changed(trace, 2, lambda events: drop_call(events, "kvm_coalesced_mmio_free"))
    (finding,) = leak(kept, SVM)
    assert (finding.step, finding.resource) == (2, "pages:coalesced_mmio_ring")
    assert (
        "is still held after close-vm; acquired in kvm_coalesced_mmio_init < kvm_create_vm" in finding.message
    )


def dependency(result: int) -> Tape:
    tape = Tape()
    for init, name in (("kvm_x86_init", "of kvm"), ("svm_init", "of kvm-amd")):
        tape.enter(init)
        tape.call("alloc_workqueue", "ptr", name)
        tape.leave(init, result if init == "svm_init" else None)
    tape.step("load", result)
    return tape


def test_a_module_that_was_loaded_first_keeps_what_it_has() -> None:
    """modprobe leaves kvm.ko in when kvm-amd.ko fails: only what svm_init() acquired is a leak."""
    assert [f.resource for f in leak(dependency(-12).trace(), SVM)] == ["workqueue:of kvm-amd"]


def test_a_module_that_was_loaded_first_goes_last() -> None:
    """After kvm-amd.ko is gone kvm.ko may hold its own; after kvm.ko is gone nobody may."""
    tape = dependency(0)
    tape.step("unload")
    tape.step("unload=kvm")
    assert [(f.step, f.resource) for f in leak(tape.trace(), SVM)] == [
        (1, "workqueue:of kvm-amd"),
        (2, "workqueue:of kvm"),
    ]


def test_modules_by_name() -> None:
    """What kvm.ko acquired when it was loaded by name is judged when it is unloaded by name."""
    tape = Tape()
    tape.call("alloc_workqueue", "ptr", "of kvm")
    tape.step("load=kvm")
    tape.step("load")
    tape.step("unload=kvm_amd")
    tape.step("unload=kvm")
    assert [(f.step, f.resource) for f in leak(tape.trace(), SVM)] == [(3, "workqueue:of kvm")]


def test_a_step_that_two_runs_of_a_verb_share() -> None:
    """The same step twice in a trace leaks twice."""
    tape = Tape()
    tape.call("alloc_workqueue", "ptr", "wq")
    tape.step("load")
    tape.step("unload")
    trace = tape.trace()
    trace.steps = [*trace.steps, *trace.steps]
    assert [f.step for f in leak(trace, SVM)] == [1, 3]


def test_two_lives_under_one_name() -> None:
    """What is acquired twice must be released twice."""
    tape = Tape()
    tape.enter("svm_init")
    tape.call("percpu_counter_init", 0, "c")
    tape.call("percpu_counter_init", 0, "c")
    tape.call("percpu_counter_destroy", obj="c")
    tape.leave("svm_init", -12)
    tape.step("load", -12)
    assert [f.resource for f in leak(tape.trace(), SVM)] == ["percpu_counter:c"]


def test_a_release_that_fails_releases_nothing() -> None:
    """cpufreq_unregister_notifier() that fails leaves the notifier where it is."""
    trace = go("x86-svm", "load", "unload", fail="cpufreq_unregister_notifier").trace
    assert [f.resource for f in leak(trace, SVM)] == [
        "cpufreq_notifier:kvmclock_cpufreq_notifier_block",
    ]


def test_a_label_of_another_call() -> None:
    """A goto of an earlier call of the same function is not that of the call that acquired."""
    tape = Tape()
    tape.enter("svm_hardware_setup")
    for name in ("one", "two"):
        tape.enter("svm_cpu_init")
        tape.call("alloc_workqueue", "ptr", name)
        if name == "one":
            tape.event("goto", "svm_cpu_init", -12, label="free_save_area")
        tape.leave("svm_cpu_init", 0)
    tape.leave("svm_hardware_setup", -12)
    tape.step("load", -12)
    labels = {f.resource: f.label for f in leak(tape.trace(), SVM)}
    assert labels == {"workqueue:one": "svm_cpu_init:free_save_area", "workqueue:two": ""}


def test_the_last_goto_of_a_call_is_its_label() -> None:
    """A call that jumped twice ended at the second label; a goto that no call is seen to enclose is nobody's."""
    tape = Tape()
    tape.enter("svm_init")
    tape.call("alloc_workqueue", "ptr", "wq")
    tape.event("goto", "svm_init", -12, label="first")
    tape.event("goto", "svm_init", -12, label="second")
    tape.leave("svm_init", -12)
    tape.event("goto", "svm_init", -12, label="astray")
    tape.step("load", -12)
    assert [f.label for f in leak(tape.trace(), SVM)] == ["svm_init:second"]


def test_a_machine_that_stopped_leaks_nothing() -> None:
    """Of a verb that ended in a bug there is no result to judge."""
    tape = Tape()
    tape.enter("svm_init")
    tape.call("alloc_workqueue", "ptr", "wq")
    tape.step("load", None)
    assert leak(tape.trace(), SVM) == []


@pytest.mark.parametrize(
    "name",
    [
        "g_init_misc_register",
        "g_init_rebooting",
        "g_init_vfio_ops",
        "g_init_enable_cpu6_8cpu",
        "foreign_svme_cpu2_load1",
    ],
)
def test_a_real_kernel_forgets_the_directory(name: str) -> None:
    """The log of a real 6.12.117 shows the leak; kvm_init_debug() is inlined there."""
    (finding,) = leak(kernel_trace(name), SVM)
    assert (finding.resource, finding.step) == ("debugfs:kvm", 1)
    assert finding.acquired == "kvm_init < svm_init, step 2 (load)"


@pytest.mark.parametrize(
    "name",
    [
        "load_default", "load_default_1cpu", "load_default_8cpu", "load0_createvm2", "load1_createvm2",
        "g_init_cpumask_1", "g_init_irqfd_wq", "g_init_cache_vcpu", "g_init_debugfs_dir", "g_vm_getfile",
        "g_vm_enable_virt", "hotplug_load1", "leak_reload", "reboot_load1", "suspend_load1",
    ],
)  # fmt: skip
def test_a_real_kernel_that_forgets_nothing(name: str) -> None:
    """A log in which all is well, or in which nothing can be known, has no leak."""
    assert leak(kernel_trace(name), SVM) == []


def test_a_log_that_cannot_see_the_release() -> None:
    """If the log does not show releases of a kind, what is acquired of it may be gone."""
    tape = Tape(observed=["svm_init", "alloc_workqueue"])
    tape.enter("svm_init")
    tape.enter("alloc_workqueue", name="wq")
    tape.leave("alloc_workqueue", "ptr")
    tape.leave("svm_init", -12)
    tape.step("load", -12)
    trace = tape.trace()
    assert leak(trace, SVM) == []
    assert trace.observed
    trace.observed.append("destroy_workqueue")
    trace.steps = [Step(s.verbs, s.results, s.events) for s in trace.steps]
    assert [f.resource for f in leak(trace, SVM)] == ["workqueue:wq"]


def test_a_log_without_names() -> None:
    """A log that does not say what was acquired says that something was not released."""
    log = ["shrinker_alloc", "shrinker_free"]
    tape = Tape(observed=log)
    tape.call("shrinker_alloc", "ptr")
    tape.step("load", -12)
    assert [f.resource for f in leak(tape.trace(), SVM)] == ["shrinker:?"]

    tape = Tape(observed=log)
    tape.call("shrinker_alloc", "ptr")
    tape.call("shrinker_free", obj="x86-mmu")
    tape.step("load", -12)
    assert leak(tape.trace(), SVM) == []

    tape = Tape(observed=log)
    tape.call("shrinker_alloc", "ptr", name="x86-mmu")
    tape.call("shrinker_free")
    tape.step("load", -12)
    assert leak(tape.trace(), SVM) == []
