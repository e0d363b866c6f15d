# SPDX-License-Identifier: GPL-2.0-only
"""Runs that share what they have in common are the runs that they stand for."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import attrs
import pytest
from bare_machine import Bare, bare, nothing

from kvm_ref import backend as backends
from kvm_ref.errno import Errno, KernelError
from kvm_ref.fault import Fault
from kvm_ref.kernel import Kernel, KernelBug, Operations, Statics, SystemState
from kvm_ref.linux.module import Module
from kvm_ref.linux.printk import BUG_ON, pr_info
from kvm_ref.linux.slab import KMEM_CACHE, kmem_cache, kmem_cache_create, kmem_cache_destroy
from kvm_ref.matrix import VERBS
from kvm_ref.plans import plans, scenarios
from kvm_ref.replay import Replay
from kvm_ref.scenario import Cpus, Scenario, run
from kvm_ref.snapshot import Snapshots, constants_of
from kvm_ref.trace import Event, Trace


def plain(events: Iterable[Event]) -> list[tuple[Any, ...]]:
    """Return events as values that can be compared."""
    return [(kind, at.task, at.cpu, at.depth, *rest) for kind, at, *rest in events]


def alike(a: Trace, b: Trace) -> None:
    """Check that two runs did the same, event for event."""
    assert [(s.verbs, s.results) for s in a.steps] == [(s.verbs, s.results) for s in b.steps]
    for one, other in zip(a.steps, b.steps, strict=True):
        assert plain(one.events or ()) == plain(other.events or ())
    assert (a.log, a.faults, a.params, a.machine, a.source) == (
        b.log,
        b.faults,
        b.params,
        b.machine,
        b.source,
    )


@pytest.mark.parametrize(
    ("name", "cpus", "verbs"),
    [
        ("x86-svm", Cpus.of((0, 1)), VERBS),
        ("riscv", Cpus.of((0, 1)), VERBS),
        ("s390", Cpus.of((0,)), ("load", "load", "unload")),
        (
            "x86-vmx",
            Cpus((0, 1, 2), (0, 1), (0, 1)),
            ("load=kvm", "load", "unload=kvm", "unload", "unload=kvm"),
        ),
    ],
)
def test_each_run_is_as_if_it_were_made_alone(name: str, cpus: Cpus, verbs: tuple[str, ...]) -> None:
    """Every run of the matrix gives the trace that it gives from the beginning, on a machine of its own."""
    backend = backends.load(name)
    count = 0
    for base in scenarios(Scenario(name, verbs, cpus=cpus), backend):
        replay = Replay(base, backend)
        for plan in plans(base, backend, replay):
            shared, fired = replay.run(plan.scenario, plan.local)
            alone = run(plan.scenario, backend)
            alike(shared, alone.trace)
            assert fired == (not alone.idle)
            count += 1
    assert count > 20


def test_the_order_of_runs_makes_no_difference() -> None:
    """The last run first gives the same: nothing of a run stays behind in the shared machine."""
    backend = backends.load("x86-svm")
    base = Scenario("x86-svm", VERBS, cpus=Cpus.of((0, 1)))
    forwards, backwards = Replay(base, backend), Replay(base, backend)
    all_plans = list(plans(base, backend, forwards))[:60]
    first = [forwards.run(p.scenario, p.local)[0] for p in all_plans]
    last = [backwards.run(p.scenario, p.local)[0] for p in reversed(all_plans)]
    for a, b in zip(first, reversed(last), strict=True):
        alike(a, b)


def test_a_fault_that_never_fires_is_told() -> None:
    """The fault's verb runs, the fault does not."""
    base = Scenario("mips", ("load", "unload"))
    never = Fault("misc_register", 5)
    trace, fired = Replay(base, backends.load("mips")).run(attrs.evolve(base, faults=(never,)), {0: (never,)})
    assert not fired
    assert [s.results for s in trace.steps] == [[0], [0]]


def loads(k: Kernel) -> None:
    """Load, once; a second time the machine stops."""
    pr_info(k, "loading")
    BUG_ON(k, k.registers.get((0, "LOADED")), "loaded before")
    k.write("LOADED", 1)


def leaves(k: Kernel) -> None:
    """Unload; nothing is undone."""


class Brittle(Bare):
    """A backend whose second load stops the machine."""

    name = "brittle"
    modules = (Module("brittle", loads, leaves),)


@pytest.mark.parametrize(
    "verbs",
    [
        ("load", "unload", "load", "unload"),
        ("load", "unload", "load"),
        ("load", "load", "unload", "load", "load"),
    ],
)
def test_a_machine_that_stops(verbs: tuple[str, ...]) -> None:
    """After a BUG_ON() no verb runs, and the verb that hit it has no result: shared or alone, run after run."""
    base = Scenario("brittle", verbs)
    alone = run(base, Brittle()).trace
    assert alone.steps[-1].results == [None]
    assert alone.log[-1] == "kernel BUG: loaded before"
    assert len(alone.steps) == verbs.index("unload") + 2
    replay = Replay(base, Brittle())
    for _ in range(2):
        alike(replay.run(base)[0], alone)


def test_a_snapshot_holds_all_that_decides_what_comes_next() -> None:
    """A machine that was put back does again what it did; equal machines have equal snapshots."""
    k, other = bare(), bare()
    k.write("X", 1)
    k.new("thing")
    snapshots = Snapshots(())
    before = snapshots.take(k)
    assert before != snapshots.take(other)
    k.write("X", 2)
    k.new("thing")
    k.online.discard(2)
    snapshots.restore(k, before)
    assert (k.read("X"), sorted(k.live), k.online) == (1, ["thing"], {0, 1, 2})
    snapshots.restore(other, before)
    assert snapshots.take(other) == before


def test_which_of_two_equal_strings_a_state_holds_makes_no_difference() -> None:
    """Machines in equal states have equal snapshots, whichever objects their strings are."""
    k, other = bare(), bare()
    k.live["thing"] = "thing"
    other.live["thing"] = "".join(("th", "ing"))
    assert Snapshots(()).take(k) != Snapshots(()).take(other)
    snapshots = Snapshots([*constants_of(k), *constants_of(other)])
    assert snapshots.take(k) == snapshots.take(other)
    k.live["thing"] = "another"
    assert snapshots.take(k) != snapshots.take(other)


def test_equal_numbers_of_different_kinds_stay_what_they_are() -> None:
    """EPERM and SYSTEM_SCHEDULING are both 1; a snapshot tells them apart."""
    k, other = bare(), bare()
    k.registers[0, "X"] = Errno.EPERM
    other.registers[0, "X"] = SystemState.SYSTEM_SCHEDULING
    snapshots = Snapshots([*constants_of(k), *constants_of(other)])
    before = snapshots.take(k)
    assert before != snapshots.take(other)
    snapshots.restore(other, before)
    assert type(other.registers[0, "X"]) is Errno


@attrs.frozen
class table(Operations):
    """Operations of which there is one table."""

    call: Callable[[Kernel], None]


class Holder(Statics):
    """Refers to the table."""

    __slots__ = ("ops",)

    def __init__(self) -> None:
        self.ops: table | None = None


def test_a_table_of_operations_is_never_copied() -> None:
    """A machine that was put back refers to the table itself, as the kernel's pointer does."""
    k = bare()
    k[Holder].ops = ops = table(loads)
    snapshots = Snapshots(constants_of(k))
    before = snapshots.take(k)
    k[Holder].ops = None
    assert snapshots.take(k) != before
    snapshots.restore(k, before)
    assert k[Holder].ops is ops


def grows(k: Kernel) -> None:
    """Load, and be warned once more than before, which no event tells."""
    k.warned.add(("grows", "load", str(len(k.warned))))
    k.write("LOADED", 1)
    k.write("LOADED", 0)


class Growing(Bare):
    """A backend that is in another state after each load, and does the same in each."""

    name = "growing"
    modules = (Module("growing", grows, leaves),)


def test_verbs_that_do_the_same_share_a_step() -> None:
    """From different states, the same events and results: the judges see one step; the states stay two."""
    base = Scenario("growing", ("load", "unload", "load", "unload"))
    replay = Replay(base, Growing())
    trace, _ = replay.run(base)
    assert trace.steps[0] is trace.steps[2]
    assert trace.steps[0] is not trace.steps[1]
    alike(trace, run(base, Growing()).trace)
    # A second load is refused, and shares nothing with one that is not.
    twice = Scenario("growing", ("load", "load"))
    trace, _ = replay.run(twice)
    alike(trace, run(twice, Growing()).trace)


def test_a_run_that_goes_on() -> None:
    """More verbs do what they would have done in the same run; after a stop none is run."""
    backend = backends.load("mips")
    whole = Scenario("mips", VERBS)
    replay = Replay(whole, backend)
    trace, _ = replay.run(whole.but(verbs=VERBS[:1]))
    replay.go_on(trace, VERBS[1:])
    alike(trace, run(whole, backend).trace)
    brittle = Scenario("brittle", ("load", "unload", "load"))
    replay = Replay(brittle, Brittle())
    trace, _ = replay.run(brittle)
    replay.go_on(trace, ("unload", "load"))
    alike(trace, run(brittle, Brittle()).trace)


def test_a_bug_is_no_kernel_error() -> None:
    """BUG_ON() stops the machine: no error path runs, so nothing is undone."""
    with pytest.raises(KernelBug, match="x"):
        BUG_ON(bare(), True, "x")
    assert not issubclass(KernelBug, OSError)


class Core(Statics):
    """The variables of a module that stays loaded while others come and go."""

    __slots__ = ("base", "cache", "lives", "other")
    module = "core"

    def __init__(self) -> None:
        self.base: kmem_cache | None = None
        self.cache: kmem_cache | None = None
        self.other: kmem_cache | None = None
        self.lives = ""


def stays(k: Kernel) -> None:
    """Make what the others need."""
    k[Core].base = kmem_cache_create(k, "base")
    if not k[Core].base:
        raise KernelError(Errno.ENOMEM)


def goes(k: Kernel) -> None:
    """Nobody needs it any more."""
    kmem_cache_destroy(k, k[Core].base)


def begins(k: Kernel) -> None:
    """Set what an earlier life has left; ask for it only where memory is short."""
    g = k[Core]
    first = KMEM_CACHE(k, "first")
    if first is None:
        pr_info(k, f"no memory after {g.lives or 'no'} life")
        raise KernelError(Errno.ENOMEM)
    g.cache = first
    second = KMEM_CACHE(k, "second")
    if second is None:
        kmem_cache_destroy(k, g.cache)
        raise KernelError(Errno.ENOMEM)
    g.other = second
    g.lives = "one"


def ends(k: Kernel) -> None:
    """Leave the pointers as they are."""
    kmem_cache_destroy(k, k[Core].other)
    kmem_cache_destroy(k, k[Core].cache)


def looks(k: Kernel) -> None:
    """Tell what is left."""
    pr_info(k, f"{k[Core].cache}, {k[Core].other}, {k[Core].lives}")


class Layered(Bare):
    """A backend of several modules, which share the variables of the first."""

    name = "layered"
    modules = (
        Module("core", stays, goes),
        Module("bus", nothing, nothing),
        Module("look", looks, nothing, depends=("core",)),
        Module("main", begins, ends, depends=("core", "bus")),
    )


LIVES = ("load", "unload", "load", "unload")


@pytest.mark.parametrize(
    "verbs",
    [
        LIVES,
        (*LIVES, "load=look"),
        ("load=core", *LIVES, "load=look", "unload=look"),
        ("load", "unload", "load", "load=look", "unload=look", "unload", "load"),
        ("load", "unload", "unload=bus", "load"),
        ("load=look", "load", "unload"),
        ("load=look",),
    ],
)
def test_lives_of_a_module_beside_one_that_stays(verbs: tuple[str, ...]) -> None:
    """What an earlier life has left makes a difference exactly where somebody asks for it."""
    base = Scenario("layered", verbs)
    replay = Replay(base, Layered())
    every = list(plans(base, Layered(), replay, faults=2))
    for plan in every:
        shared, fired = replay.run(plan.scenario, plan.local)
        replay.go_on(shared, ("unload", "load=look", "load"))
        then = plan.scenario.but(verbs=(*verbs, "unload", "load=look", "load"))
        alone = run(then, Layered())
        alike(shared, alone.trace)
        assert fired == (not alone.idle)
    assert len(every) > 2 * verbs.count("load")


def test_lives_share_what_they_do_not_ask_for() -> None:
    """The same fault in the first life and in the second is one step, unless it asks for what is left."""
    base = Scenario("layered", LIVES)
    replay = Replay(base, Layered())
    for nth, same in ((1, False), (2, True)):
        # The first life begins with the other module, which makes a cache of its own.
        early, late = (
            replay.run(base, {number: (Fault("KMEM_CACHE", nth),)})[0].steps[number].events or []
            for number in (0, 2)
        )
        assert plain(early)[2:] == plain(late)
        assert all(a is b for a, b in zip(early[2:], late, strict=True)) == same
