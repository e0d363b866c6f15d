# SPDX-License-Identifier: GPL-2.0-only
"""Ladders and exits, read from the model's text.

The counts of gotos and the labels are those of linux-source-6.12 (6.12.117), counted by hand in
the file that is named with each.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import attrs
import pytest
from tape import vocabulary

from kvm_ref.backend import available, load
from kvm_ref.calls import Branch, Call, Leave
from kvm_ref.errno import EBUSY, EINVAL, ENOMEM, Errno, ErrPtr, KernelError
from kvm_ref.kernel import Kernel
from kvm_ref.linux.mutex import guard
from kvm_ref.reading import exits_of, ladder_of
from kvm_ref.unwind import ladder, unchecked
from kvm_ref.vocabulary import NULL, Facts, Vocabulary, facts_of, kernel_function

SVM = vocabulary()


@pytest.mark.parametrize(
    ("backend", "function", "gotos", "labels"),
    [
        # virt/kvm/kvm_main.c
        ("x86-svm", "kvm_init", 6, "err_register err_virt err_vfio err_async_pf err_irqfd err_cpu_kick_mask"),
        ("x86-svm", "kvm_enable_virtualization", 2, "err_rebooting err_cpuhp"),
        # arch/x86/kvm/x86.c
        (
            "x86-svm",
            "kvm_x86_vendor_init",
            4,
            "out_unwind_ops out_mmu_exit out_free_percpu out_free_x86_emulator_cache",
        ),
        # arch/x86/kvm/mmu/mmu.c
        ("x86-svm", "kvm_mmu_vendor_module_init", 4, "out_shrinker out"),
        # arch/x86/kvm/svm/svm.c
        ("x86-svm", "svm_init", 1, "err_kvm_init"),
        ("x86-svm", "svm_hardware_setup", 1, "err"),
        ("x86-svm", "svm_cpu_init", 1, "free_save_area"),
        # arch/x86/kvm/vmx/vmx.c
        ("x86-vmx", "vmx_init", 2, "err_kvm_init err_l1d_flush"),
        # arch/arm64/kvm/arm.c
        ("arm64", "kvm_arm_init", 4, "out_subs out_hyp out_err"),
        ("arm64", "init_hyp_mode", 14, "out_err"),
        ("arm64", "init_subsystems", 2, "out"),
        # arch/arm64/kvm/arch_timer.c
        ("arm64", "kvm_timer_hyp_init", 4, "out_free_ptimer_irq out_free_vtimer_irq"),
        # arch/s390/kvm/kvm-s390.c
        ("s390", "__kvm_s390_init", 5, "err_gib err_pci err_flic err_debug_view err_kvm_uv"),
        # kernel/cpu.c
        ("x86-svm", "__cpuhp_setup_state_cpuslocked", 2, "out"),
        ("x86-svm", "__cpuhp_remove_state_cpuslocked", 2, "remove"),
        ("x86-svm", "_cpu_up", 4, "out"),
        ("x86-svm", "_cpu_down", 2, "out"),
        # drivers/base/syscore.c
        ("x86-svm", "syscore_suspend", 1, "err_out"),
    ],
)
def test_ladders_are_those_of_the_c(backend: str, function: str, gotos: int, labels: str) -> None:
    """Each ladder has as many gotos as in C, and the labels of the C in their order."""
    found = ladder_of(vocabulary(backend)[function])
    assert found is not None
    assert (len(found.gotos), [label.name for label in found.labels]) == (gotos, labels.split())
    assert {jump.label for jump in found.gotos} <= set(labels.split())


@pytest.mark.parametrize("function", ["kvm_exit", "kvm_disable_virtualization", "kvm_irqfd_init"])
def test_functions_without_ladder(function: str) -> None:
    """kvm_exit() and others have no goto (virt/kvm/kvm_main.c)."""
    assert ladder_of(SVM[function]) is None


def test_what_leads_to_each_label_of_kvm_init() -> None:
    """Each goto stands behind the call whose result is tested (virt/kvm/kvm_main.c: kvm_init)."""
    found = SVM["kvm_init"].ladder
    assert found is not None
    assert [(jump.label, jump.calls) for jump in found.gotos] == [
        ("err_cpu_kick_mask", ("alloc_cpumask_var_node",)),
        ("err_irqfd", ("kvm_irqfd_init",)),
        ("err_async_pf", ("kvm_async_pf_init",)),
        ("err_vfio", ("kvm_vfio_ops_init",)),
        ("err_virt", ("kvm_init_virtualization",)),
        ("err_register", ("misc_register",)),
    ]


def test_the_call_may_stand_before_the_test() -> None:
    """``x = f(); if (!x) goto out;`` is a goto because of f() (arch/x86/kvm/mmu/mmu.c)."""
    found = SVM["kvm_mmu_vendor_module_init"].ladder
    assert found is not None
    assert [jump.calls for jump in found.gotos] == [
        ("KMEM_CACHE",),
        ("kmem_cache_create",),
        ("percpu_counter_init",),
        ("shrinker_alloc",),
    ]
    rebooting = SVM["kvm_enable_virtualization"].ladder
    assert rebooting is not None
    assert rebooting.gotos[1].calls == ()


@pytest.mark.parametrize(
    ("function", "errors"),
    [
        ("_cpu_up", [True, False, True, True]),
        ("_cpu_down", [True, False]),
        ("__cpuhp_remove_state_cpuslocked", [False, False]),
        # One jump for "ret || !invoke || !startup".
        ("__cpuhp_setup_state_cpuslocked", [True, True]),
    ],
)
def test_jumps_with_nothing_wrong(function: str, errors: list[bool]) -> None:
    """Some jumps of kernel/cpu.c are taken where there is nothing (more) to do."""
    found = SVM[function].ladder
    assert found is not None
    assert [jump.error for jump in found.gotos] == errors


def test_the_ladder_as_data() -> None:
    """A ladder can be written as JSON: labels, what each undoes, and the lines."""
    found = SVM["kvm_init"].ladder
    assert found is not None
    data = json.loads(json.dumps(found.to_json()))
    assert data["function"] == "kvm_init"
    assert data["gotos"][1] == {
        "label": "err_irqfd", "calls": ["kvm_irqfd_init"], "line": found.gotos[1].line, "error": True,
    }  # fmt: skip
    assert [(label["name"], label["undo"]) for label in data["labels"]] == [
        ("err_register", [{"branch": [[{"call": "kvm_uninit_virtualization"}], []]}]),
        ("err_virt", [{"call": "kvm_vfio_ops_exit"}]),
        (
            "err_vfio",
            [{"branch": [[{"call": "debugfs_remove_recursive"}], []]}, {"call": "kvm_async_pf_deinit"}],
        ),
        ("err_async_pf", [{"call": "kvm_irqfd_exit"}]),
        ("err_irqfd", []),
        ("err_cpu_kick_mask", [{"loop": [{"call": "free_cpumask_var"}]}, {"call": "kmem_cache_destroy"}]),
    ]


def test_falling_through() -> None:
    """A jump does what stands below its label, and below those that follow; no other label will do."""
    found = SVM["kvm_mmu_vendor_module_init"].ladder
    assert found is not None
    assert found.fall("out_shrinker") == (Call("percpu_counter_destroy"), Call("mmu_destroy_caches"))
    assert found.fall("out") == (Call("mmu_destroy_caches"),)
    with pytest.raises(KeyError, match="err_out"):
        found.fall("err_out")


@kernel_function(fails=ENOMEM)
def a(k: Kernel) -> int:
    return 0


@kernel_function(fails=NULL)
def b(k: Kernel) -> object:
    return None


def raises(k: Kernel) -> None:
    if not b(k):
        raise KernelError(ENOMEM)


def catches(k: Kernel) -> None:
    with unchecked:
        a(k)


def recurses(k: Kernel) -> None:
    recurses(k)


@kernel_function(fails=EBUSY)
def odd_ladder(k: Kernel, x: Any) -> None:
    """A ladder in a try, with a statement before its labels and a way out in the middle of one."""
    try:
        with ladder(k) as goto:
            if x:
                with goto("one"):
                    a(k)
            else:
                with unchecked, guard(k, x):
                    a(k)
                try:
                    a(k)
                except KernelError:
                    with goto("two"):
                        raise
    finally:
        b(k)
    a(k)
    if goto.reached("one"):
        b(k)
        if x:
            return
    goto.reached("two")
    a(k)
    return


@kernel_function(fails=EBUSY)
def ladder_of_another_kind(k: Kernel) -> None:
    """Names the ladder without opening one."""
    assert callable(ladder)


def ladder_facts(function: Callable[..., object]) -> Facts:
    facts = facts_of(function)
    assert facts is not None
    return facts


def test_a_ladder_within_other_statements() -> None:
    """The ladder is found where it stands; its labels are the statements that follow it there."""

    @kernel_function(fails=EBUSY)
    def within(k: Kernel, x: Any) -> None:
        if x:
            with ladder(k) as goto:
                with goto("one"):
                    a(k)
                return
            a(k)
            if goto.reached("one"):
                b(k)
                if x:
                    return
            goto.reached("two")
            a(k)
            return

    found = ladder_of(ladder_facts(within))
    assert found is not None
    assert found.always == (Call("a"),)
    assert [(label.name, label.undo) for label in found.labels] == [
        ("one", (Call("b"), Branch(((Leave(),), ())))),
        ("two", (Call("a"),)),
    ]
    assert found.fall("two") == (Call("a"), Call("a"))


def test_a_ladder_without_labels() -> None:
    """A ladder in a try has its jumps; labels that stand elsewhere are not its own."""
    found = ladder_of(ladder_facts(odd_ladder))
    assert found is not None
    assert [(jump.label, jump.calls) for jump in found.gotos] == [("one", ("a",)), ("two", ())]
    assert found.labels == ()
    assert ladder_of(ladder_facts(ladder_of_another_kind)) is None


def test_exits_of_kvm_init() -> None:
    """kvm_init() has 3 returns and 6 gotos (virt/kvm/kvm_main.c); the last return is the labels' own."""
    assert [(way.name, way.kind) for way in SVM["kvm_init"].exits] == [
        ("kvm_init:-ENOMEM", "raise"),
        ("kvm_init:err_cpu_kick_mask", "goto"),
        ("kvm_init:err_irqfd", "goto"),
        ("kvm_init:err_async_pf", "goto"),
        ("kvm_init:err_vfio", "goto"),
        ("kvm_init:err_virt", "goto"),
        ("kvm_init:err_register", "goto"),
        ("kvm_init:0", "success"),
    ]


def test_exits_of_a_function_without_goto() -> None:
    """riscv_kvm_init() has 7 returns (arch/riscv/kvm/main.c): 6 with an error, 1 at the end."""
    assert [way.name.partition(":")[2] for way in vocabulary("riscv")["riscv_kvm_init"].exits] == [
        "-ENODEV",
        "-ENODEV#2",
        "-ENODEV#3",
        "kvm_riscv_aia_init",
        "-ENODEV#4",
        "kvm_init",
        "0",
    ]


@kernel_function(fails=EBUSY)
def many_exits(k: Kernel, ops: Any, callback: Callable[[Kernel], int], void: Callable[..., object]) -> int:
    if a(k):
        raise KernelError(EINVAL)
    try:
        a(k)
    except KernelError as error:
        if not ops:
            raise error
    try:
        a(k)
    except KernelError:
        b(k)
        raise
    try:
        a(k)
    except KernelError:
        raise KernelError(EBUSY) from None
    try:
        b(k)
    finally:
        a(k)
    try:
        a(k)
    except ValueError:
        b(k)
    try:
        a(k)
    except:  # noqa: E722  as broad as can be
        b(k)
    catches(k)
    raises(k)
    recurses(k)
    with unchecked:
        raise KernelError(EINVAL)
    callback(k)
    void(k)
    ops.enable_virtualization_cpu(k)
    ops.hardware_unsetup(k)
    ops.there_is_no_such_thing(k)
    k.run_on("ipi", 1, raises)
    k.run_on("ipi", 1, void)

    def within() -> None:
        a(k)

    failed = ErrPtr(EINVAL)
    raise KernelError(failed.error)


def test_every_way_out() -> None:
    """Errors that are caught are no exits; those raised again, or by what is called, are."""
    assert [way.name.partition(":")[2] for way in exits_of(ladder_facts(many_exits))] == [
        "a",
        "-EINVAL",
        "a#2",
        "a#3",
        "-EBUSY",
        "a#4",
        "a#5",
        "raises",
        "callback",
        "enable_virtualization_cpu",
        "there_is_no_such_thing",
        "raises#2",
        "failed.error",
        "0",
    ]


def test_an_error_that_is_raised_again_by_name() -> None:
    """An error that is raised again leaves from either line."""
    ways = {way.name.partition(":")[2]: way for way in exits_of(ladder_facts(many_exits))}
    (first, _), (again, _) = ways["a#2"].lines
    assert again == first + 3
    assert len(ways["a#3"].lines) == 1


Alias = Callable[[Kernel], int]


@kernel_function(fails=EINVAL)
def by_alias(k: Kernel, callback: Alias, other: Errno) -> None:
    other(k)  # type: ignore[operator]  # text to be read, never run
    callback(k)


def test_pointers_to_functions() -> None:
    """A pointer whose type says that the function returns int can give an error."""
    assert [way.name for way in exits_of(ladder_facts(by_alias))] == ["by_alias:callback", "by_alias:0"]


@pytest.mark.parametrize("backend", available())
def test_a_function_that_declares_no_error_number(backend: str) -> None:
    """None that does without hands on an error: what it calls cannot fail, or is not listened to."""
    # Pointers may give anything, and a callback that fails with NULL has a number for its jumps.
    doubtful = {"gmap_create", "kvm_pm_notifier_call", "cpu_emergency_disable_virtualization"}
    silent = [f for f in Vocabulary.of(load(backend)).values() if not f.errnos and not f.jumps]
    for facts in silent:
        assert [way.name for way in exits_of(facts)] == [f"{facts.name}:0"]
        read = [way.kind for way in exits_of(attrs.evolve(facts, fails=(EINVAL,)))]
        assert read == ["success"] or facts.name in doubtful, facts.name


def test_exits_as_data() -> None:
    """An exit can be written as JSON."""
    way = SVM["kvm_init"].exits[0]
    assert json.loads(json.dumps(way.to_json())) == {
        "name": "kvm_init:-ENOMEM",
        "kind": "raise",
        "lines": [[way.lines[0][0], way.lines[0][1]]],
    }


def test_a_function_without_text() -> None:
    """Of what was made while running only success is known, and pointers may give anything."""
    names: dict[str, Any] = {"a": a, "__name__": __name__}
    exec("def made(k):\n    a(k)", names)
    facts = ladder_facts(kernel_function()(names["made"]))
    assert [way.name for way in exits_of(facts)] == ["made:0"]


@kernel_function(fails=EBUSY)
def speaks(k: Kernel) -> None:
    text = """
What stands at the margin does not end a function.
"""
    # Nor does a remark.
    if a(k) < len(text):
        raise KernelError(EBUSY)


def test_a_text_that_stands_at_the_margin() -> None:
    """A function ends where the next one begins, not with a line of a text."""
    facts = facts_of(speaks)
    assert facts
    assert [way.name for way in exits_of(facts)] == ["speaks:a", "speaks:-EBUSY", "speaks:0"]
