# SPDX-License-Identifier: GPL-2.0-only
"""The costs: what each kind of waiting takes, in microseconds, and who says so."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import attrs

from kvm_ref.misuse import Misuse, nearest

_NUMBER = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9})?", re.ASCII)
_BENCHMARK = "[PATCH v2] IPI performance benchmark, linux-arm-kernel, 19 December 2017"


def _cost(default: float, what: str, source: str) -> float:
    field: float = attrs.field(default=default, metadata={"what": what, "source": source})
    return field


@attrs.frozen
class Costs:
    """What each thing takes, in microseconds. The metadata of a field say what it is, and its source."""

    hotplug_round_trip: float = _cost(
        5.855,
        "wake a CPU's hotplug thread, and be woken by it",
        "perf-bench(1), first example of sched pipe: two tasks that wake each other in turn",
    )
    idle_exit: float = _cost(
        2,
        "another CPU leaves its idle state",
        "drivers/idle/intel_idle.c, Skylake server: C1 2, C1E 10, C6 133",
    )
    ipi_round_trip: float = _cost(
        6.315,
        "interrupt one CPU, and see that it is done",
        f"{_BENCHMARK}: raw output, 100000 normal IPIs on a machine it does not name",
    )
    ipi_send: float = _cost(
        1.04,
        "interrupt one CPU more in a broadcast",
        f"{_BENCHMARK}: on 112 CPUs a broadcast is 19.1 round trips, so each CPU more is 0.165 of one",
    )
    enable: float = _cost(2, "enable virtualization on the CPU itself", "assumed")
    callback: float = _cost(1, "what any other callback does on its CPU", "assumed")
    create_vm: float = _cost(
        352,
        "KVM_CREATE_VM, without enabling",
        "firecracker issue 2129: strace of the ioctl on Linux 5.4, whether a first VM is not said",
    )

    @classmethod
    def read(cls, given: Sequence[str]) -> Costs:
        """Return the costs, some of them set as ``NAME=MICROSECONDS``; the last of a name counts.

        Raises:
            Misuse: there is no such cost, or it is no number of microseconds.
        """
        costs = cls()
        known = attrs.fields_dict(cls)
        for pair in given:
            name, equals, value = pair.partition("=")
            if not equals or not name:
                raise Misuse(f"malformed --cost {pair!r}: expected NAME=MICROSECONDS, as in idle_exit=133")
            if name not in known:
                raise Misuse(f"unknown cost {name!r}{nearest(name, known)}")
            if not _NUMBER.fullmatch(value):
                raise Misuse(f"malformed value {value!r} for cost {name}: expected microseconds, as 5.9")
            costs = attrs.evolve(costs, **{name: float(value)})
        return costs

    def to_json(self) -> dict[str, dict[str, Any]]:
        """Return each cost with what it is and where its default is from; a cost that was set has no source."""
        return {
            field.name: {
                "us": getattr(self, field.name),
                "what": field.metadata["what"],
                "source": "set" if self.is_set(field) else field.metadata["source"],
            }
            for field in attrs.fields(Costs)
        }

    def is_set(self, field: attrs.Attribute[float]) -> bool:
        """Say whether a cost differs from its default."""
        return bool(getattr(self, field.name) != field.default)

    def broadcast(self, others: int, work: float) -> float:
        """Return what on_each_cpu() takes (kernel/smp.c): it interrupts others one by one, all work at once.

        Args:
            others: how many CPUs there are besides the one that asks.
            work: what each does, in microseconds.
        """
        if not others:
            return work
        return (others - 1) * self.ipi_send + self.ipi_round_trip + self.idle_exit + work
