# SPDX-License-Identifier: GPL-2.0-only
"""What a user does with a machine: verbs, run in order, one trace.

A verb that fails gives its errno, and the next one still runs, as a shell user's would. A reboot
that falls into a verb does not come: the system runs again when the verb has ended, so that one
can see what it left behind.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import attrs

from kvm_ref import backend as backends
from kvm_ref.backend import Backend
from kvm_ref.errno import KernelError
from kvm_ref.fault import Fault, Pending, arm
from kvm_ref.fault import check as check_fault
from kvm_ref.kernel import Commit, Kernel, KernelBug, SystemState
from kvm_ref.linux import module as modules
from kvm_ref.linux.cpu import Cpuhp
from kvm_ref.linux.cpuhotplug import OWN
from kvm_ref.linux.cpumask import NR_CPUS, format_list
from kvm_ref.linux.debugfs import Debugfs
from kvm_ref.linux.device import Devices
from kvm_ref.linux.miscdevice import Misc
from kvm_ref.linux.module import Modules
from kvm_ref.linux.reboot import MachineStopped
from kvm_ref.misuse import Misuse, nearest
from kvm_ref.trace import Step, Trace
from kvm_ref.verbs import check_verb, parse_verb
from kvm_ref.vocabulary import Vocabulary

KERNEL = "6.12.117"


@attrs.frozen
class Cpus:
    """The CPUs of a machine: which can exist, which are plugged in, which run."""

    possible: tuple[int, ...] = (0, 1, 2, 3)
    present: tuple[int, ...] = (0, 1, 2, 3)
    online: tuple[int, ...] = (0, 1, 2, 3)

    @classmethod
    def of(cls, cpus: tuple[int, ...]) -> Cpus:
        """Return a machine on which all of `cpus` run."""
        return cls(cpus, cpus, cpus)


@attrs.frozen
class Scenario:
    """A machine, the faults, and what is done with it.

    Attributes:
        backend: its name.
        verbs: as the user writes them ("load", "foreign-on=2").
        cpus: the CPUs.
        params: module parameters by name, as text.
        commits: commits added to 6.12.117 (True) or taken out of it (False), by hash.
        faults: the plan.
        features: what the CPUs have, where it is not the backend's default.
    """

    backend: str
    verbs: tuple[str, ...]
    cpus: Cpus = Cpus()
    params: Mapping[str, str] = attrs.Factory(dict)
    commits: Mapping[str, bool] = attrs.Factory(dict)
    faults: tuple[Fault, ...] = ()
    features: Mapping[str, bool] = attrs.Factory(dict)

    def but(
        self, *, verbs: tuple[str, ...] | None = None, faults: tuple[Fault, ...] | None = None
    ) -> Scenario:
        """Return the same machine with other verbs or faults. A matrix asks for it at every run."""
        return Scenario(
            self.backend,
            self.verbs if verbs is None else verbs,
            self.cpus,
            self.params,
            self.commits,
            self.faults if faults is None else faults,
            self.features,
        )


@attrs.frozen
class Run:
    """What came of a scenario: the trace, and the faults that never fired."""

    scenario: Scenario
    trace: Trace
    idle: tuple[Fault, ...]


def commits_of(choice: Mapping[str, bool]) -> list[Commit]:
    """Return the commits that a kernel contains: those of 6.12.117, and what was chosen.

    Raises:
        Misuse: one is unknown.
    """
    chosen: dict[str, bool] = {}
    for given, wanted in choice.items():
        matching = [
            h for h in Commit.known if len(given) >= 7 and (h.startswith(given) or given.startswith(h))
        ]
        if not matching:
            raise Misuse(f"unknown commit {given!r}{nearest(given, Commit.known)}")
        chosen[matching[0]] = wanted
    return [c for h, c in Commit.known.items() if chosen.get(h, c.default)]


def machine(scenario: Scenario, backend: Backend) -> Kernel:
    """Make the machine of a scenario; nothing has run on it.

    Raises:
        Misuse: a parameter, commit, feature or CPU is none.
    """
    unknown = set(scenario.features) - set(backend.features)
    if unknown:
        name = min(unknown)
        raise Misuse(f"unknown feature {name!r} of {backend.name}{nearest(name, backend.features)}")
    possible, present, online = map(set, attrs.astuple(scenario.cpus))
    if not (online and online <= present <= possible and max(possible) < NR_CPUS):
        raise Misuse(
            f"impossible CPUs: {format_list(online) or 'none'} online, {format_list(present) or 'none'} present, "
            f"{format_list(possible) or 'none'} possible; expected at least one, each among the next"
        )
    k = Kernel(
        backend,
        possible=scenario.cpus.possible,
        present=scenario.cpus.present,
        online=scenario.cpus.online,
        commits=commits_of(scenario.commits),
        cmdline=modules.check(backend.modules, scenario.params),
        features=dict(scenario.features),
    )
    # The devices of CPUs say what was online at boot, not when the first of them is asked for.
    k[Devices]
    return k


def look(k: Kernel) -> dict[str, Any]:
    """Return what can be seen of a machine between two verbs, as a trace's ``after`` holds it."""
    states = k[Cpuhp].cpuhp_hp_states
    return {
        "debugfs_kvm": "kvm" in (k[Debugfs].root.children or ()),
        "dev_kvm": any(m.name == "kvm" for m in k[Misc].misc_list),
        "cpuhp_states": [step.name for number, step in sorted(states.items()) if number not in OWN],
        "modules": list(k[Modules].loaded),
        "online": format_list(k.online),
        **k.arch.after(k),
    }


def perform(k: Kernel, text: str) -> tuple[Step, bool]:
    """Run one verb; the second value is False if the machine has stopped."""
    verb, argument = parse_verb(text)
    events = k.record()
    result: int | None = 0
    alive = True
    try:
        k.run_on(verb.task, min(k.online), verb.does, argument)
    except KernelError as error:
        result = -(error.errno or 0)
    except (KernelBug, MachineStopped):
        result, alive = None, False
    k.system_state = SystemState.SYSTEM_RUNNING
    return Step([text], [result], events), alive


def check(scenario: Scenario, backend: Backend) -> Kernel:
    """Look up all that a scenario names, and return its machine; nothing has run on it.

    Raises:
        Misuse: something in the scenario does not exist.
    """
    vocabulary = Vocabulary.of(backend)
    for text in scenario.verbs:
        check_verb(text, backend, scenario.cpus.possible)
    k = machine(scenario, backend)
    check_plan(scenario.faults, vocabulary, scenario.cpus.possible)
    return k


def check_plan(faults: Iterable[Fault], vocabulary: Vocabulary, possible: Sequence[int]) -> None:
    """Refuse faults that cannot be on a machine.

    Raises:
        Misuse: one of them cannot.
    """
    for fault in faults:
        check_fault(fault, vocabulary)
        if fault.cpu is not None and fault.cpu not in possible:
            raise Misuse(f"no CPU {fault.cpu} in {fault}: this machine has {format_list(possible)}")


def run(scenario: Scenario, backend: Backend | None = None, *, armed_at: int = 1) -> Run:
    """Run a scenario on a new machine.

    Args:
        scenario: what to run.
        backend: the backend that it names; None looks it up.
        armed_at: the verb, counted from 1, from which on calls count for the faults.

    Raises:
        Misuse: something in the scenario does not exist.
    """
    backend = backend or backends.load(scenario.backend)
    k = check(scenario, backend)
    plan: list[Pending] = []
    steps = []
    after = {"before": look(k)}
    for number, text in enumerate(scenario.verbs, 1):
        if number == armed_at:
            plan = arm(k, scenario.faults, Vocabulary.of(backend))
        step, alive = perform(k, text)
        steps.append(step)
        after[f"{number} {text}"] = look(k)
        if not alive:
            break
    return Run(scenario, record(scenario, k, steps, after), idle(plan))


def idle(plan: list[Pending]) -> tuple[Fault, ...]:
    """Return the faults of a plan that never fired."""
    return tuple(p.fault for p in plan if not p.fired)


def record(scenario: Scenario, k: Kernel, steps: list[Step], after: dict[str, dict[str, Any]]) -> Trace:
    """Make the trace of what ran."""
    params = {}
    for mod in k.arch.modules:
        for param in mod.params:
            name = modules.full_name(mod, param)
            text = k.settings.get(name)
            params[param.key] = param.initial if text is None else param.set(text)
    source: dict[str, Any] = {"kind": "model", "kernel": KERNEL, "backend": k.arch.name}
    if scenario.commits:
        source["commits"] = dict(scenario.commits)
    return Trace(
        source=source,
        machine={
            "cpus": len(k.possible),
            "possible": format_list(scenario.cpus.possible),
            "present": format_list(scenario.cpus.present),
            "online": format_list(scenario.cpus.online),
            "features": dict(k.features),
        },
        params=params,
        faults=[f.to_json() for f in scenario.faults],
        steps=steps,
        after=after,
        log=list(k.log),
    )
