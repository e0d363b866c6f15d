# SPDX-License-Identifier: GPL-2.0-only
"""The runs of a matrix: pairs of faults, and the way back to a clean machine."""

from __future__ import annotations

import pytest
from reading import go

from kvm_ref import backend as backends
from kvm_ref.plans import plans, tidied
from kvm_ref.replay import Replay
from kvm_ref.scenario import Cpus, Scenario, run

ONE = Cpus.of((0,))


def test_every_pair_is_as_if_it_were_run_alone() -> None:
    """Both faults of a pair fire, the second behind the first, and sharing changes nothing."""
    backend = backends.load("riscv")
    base = Scenario("riscv", ("load", "create-vm", "close-vm", "unload"), cpus=ONE)
    replay = Replay(base, backend)
    made = list(plans(base, backend, replay, faults=2))
    pairs = [plan for plan in made if len(plan.scenario.faults) == 2]
    assert len(pairs) > 100
    for plan in pairs[::7]:
        shared, fired = replay.run(plan.scenario, plan.local)
        alone = run(plan.scenario, backend)
        assert (fired, alone.idle) == (True, ()), plan.text
        assert [s.results for s in shared.steps] == [s.results for s in alone.trace.steps]
        assert [len(s.events or ()) for s in shared.steps] == [len(s.events or ()) for s in alone.trace.steps]


def test_pairs_reach_what_fails_while_unwinding() -> None:
    """A second fault falls into the first one's way back: there is one that no single fault can hit."""
    backend = backends.load("x86-svm")
    base = Scenario("x86-svm", ("load",), cpus=Cpus.of((0, 1)), params={"enable_virt_at_load": "1"})
    replay = Replay(base, backend)
    single = {str(f) for plan in plans(base, backend, replay) for f in plan.scenario.faults}
    both = {
        str(p.scenario.faults[1])
        for p in plans(base, backend, replay, faults=2)
        if len(p.scenario.faults) == 2
    }
    assert single >= {"misc_register"}
    assert both - single


def test_the_single_faults_come_first_and_once() -> None:
    """With --faults 2 there is every single fault, and each pair once."""
    backend = backends.load("loongarch")
    base = Scenario("loongarch", ("load", "unload"), cpus=ONE)
    replay = Replay(base, backend)
    single = [plan.text for plan in plans(base, backend, replay)]
    both = [plan.text for plan in plans(base, backend, replay, faults=2)]
    assert [text for text in both if " " not in text.removeprefix("reboot-at ")] == single
    assert len(both) == len(set(both))


@pytest.mark.parametrize(
    ("verbs", "more"),
    [
        ("load unload load unload", ()),
        ("load create-vm create-vm close-vm", ("close-vm", "unload", "load", "unload")),
        ("load open-dev", ("close-dev", "unload", "load", "unload")),
        ("load offline=1 unload", ("online=1", "load", "unload")),
        ("load offline=1 online=1 unload", ("load", "unload")),
        ("foreign-on=1 load", ("foreign-off=1", "load", "unload")),
        ("load=kvm", ("unload=kvm", "load=kvm", "unload=kvm")),
        ("load reboot", ()),
        ("offline=1", ()),
        ("load create-vm unload", ("close-vm", "unload", "load", "unload")),
        ("load suspend unload unload", ("load", "unload")),
    ],
)
def test_what_clears_up(verbs: str, more: tuple[str, ...]) -> None:
    """What is open is closed, what was loaded is unloaded, and then comes one more life of the module."""
    done = go("x86-svm", *verbs.split())
    assert tidied(done.trace, 0) == more


def test_a_clean_life_behind_the_fault_is_enough() -> None:
    """If the scenario loads and unloads after the fault anyway, nothing more is run; otherwise it is."""
    done = go("x86-svm", "load", "unload", "load", "unload")
    assert tidied(done.trace, 1) == ()
    assert tidied(done.trace, 2) == ("load", "unload")
