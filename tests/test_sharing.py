# SPDX-License-Identifier: GPL-2.0-only
"""Runs that share what they have in common are the runs that they would be alone."""

from __future__ import annotations

import pytest

from kvm_ref import backend as backends
from kvm_ref.fault import Fault
from kvm_ref.judges import Reached, judge_all
from kvm_ref.kernel import Kernel
from kvm_ref.matrix import VERBS
from kvm_ref.plans import plans
from kvm_ref.replay import Replay
from kvm_ref.scenario import Cpus, Scenario, machine, perform, run
from kvm_ref.snapshot import Snapshots, constants_of
from kvm_ref.trace import Trace
from kvm_ref.vocabulary import Vocabulary


def told(trace: Trace) -> list[object]:
    """Return a trace's steps and log as values; places are told by what they say."""
    return [
        [
            (step.verbs, step.results, [(k, repr(at), f, a, v) for k, at, f, a, v in step.events or ()])
            for step in trace.steps
        ],
        trace.log,
        trace.faults,
        trace.params,
        trace.machine,
    ]


@pytest.mark.parametrize(
    ("backend", "every", "params"),
    [
        ("x86-svm", 1, {}),
        ("x86-svm", 5, {"enable_virt_at_load": "0"}),
        ("x86-vmx", 7, {}),
        ("arm64", 3, {}),
        ("riscv", 1, {}),
        ("loongarch", 1, {}),
        ("mips", 1, {}),
        ("s390", 1, {}),
    ],
)
def test_every_run_is_the_same_alone(backend: str, every: int, params: dict[str, str]) -> None:
    """Event for event, result for result, line for line, finding for finding: sharing changes nothing."""
    arch = backends.load(backend)
    base = Scenario(backend, VERBS, cpus=Cpus.of((0, 1)), params=params)
    replay = Replay(base, arch)
    made = list(plans(base, arch, replay))[::every]
    assert len(made) > 20
    vocabulary = Vocabulary.of(arch)
    reached, reached_alone = Reached(vocabulary), Reached(vocabulary)
    for plan in made:
        shared, fired = replay.run(plan.scenario, plan.local)
        alone = run(plan.scenario, arch)
        assert told(shared) == told(alone.trace), plan.text
        assert fired == (not alone.idle)
        assert judge_all(shared, vocabulary) == judge_all(alone.trace, vocabulary), plan.text
        reached.add(shared)
        reached_alone.add(alone.trace)
    assert reached.labels == reached_alone.labels
    assert reached.names() == reached_alone.names()
    assert reached.every() == reached_alone.every()


@pytest.mark.parametrize("backend", ["x86-svm", "riscv", "mips"])
def test_machines_with_other_settings_share_what_they_never_ask_for(backend: str) -> None:
    """What one machine remembers serves another only where no parameter and no commit matters."""
    arch = backends.load(backend)
    first: Replay | None = None
    for params in ({"enable_virt_at_load": "1"}, {"enable_virt_at_load": "0"}):
        for commits in ({}, {"b31e7c24b475": True}):
            base = Scenario(backend, VERBS, cpus=Cpus.of((0, 1)), params=params, commits=commits)
            replay = Replay(base, arch, first)
            first = first or replay
            for plan in plans(base, arch, replay):
                shared, _ = replay.run(plan.scenario, plan.local)
                assert told(shared) == told(run(plan.scenario, arch).trace), (plan.text, params, commits)


def test_what_is_forgotten_is_made_again() -> None:
    """Forgetting a fault changes nothing but what is remembered."""
    arch = backends.load("mips")
    base = Scenario("mips", VERBS)
    fault = Fault("misc_register")
    replay = Replay(base, arch)
    before, _ = replay.run(base, {0: (fault,)})
    same, _ = replay.run(base, {0: (fault,)})
    replay.forget()
    after, _ = replay.run(base, {0: (fault,)})
    assert before.steps[0] is same.steps[0]
    assert before.steps[0] is not after.steps[0]
    assert told(before) == told(after)


def test_a_fault_that_does_not_fire_is_told() -> None:
    """Sharing does not lose a fault that never fires."""
    arch = backends.load("x86-svm")
    base = Scenario("x86-svm", VERBS)
    _, fired = Replay(base, arch).run(base, {0: (Fault("misc_register", nth=9),)})
    assert fired is False


def test_a_machine_that_stopped_stays_stopped() -> None:
    """After a BUG no verb follows, however the run is made."""
    arch = backends.load("x86-vmx")
    base = Scenario("x86-vmx", ("load", "unload", "load"))
    fault = Fault("vmxoff", cpu=1)
    shared, _ = Replay(base, arch).run(base, {1: (fault,)})
    assert [step.results for step in shared.steps] == [[0], [None]]
    alone = run(Scenario("x86-vmx", ("load", "unload", "load"), faults=(fault,)), arch)
    assert [step.results for step in alone.trace.steps] == [[0], [None]]


def test_a_snapshot_holds_all_that_counts() -> None:
    """A machine that is put back does what it would have done."""
    arch = backends.load("x86-svm")
    scenario = Scenario("x86-svm", ("load",))
    k: Kernel = machine(scenario, arch)
    perform(k, "load")
    for snapshots in (Snapshots(constants_of(k)), Snapshots(())):
        loaded = snapshots.take(k)
        first, _ = perform(k, "unload")
        assert snapshots.take(k) != loaded
        snapshots.restore(k, loaded)
        again, _ = perform(k, "unload")
        assert (again.results, again.events) == (first.results, first.events)
        snapshots.restore(k, loaded)


def test_ids_are_used_again_once_released() -> None:
    """The second life's resources bear the names of the first: nothing counts for ever."""
    k = machine(Scenario("x86-svm", ()), backends.load("x86-svm"))
    assert [k.new("mask"), k.new("mask"), k.new("mask")] == ["mask", "mask#2", "mask#3"]
    k.gone("mask#2")
    k.gone("mask#2")
    assert [k.new("mask"), k.new("mask")] == ["mask#2", "mask#4"]
    for n in ("mask", "mask#2", "mask#3", "mask#4"):
        k.gone(n)
    assert k.new("mask") == "mask"
    k.gone(148)
