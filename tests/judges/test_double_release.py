# SPDX-License-Identifier: GPL-2.0-only
"""The judges of what is done with a resource after its release: a release, or a use."""

from __future__ import annotations

import pytest
from reading import go
from tape import DATA, Tape, changed, drop_call, find, kernel_trace, vocabulary

from kvm_ref.judges.double_release import double_release
from kvm_ref.judges.use_after_release import use_after_release
from kvm_ref.trace import Event

SVM = vocabulary()
LOGS = sorted(path.stem for path in DATA.glob("*.json"))


def twice(events: list[Event], function: str) -> None:
    place = find(events, "enter", function)
    gone = drop_call(events, function)
    events[place:place] = [*gone, *gone]


def test_a_clean_run_releases_once() -> None:
    """Loading and unloading twice releases nothing that is not held, and uses nothing that is gone."""
    trace = go("x86-svm", "load", "unload", "load", "unload").trace
    assert double_release(trace, SVM) == []
    assert use_after_release(trace, SVM) == []


def test_a_release_that_is_doubled() -> None:
    """A second kmem_cache_destroy() of one cache is found, with where it was acquired and released first."""
    trace = go("x86-svm", "load", "unload").trace
    mutated = changed(trace, 1, lambda events: twice(events, "kmem_cache_destroy"))
    (finding,) = double_release(mutated, SVM)
    assert finding.resource == "kmem_cache:kvm_vcpu"
    assert finding.acquired == "kvm_init < svm_init, step 1 (load)"
    assert finding.message == (
        "kmem_cache_destroy() releases kmem_cache:kvm_vcpu in kvm_exit < svm_exit, step 2 (unload), "
        "but it was released before, in kvm_exit < svm_exit, step 2 (unload)"
    )


def test_a_release_on_an_error_path_has_a_label() -> None:
    """The label is the one that the function had jumped to when it released again."""
    trace = go("x86-svm", "load", fail="misc_register").trace
    mutated = changed(trace, 0, lambda events: twice(events, "destroy_workqueue"))
    (finding,) = double_release(mutated, SVM)
    assert (finding.resource, finding.label) == ("workqueue:kvm-irqfd-cleanup", "kvm_init:err_register")


def test_pointers_of_an_earlier_life() -> None:
    """err_cpu_kick_mask frees the masks of all possible CPUs: those of the last load, freed long ago, too.

    virt/kvm/kvm_main.c does not clear cpu_kick_mask, and kvm.ko stays when kvm-amd.ko goes.
    """
    trace = go("x86-svm", "load", "unload", "load", fail="alloc_cpumask_var_node#3").trace
    findings = double_release(trace, SVM)
    assert {f.label for f in findings} == {"kvm_init:err_cpu_kick_mask"}
    assert [f.resource for f in findings] == ["cpumask:cpumask", "cpumask:cpumask#2"]
    assert {f.step for f in findings} == {2}


def test_what_nobody_acquired() -> None:
    """A release of something that was never acquired is a finding of its own."""
    tape = Tape()
    tape.enter("svm_exit")
    tape.call("destroy_workqueue", obj="wq")
    tape.leave("svm_exit")
    tape.step("unload")
    (finding,) = double_release(tape.trace(), SVM)
    assert finding.message == (
        "destroy_workqueue() releases workqueue:wq in svm_exit, step 1 (unload), but nobody had acquired it"
    )
    assert finding.acquired == ""


def test_legal_releases() -> None:
    """NULL, error pointers, and what is declared idempotent may be released at any time."""
    tape = Tape()
    tape.call("kmem_cache_destroy", obj="NULL")
    tape.call("debugfs_remove_recursive", obj="ERR_PTR(-17)")
    tape.call("percpu_counter_destroy", obj="never")
    tape.step("unload")
    tape.call("percpu_counter_init", 0, "counter")
    tape.call("percpu_counter_destroy", obj="counter")
    tape.call("percpu_counter_destroy", obj="counter")
    tape.step("unload")
    assert double_release(tape.trace(), SVM) == []


def test_the_release_that_counts_as_the_first() -> None:
    """Of three releases the second and third are wrong, and both name the first."""
    tape = Tape()
    tape.call("alloc_workqueue", "ptr", "wq")
    tape.step("load")
    tape.call("destroy_workqueue", obj="wq")
    tape.step("unload")
    tape.step("load")
    tape.call("destroy_workqueue", obj="wq")
    tape.call("destroy_workqueue", obj="wq")
    tape.step("unload")
    findings = double_release(tape.trace(), SVM)
    assert len(findings) == 2
    assert all(f.message.endswith("in destroy_workqueue, step 2 (unload)") for f in findings)


def test_a_step_that_two_unloads_share() -> None:
    """The same step twice in a trace: what the first released, the second releases again."""
    tape = Tape()
    tape.call("alloc_workqueue", "ptr", "wq")
    tape.step("load")
    tape.call("destroy_workqueue", obj="wq")
    tape.step("unload")
    trace = tape.trace()
    trace.steps = [*trace.steps, trace.steps[1]]
    (finding,) = double_release(trace, SVM)
    assert finding.step == 2
    assert finding.message.endswith("in destroy_workqueue, step 2 (unload)")


def test_a_use_after_the_release() -> None:
    """shrinker_register() of a shrinker that was freed is a use after the release."""

    def free_first(events: list[Event]) -> None:
        place = find(events, "enter", "shrinker_register")
        at = events[place][1]
        events[place:place] = [
            ("enter", at, "shrinker_free", {"obj": "shrinker:x86-mmu"}, None),
            ("exit", at, "shrinker_free", None, None),
        ]

    trace = changed(go("x86-svm", "load").trace, 0, free_first)
    (finding,) = use_after_release(trace, SVM)
    where = "kvm_mmu_vendor_module_init < kvm_x86_vendor_init < svm_init, step 1 (load)"
    assert finding.resource == "shrinker:shrinker:x86-mmu"
    assert finding.acquired == where
    assert finding.message == (
        f"shrinker_register() uses shrinker:shrinker:x86-mmu in {where}, but it was released in {where}"
    )


def test_uses_between() -> None:
    """What is used while it is held is well; the use does not hide where it was acquired."""
    tape = Tape()
    tape.call("shrinker_alloc", "ptr", "s")
    tape.call("shrinker_register", uses="s")
    tape.call("shrinker_free", obj="s")
    tape.call("shrinker_register", uses="s")
    tape.call("shrinker_free", obj="s")
    tape.step("load")
    assert [f.resource for f in use_after_release(tape.trace(), SVM)] == ["shrinker:s"]
    assert [f.acquired for f in double_release(tape.trace(), SVM)] == ["shrinker_alloc, step 1 (load)"]


def test_a_use_before_the_end_of_a_step_that_is_well() -> None:
    """What is acquired, used, and held when the step ends is there to be released in the next, once."""
    tape = Tape()
    tape.call("shrinker_alloc", "ptr", "s")
    tape.call("shrinker_register", uses="s")
    tape.step("load")
    for verb in ("unload", "unload"):
        tape.call("shrinker_free", obj="s")
        tape.step(verb)
    trace = tape.trace()
    assert use_after_release(trace, SVM) == []
    assert [(f.step, f.resource) for f in double_release(trace, SVM)] == [(2, "shrinker:s")]


def test_a_use_of_what_was_never_seen() -> None:
    """What was never acquired in the trace was not released either: its use is no use after release."""
    tape = Tape()
    tape.call("shrinker_register", uses="s")
    tape.step("load")
    assert use_after_release(tape.trace(), SVM) == []


@pytest.mark.parametrize("name", LOGS)
def test_real_kernels(name: str) -> None:
    """No log of a real kernel shows a double release or a use after release."""
    trace = kernel_trace(name)
    assert double_release(trace, SVM) == []
    assert use_after_release(trace, SVM) == []


def test_a_log_that_shows_a_double_release() -> None:
    """In a log a release counts as the second only if the log would have shown another acquisition."""
    caches = ["__kmem_cache_create_args", "kmem_cache_destroy"]
    for observed, expected in ((caches, ["kmem_cache:kvm_vcpu"]), (caches[1:], [])):
        tape = Tape(observed=observed)
        tape.call("__kmem_cache_create_args", "ptr", name="kvm_vcpu")
        tape.step("load")
        tape.call("kmem_cache_destroy", obj="kvm_vcpu")
        tape.call("kmem_cache_destroy", obj="kvm_vcpu")
        tape.step("unload")
        assert [f.resource for f in double_release(tape.trace(), SVM)] == expected


def test_a_log_with_a_gap() -> None:
    """After a step that was not recorded nothing is known: a release there may be the first."""
    for gap in ("events unknown", "no events"):
        tape = Tape(observed=["alloc_workqueue", "destroy_workqueue"])
        tape.call("alloc_workqueue", "ptr", name="wq")
        tape.call("destroy_workqueue", obj="wq")
        tape.step("load")
        if gap == "no events":
            tape.step("load")
        else:
            tape.unrecorded("load")
        tape.call("destroy_workqueue", obj="wq")
        tape.step("unload")
        assert double_release(tape.trace(), SVM) == []


def test_a_log_without_a_name() -> None:
    """An unnamed release of what is not held may be of NULL."""
    tape = Tape(observed=["shrinker_alloc", "shrinker_free"])
    tape.call("shrinker_free")
    tape.step("unload")
    assert double_release(tape.trace(), SVM) == []


def test_a_release_that_comes_after_others() -> None:
    """Traces that share a step may have released the thing elsewhere before: each is told where it did."""
    tape = Tape()
    tape.call("alloc_workqueue", "ptr", "wq")
    tape.call("destroy_workqueue", obj="wq")
    tape.step("load", -12)
    tape.enter("kvm_irqfd_init")
    tape.call("alloc_workqueue", "ptr", "wq")
    tape.call("destroy_workqueue", obj="wq")
    tape.leave("kvm_irqfd_init", -12)
    tape.step("load", -12)
    tape.call("destroy_workqueue", obj="wq")
    tape.step("unload")
    first, second, again = tape.trace().steps
    for before, place in ((first, "destroy_workqueue"), (second, "kvm_irqfd_init")):
        trace = tape.trace()
        trace.steps = [before, again]
        (finding,) = double_release(trace, SVM)
        assert finding.message.endswith(f"but it was released before, in {place}, step 1 (load)")
