# SPDX-License-Identifier: GPL-2.0-only
"""Measure kvm-ref: python benchmarks/speed.py

Each figure is the best of several runs on one core: what the code costs, not what the machine was
busy with. The garbage collector is off for both sides of a ratio, as it is in the command.
"""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import time
from collections.abc import Callable

from kvm_ref import backend as backends
from kvm_ref.scenario import Cpus, Scenario, look, machine, perform, run

LOAD = ("load", "unload", "load", "unload")
LIFE = ("load", "create-vm", "close-vm", "unload")


def best(function: Callable[[], object], times: int = 5) -> float:
    """Return the seconds that the quickest of some calls took."""
    taken = []
    for _ in range(times):
        start = time.perf_counter()
        function()
        taken.append(time.perf_counter() - start)
    return min(taken)


def process(*command: str, times: int = 5) -> float:
    """Return the seconds that a command takes as a whole process, its modules compiled before."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return best(
        lambda: subprocess.run(command, stdout=subprocess.DEVNULL, check=False, env=environment), times
    )


def per_event(cpus: int, verbs: tuple[str, ...] = LOAD) -> float:
    """Return the microseconds that one event of a scenario costs."""
    backend = backends.load("x86-svm")
    scenario = Scenario("x86-svm", verbs, cpus=Cpus.of(tuple(range(cpus))))
    events = sum(len(step.events or ()) for step in run(scenario, backend).trace.steps)
    return best(lambda: run(scenario, backend), 3 if cpus > 256 else 20) / events * 1e6


def traced_over_bare(*verbs: str) -> tuple[float, float]:
    """Return the microseconds of a traced scenario, and of as many bare calls that append one tuple.

    A call is what leaves an event: of a function, of a lock, of an instruction that writes a register.
    """
    backend = backends.load("x86-svm")
    scenario = Scenario("x86-svm", verbs)
    events = list(run(scenario, backend).trace.events())
    calls = [(at.cpu, at.depth, name) for kind, at, name, _, _ in events if kind != "exit"]
    machines = [machine(scenario, backend) for _ in range(500)]
    for k in machines:
        look(k)

    def traced() -> None:
        k = machines.pop()
        for verb in verbs:
            perform(k, verb)

    def function(log: list[object], cpu: int, depth: int, name: str) -> None:
        log.append(("call", cpu, depth, name))

    def bare() -> None:
        log: list[object] = []
        for cpu, depth, name in calls:
            function(log, cpu, depth, name)

    return best(traced, 500) * 1e6, best(bare, 500) * 1e6


def pairs(jobs: int) -> float:
    """Return the seconds that every pair of faults in the life of a VM takes, as a whole process."""
    command = [
        "-m",
        "kvm_ref",
        "matrix",
        "--backend",
        "x86-svm",
        "--faults",
        "2",
        "--jobs",
        str(jobs),
        "--",
        *LIFE,
    ]
    return process(sys.executable, *command, times=2)


def main() -> None:
    """Print all figures."""
    gc.disable()
    cores = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set()
    if cores:
        os.sched_setaffinity(0, {min(cores)})
    python = sys.executable
    bare_start = process(python, "-c", "pass")
    print(
        f"import kvm_ref                       {process(python, '-c', 'import kvm_ref.scenario') - bare_start:8.3f} s"
    )
    print(f"default matrix, whole process        {process(python, '-m', 'kvm_ref', 'matrix'):8.3f} s")
    small = per_event(4)
    print(f"per event, 4 CPUs                    {small:8.3f} us")
    for cpus in (64, 1024, 4096):
        cost = per_event(cpus)
        print(f"per event, {cpus:>4} CPUs                 {cost:8.3f} us   x {cost / small:.2f}")
    print(f"per event, life of a VM              {per_event(4, LIFE):8.3f} us")
    one = pairs(1)
    print(f"all pairs of faults, life of a VM    {one:8.3f} s")
    if len(cores) > 1:
        os.sched_setaffinity(0, cores)
        two = pairs(2)
        print(f"the same with --jobs 2               {two:8.3f} s    x {two / one:.2f}")
        os.sched_setaffinity(0, {min(cores)})
    for what, verbs in (
        ("traced load over bare calls  ", ("load",)),
        ("traced life over bare calls  ", LIFE),
    ):
        traced, bare = traced_over_bare(*verbs)
        print(f"{what}        {traced:8.0f} us / {bare:.0f} us = {traced / bare:.1f}")


if __name__ == "__main__":
    main()
