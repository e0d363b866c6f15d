# SPDX-License-Identifier: GPL-2.0-only
"""What a task waits for on CPUs, counted in the trace of what it does."""

from __future__ import annotations

from collections.abc import Iterable

import attrs

from kvm_ref.latency.costs import Costs
from kvm_ref.misuse import Misuse
from kvm_ref.trace import Event

# Common code (virt/kvm/kvm_main.c), so it is the same on every backend.
_ENABLES = "kvm_enable_virtualization_cpu"


@attrs.define
class Waits:
    """The callbacks that a task has run on CPUs and waits for, by how it waits.

    Attributes:
        enabling: callbacks of hotplug threads that enable virtualization, one after the other.
        enabling_remote: how many of these are on another CPU than the task.
        hotplug, hotplug_remote: the same of all other callbacks of hotplug threads.
        calls: smp_call_function_single(), one after the other.
        calls_remote: how many of these are on another CPU.
        broadcasts: on_each_cpu(): how many other CPUs each interrupts.
    """

    enabling: int = 0
    enabling_remote: int = 0
    hotplug: int = 0
    hotplug_remote: int = 0
    calls: int = 0
    calls_remote: int = 0
    broadcasts: list[int] = attrs.Factory(list)

    def time(self, costs: Costs) -> float:
        """Return how long the task waits, in microseconds."""
        return (
            (self.enabling + self.hotplug) * costs.hotplug_round_trip
            + (self.enabling_remote + self.hotplug_remote + self.calls_remote) * costs.idle_exit
            + self.enabling * costs.enable
            + (self.hotplug + self.calls) * costs.callback
            + self.calls_remote * costs.ipi_round_trip
            + sum(costs.broadcast(others, costs.callback) for others in self.broadcasts)
        )

    def time_by_broadcast(self, costs: Costs) -> float:
        """Return how long it would wait if a broadcast enabled the same CPUs, in microseconds.

        So it was before 9a798b1337af: hardware_enable_all() in virt/kvm/kvm_main.c of Linux 6.1 calls
        on_each_cpu(). The model has no such code.
        """
        rest = attrs.evolve(self, enabling=0, enabling_remote=0).time(costs)
        return rest + (costs.broadcast(self.enabling_remote, costs.enable) if self.enabling else 0)


def count(events: Iterable[Event]) -> Waits:
    """Count what the task of a trace waits for.

    Raises:
        Misuse: it waits for another task in a way that has no cost.
    """
    waits = Waits()
    # A caller waits for what it has run elsewhere, so one stack holds all.
    calls: list[Event] = []
    remote = False
    for event in events:
        kind, at, function, _, _ = event
        if kind == "exit":
            calls.pop()
        elif kind == "enter":
            if calls and calls[-1][1].task != at.task:
                remote = at.cpu != calls[-1][1].cpu
                _wait(waits, event, calls[-1], remote)
            calls.append(event)
            if function == "on_each_cpu":
                waits.broadcasts.append(0)
            elif function == "smp_call_function_single":
                waits.calls += 1
            elif function == _ENABLES and at.task.startswith("cpuhp/"):
                waits.hotplug -= 1
                waits.hotplug_remote -= remote
                waits.enabling += 1
                waits.enabling_remote += remote
    return waits


def _wait(waits: Waits, callback: Event, caller: Event, remote: bool) -> None:
    # Count a callback by the function that runs it and waits (kernel/cpu.c, kernel/smp.c).
    how = caller[2]
    if how == "cpuhp_issue_call":
        waits.hotplug += 1
        waits.hotplug_remote += remote
    elif how == "on_each_cpu":
        waits.broadcasts[-1] += 1
    elif how == "smp_call_function_single":
        waits.calls_remote += 1
    else:
        raise Misuse(f"{how}() waits for {callback[1].task}: no cost is known for that")
