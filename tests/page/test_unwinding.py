# SPDX-License-Identifier: GPL-2.0-only
"""The tree of an unwind. Expected is what the C of 6.12.117 does, and how the trace tells it."""

from __future__ import annotations

from typing import Any

import pytest
from page.rows import row, watched
from tape import Tape, vocabulary

from kvm_ref.html.unwinding import Node, Trees
from kvm_ref.plans import Plan
from kvm_ref.scenario import Scenario

TWO = ("load", "unload")


def lines(nodes: tuple[Any, ...], depth: int = 0) -> list[str]:
    """Write a tree as text."""
    out = []
    for kind, text, result, _, _, deed, inner in nodes:
        words = [*([kind] if kind != "call" else []), text, *([f"= {result}"] if result else []), deed]
        out.append("  " * depth + " ".join(filter(None, words)))
        out += lines(inner, depth + 1)
    return out


def test_the_first_mask_on_loongarch() -> None:
    """kvm_init() frees all masks and the cache at err_cpu_kick_mask, then kvm_loongarch_env_exit() runs."""
    found = row(watched("loongarch", *TWO, cpus=1), "alloc_cpumask_var_node")
    assert lines(found.seen.unwind[:1]) == [
        "step load = -ENOMEM",
        "  kvm_loongarch_init() = -ENOMEM",
        "    skip 2 calls before",
        "    kvm_init() = -ENOMEM",
        "      skip 1 call before",
        "      alloc_cpumask_var_node() = 0",
        "        inject alloc_cpumask_var_node fails 0",
        "      goto err_cpu_kick_mask = -ENOMEM",
        "      free_cpumask_var(NULL)",
        "      kmem_cache_destroy(kvm_vcpu) -kmem_cache:kvm_vcpu",
        "    kvm_loongarch_env_exit()",
        "      free_percpu(percpu:kvm_context) -percpu:percpu:kvm_context",
        "      kfree(kvm_world_switch) -kmalloc:kvm_world_switch",
    ]


def test_later_verbs_are_there_as_a_whole() -> None:
    """What the run does after the fault's verb follows: unload fails, then it is loaded and unloaded."""
    found = row(watched("loongarch", *TWO, cpus=1), "misc_register")
    assert [node[:3] for node in found.seen.unwind] == [
        ("step", "load", "-EBUSY"),
        ("later", "unload", "-ENOENT"),
        ("later", "load", "0"),
        ("later", "unload", "0"),
    ]
    assert any("+miscdevice:kvm" in line for line in lines(found.seen.unwind[2:3]))


def test_tasks_and_cpus() -> None:
    """A callback of CPU 1 runs on its hotplug thread, within the call that waits for it."""
    found = row(watched("loongarch", *TWO, cpus=2), "kvm_online_cpu@1")

    def of(nodes: tuple[Any, ...]) -> list[tuple[str, str, int]]:
        return [at for n in nodes for at in [(n[1], n[3], n[4]), *of(n[6])]]

    places = of(found.seen.unwind[:1])
    assert ("kvm_online_cpu(1)", "cpuhp/1", 1) in places
    assert ("kvm_offline_cpu(0)", "cpuhp/0", 0) in places
    assert ("err_cpuhp", "modprobe", 0) in places


def test_another_hypervisor_has_no_injected_fault() -> None:
    """There the tree begins where the CPU first fails: svm_enable_virtualization_cpu() gives -EBUSY."""
    found = row(watched("x86-svm", *TWO, cpus=2), "foreign-on=1")
    told = lines(found.seen.unwind[:1])
    bad = [line.strip() for line in told if "svm_enable_virtualization_cpu()" in line]
    assert bad == ["svm_enable_virtualization_cpu() = -EBUSY"]
    assert not any("inject" in line for line in told)


def test_a_run_without_a_fault_is_whole() -> None:
    """Its verbs begin at the beginning."""
    told = lines(row(watched("loongarch", *TWO, cpus=1), "").seen.unwind)
    assert not any("before" in line for line in told)
    assert [line for line in told if line[0] != " "] == ["step load = 0", "later unload = 0"]


def test_a_reboot_that_falls_into_a_call() -> None:
    """What is put in is the state of the system."""
    told = lines(row(watched("loongarch", *TWO, cpus=1), "reboot-at register_syscore").seen.unwind[:1])
    assert "inject system_state = SYSTEM_RESTART" in [line.strip() for line in told]


def made(tape: Tape, trees: Trees | None = None) -> tuple[Node, ...]:
    """Return the tree of a trace."""
    plan = Plan("fault", Scenario("x86-svm", ("load",)), local={0: ()})
    return (trees or Trees()).of(plan, tape.trace(), vocabulary())


def test_every_kind_of_event() -> None:
    """Locks, register writes and warnings have their words, as in the text of a trace."""
    tape = Tape()
    tape.enter("kvm_init")
    tape.event("inject", "kvm_irqfd_init", -12)
    tape.event("lock", "kvm_usage_lock")
    tape.event("write", "EFER", 0x1000, was=0)
    tape.event("warn", "kvm_init", "odd")
    tape.event("goto", "kvm_init", -12, label="err_irqfd")
    tape.event("unlock", "kvm_usage_lock")
    tape.leave("kvm_init", -12)
    tape.step("load", -12)
    assert lines(made(tape))[1:] == [
        "  kvm_init() = -ENOMEM",
        "    inject kvm_irqfd_init fails -ENOMEM",
        "    lock lock kvm_usage_lock",
        "    write EFER = 0x1000 = was 0x0",
        "    warn WARN_ON in kvm_init: odd",
        "    goto err_irqfd = -ENOMEM",
        "    unlock unlock kvm_usage_lock",
    ]


def test_a_machine_that_stops() -> None:
    """A call that never comes back gives nothing known."""
    tape = Tape()
    tape.enter("kvm_init")
    tape.enter("kvm_arch_init_vm")
    tape.step("load", None)
    assert lines(made(tape)) == ["step load = ?", "  kvm_init() = ?", "    kvm_arch_init_vm() = ?"]


def test_a_step_that_was_not_recorded() -> None:
    """It has its verb and its result."""
    tape = Tape()
    tape.unrecorded("load", -5)
    assert lines(made(tape)) == ["step load = -EIO"]


@pytest.mark.parametrize("same", [True, False])
def test_what_is_equal_is_one_object(same: bool) -> None:
    """Two runs share what they have in common, if the same object makes both."""
    trees = Trees()
    tapes = [Tape(), Tape()]
    for tape, result in zip(tapes, (0, -12), strict=True):
        tape.call("kmem_cache_destroy", obj="a")
        tape.step("load", result)
    first, second = (made(tape, trees if same else None)[0] for tape in tapes)
    assert first[2] != second[2]
    assert (first[6][0] is second[6][0]) is same
    assert first[6][0] == second[6][0]
