# SPDX-License-Identifier: GPL-2.0-only
"""What cells say. Expected is what the C of 6.12.117 does, read in virt/kvm/kvm_main.c and arch."""

from __future__ import annotations

import attrs
import pytest
from page.rows import by_fate, cells, row, watched
from tape import Tape, vocabulary

from kvm_ref.html.columns import Columns
from kvm_ref.html.fates import fates
from kvm_ref.html.seen import Watcher
from kvm_ref.judges import Finding
from kvm_ref.judges.leak import leak
from kvm_ref.matrix import Matrix, run
from kvm_ref.plans import Plan
from kvm_ref.scenario import Cpus, Scenario

LOADS = ("load", "unload", "load", "unload")
# What kvm_init() acquires, in order, on an architecture with irqfds and asynchronous page faults.
KVM_INIT = [
    "kmem_cache:kvm_vcpu", "cpumask:cpumask", "workqueue:kvm-irqfd-cleanup", "kmem_cache:kvm_async_pf",
    "debugfs:kvm", "device_ops:4", "emergency_callback:svm_emergency_disable_virtualization_cpu",
    "cpuhp_state:148", "syscore:kvm_syscore", "misc_minor:232", "device:/dev/kvm", "miscdevice:kvm",
]  # fmt: skip


def test_columns_stand_in_the_order_of_acquisition() -> None:
    """svm_init() calls kvm_x86_vendor_init() and then kvm_init(); all CPUs' masks are one column."""
    columns = Columns(watched("x86-svm", *LOADS).rows)
    assert columns.names[0] == "kmem_cache:x86_emulator"
    assert [name for name in columns.names if name in KVM_INIT] == KVM_INIT
    assert columns.most["cpumask:cpumask"] == 4
    assert columns.most["debugfs:kvm"] == 1


def test_a_run_without_faults() -> None:
    """Everything is released in the end."""
    assert set(by_fate(watched("x86-svm", *LOADS), "")) == {"released"}


def test_the_directory_that_err_register_forgets() -> None:
    """misc_register() is last: behind it nothing was acquired, and err_register leaves debugfs."""
    found = by_fate(watched("x86-svm", *LOADS), "misc_register")
    assert found["leaked"] == {"debugfs:kvm"}
    assert found["not acquired"] == {"misc_minor:232", "device:/dev/kvm", "miscdevice:kvm"}
    assert set(found) == {"leaked", "not acquired", "released"}


def test_the_first_mask_cannot_be_had() -> None:
    """alloc_cpumask_var_node() follows the vCPU's cache, which err_cpu_kick_mask destroys."""
    done = watched("x86-svm", *LOADS)
    found = by_fate(done, "alloc_cpumask_var_node")
    assert found["not acquired"] == {name for name in KVM_INIT if name != "kmem_cache:kvm_vcpu"}
    assert set(found) == {"not acquired", "released"}


def test_the_third_mask_cannot_be_had() -> None:
    """Two of four CPUs' masks were allocated and are freed; the sign tells how many."""
    done = watched("x86-svm", *LOADS)
    assert cells(done, "alloc_cpumask_var_node#3")["cpumask:cpumask"] == "released 2, not acquired 2"
    columns = Columns(done.rows)
    cell = columns.cells(row(done, "alloc_cpumask_var_node#3"))[columns.names.index("cpumask:cpumask")]
    assert (cell.fate, cell.count) == ("released", "2/4")


def test_a_later_load_does_not_count() -> None:
    """A call of the second load that fails finds what the first one acquired released and gone."""
    found = by_fate(watched("x86-svm", *LOADS), "misc_register#2")
    assert found["leaked"] == {"debugfs:kvm"}
    assert found["not acquired"] == {"misc_minor:232", "device:/dev/kvm", "miscdevice:kvm"}


def test_without_enabling_at_load() -> None:
    """Then kvm_init_virtualization() enables nothing: no hotplug state, no syscore ops."""
    done = watched("loongarch", "load", "unload", cpus=1, enable_virt_at_load="0")
    assert not {"cpuhp_state:148", "syscore:kvm_syscore"} & set(Columns(done.rows).names)


def test_what_another_hypervisor_brings_down() -> None:
    """A CPU that is taken fails the load at err_virt, which leaves debugfs, too."""
    found = by_fate(watched("x86-svm", *LOADS), "foreign-on=2")
    assert found["leaked"] == {"debugfs:kvm"}
    assert {"misc_minor:232", "miscdevice:kvm"} <= found["not acquired"]


def test_what_is_held_is_no_leak() -> None:
    """KVM of arm64 is built in and stays."""
    assert cells(watched("arm64", "load", cpus=1), "")["debugfs:kvm"] == "held"


def test_a_vm_that_cannot_be_made() -> None:
    """The top of riscv's page table leaks if kvm_init_mmu_notifier() fails (docs/findings.md)."""
    done = watched("riscv", "load", "create-vm", "close-vm", "unload", cpus=1)
    found = by_fate(done, "mmu_notifier_register")
    assert found["leaked"] == {"pages:gstage_pgd"}
    assert "debugfs:kvm" in found["released"]


def test_pairs_of_faults() -> None:
    """Of two faults in different verbs, what both verbs acquire is told."""
    done = run([Scenario("loongarch", ("load", "unload"), cpus=Cpus.of((0,)))], faults=2, watch=Watcher)
    pair = row(done, "debugfs_create_dir misc_register")
    assert dict(pair.seen.fates)["kmem_cache:kvm_vcpu"] == "released"
    assert "miscdevice:kvm" not in dict(pair.seen.fates)


def test_a_leak_of_a_later_step() -> None:
    """What is leaked after the fault's verb is told behind what that verb had to do with."""
    tape = Tape()
    tape.call("kmem_cache_create", "ptr", "a", name="a")
    tape.call("kmem_cache_destroy", obj="a")
    tape.step("load", -12)
    tape.call("kmem_cache_create", "ptr", "b", name="b")
    tape.step("load", -12)
    assert told(tape, 0) == (("kmem_cache:a", "released"), ("kmem_cache:b", "leaked"))


def test_what_a_failure_gives_up_is_no_leak() -> None:
    """The judge of leaks also tells of what was lost: that is not held any more."""
    tape = Tape()
    tape.call("kmem_cache_create", "ptr", "a", name="a")
    tape.step("load")
    tape.call("kmem_cache_destroy", obj="a")
    tape.step("create-vm", -12)
    assert [f.resource for f in leak(tape.trace(), vocabulary())] == ["kmem_cache:a"]
    assert told(tape, 1) == (("kmem_cache:a", "released"),)


def test_what_is_acquired_again_later() -> None:
    """What the unwind released was released, though a later load acquires another and keeps it."""
    tape = Tape()
    tape.call("kmem_cache_create", "ptr", "a", name="a")
    tape.call("kmem_cache_destroy", obj="a")
    tape.step("load", -12)
    tape.call("kmem_cache_create", "ptr", "a", name="a")
    tape.step("load")
    assert told(tape, 0) == (("kmem_cache:a", "released"),)
    assert told(tape, 1) == (("kmem_cache:a", "held"),)


def test_what_another_judge_finds_is_no_leak() -> None:
    """A finding about something that is held, as that it was released twice before, does not make it leaked."""
    tape = Tape()
    tape.call("kmem_cache_create", "ptr", "a", name="a")
    tape.step("load")
    plan = Plan("fault", Scenario("x86-svm", ("load",)), local={0: ()})
    finding = Finding("double_release", "released twice", 0, resource="kmem_cache:a")
    assert fates(plan, tape.trace(), [finding], vocabulary()) == (("kmem_cache:a", "held"),)


def test_a_run_without_a_fault_is_looked_at_as_a_whole() -> None:
    """What any of its verbs acquires is told, so that the columns are complete."""
    tape = Tape()
    tape.step("load")
    tape.call("kmem_cache_create", "ptr", "a", name="a")
    tape.step("create-vm")
    plan = Plan("", Scenario("x86-svm", ("load", "create-vm")), length=2)
    assert fates(plan, tape.trace(), [], vocabulary()) == (("kmem_cache:a", "held"),)


def told(tape: Tape, number: int) -> tuple[tuple[str, str], ...]:
    """Return the fates of a run whose fault fell into verb `number`."""
    plan = Plan("fault", Scenario("x86-svm", ("load", "load")), local={number: ()})
    trace = tape.trace()
    return fates(plan, trace, leak(trace, vocabulary()), vocabulary())


def test_several_processes_see_the_same() -> None:
    """A matrix in parts has equal rows, with what was kept of each run."""
    from concurrent.futures import ProcessPoolExecutor

    base = [Scenario("mips", ("load", "unload"), cpus=Cpus.of((0, 1)))]
    with ProcessPoolExecutor(2) as pool:
        assert run(base, pool, jobs=2, watch=Watcher) == run(base, watch=Watcher)


def test_nothing_is_kept_unasked() -> None:
    """Without a watcher rows hold nothing more, and have no columns."""
    done = run([Scenario("mips", ("load",), cpus=Cpus.of((0,)))])
    assert {row.seen for row in done.rows} == {None}
    assert Columns(done.rows).names == ()
    alone = Columns([attrs.evolve(row, seen=None) for row in done.rows[1:]])
    assert alone.cells(done.rows[1]) == []


@pytest.mark.parametrize("fault", ["misc_register", "kvm_vfio_ops_init", "kvm_init_virtualization"])
def test_the_commit_that_mends_it(fault: str) -> None:
    """With b31e7c24b475 nothing is leaked at any of the three labels."""
    base = Scenario("x86-svm", ("load",), cpus=Cpus.of((0,)), commits={"b31e7c24b475": True})
    done: Matrix = run([base], watch=Watcher)
    assert "leaked" not in by_fate(done, fault)
    assert "debugfs:kvm" in by_fate(done, fault)["released"]
