# SPDX-License-Identifier: GPL-2.0-only
"""The time until the first VM, for machines of several sizes.

For each size KVM is loaded and a VM is made, once with ``enable_virt_at_load`` and once without. What
is waited for is counted in these two runs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import attrs

from kvm_ref.backend import Backend
from kvm_ref.latency.costs import Costs
from kvm_ref.latency.waits import Waits, count
from kvm_ref.linux.cpumask import NR_CPUS
from kvm_ref.misuse import Misuse
from kvm_ref.scenario import KERNEL, Cpus, Scenario, run
from kvm_ref.text import errno_name

FORMAT = "kvm-ref-latency/1"
_VERBS = ("load", "create-vm")


@attrs.frozen
class Life:
    """What is waited for from loading KVM to the first VM: by each of the two."""

    load: Waits
    create_vm: Waits


@attrs.frozen
class Row:
    """A machine of some size.

    Attributes:
        cpus: how many CPUs it has.
        at_load: virtualization is enabled when KVM is loaded.
        on_demand: it is enabled for the first VM.
        costs: what a wait takes.
    """

    cpus: int
    at_load: Life
    on_demand: Life
    costs: Costs

    def times(self) -> dict[str, float]:
        """Return the times in microseconds, in the order of `COLUMNS`."""
        costs = self.costs
        return {
            "at_load.load": self.at_load.load.time(costs),
            "at_load.first_vm": costs.create_vm + self.at_load.create_vm.time(costs),
            "on_demand.load": self.on_demand.load.time(costs),
            "on_demand.serialised": costs.create_vm + self.on_demand.create_vm.time(costs),
            "on_demand.broadcast": costs.create_vm + self.on_demand.create_vm.time_by_broadcast(costs),
        }


# What there is a time of, in words.
COLUMNS = {
    "at_load.load": "enabled at load: load",
    "at_load.first_vm": "enabled at load: first VM",
    "on_demand.load": "on demand: load",
    "on_demand.serialised": "on demand, serialised hotplug callbacks: first VM",
    "on_demand.broadcast": "on demand, broadcast as in 6.1: first VM",
}


def sizes(text: str) -> list[int]:
    """Read how many CPUs: numbers and ranges; of a range its ends and the powers of two between.

    Raises:
        Misuse: it is no such list, or a number is not within 1 and `NR_CPUS`.
    """
    found: set[int] = set()
    for part in text.split(","):
        first, dash, last = part.partition("-")
        ends = (first, last) if dash else (first, first)
        if not all(end.isascii() and end.isdigit() for end in ends):
            raise Misuse(f"malformed --cpus {text!r}: expected numbers and ranges, as 4,16 or 1-4096")
        low, high = (int(end) if len(end) < 9 else NR_CPUS + 1 for end in ends)
        if low < 1 or max(low, high) > NR_CPUS:
            raise Misuse(f"malformed --cpus {text!r}: expected 1 to {NR_CPUS} CPUs")
        if low > high:
            raise Misuse(f"malformed --cpus {text!r}: range {part} runs backwards")
        powers = (1 << bit for bit in range(high.bit_length()))
        found |= {low, high, *(power for power in powers if low < power < high)}
    return sorted(found)


def measure(
    backend: Backend, cpus: Iterable[int], costs: Costs, features: Mapping[str, bool] | None = None
) -> list[Row]:
    """Run the model on a machine of each size; `features` says what its CPUs have.

    Raises:
        Misuse: the backend enables nothing by hotplug callbacks, has no such feature, or KVM does not
            come up on it.
    """
    features = features or {}
    if "KVM_GENERIC_HARDWARE_ENABLING" not in backend.config:
        raise Misuse(
            f"backend {backend.name!r} enables no CPU, at load or on demand: "
            "its kernel is without CONFIG_KVM_GENERIC_HARDWARE_ENABLING"
        )
    return [Row(n, _life(backend, n, "1", features), _life(backend, n, "0", features), costs) for n in cpus]


def _life(backend: Backend, cpus: int, at_load: str, features: Mapping[str, bool]) -> Life:
    scenario = Scenario(
        backend.name,
        _VERBS,
        Cpus.of(tuple(range(cpus))),
        {"enable_virt_at_load": at_load},
        features=features,
    )
    steps = run(scenario, backend).trace.steps
    for step in steps:
        if step.results != [0]:
            what = f"{step.verbs[0]} gives {errno_name(step.results[0])}"
            raise Misuse(f"no first VM on backend {backend.name!r} with --cpus {cpus}: {what}")
    load, create_vm = (count(step.events or ()) for step in steps)
    return Life(load, create_vm)


def to_json(backend: Backend, rows: Sequence[Row], costs: Costs) -> dict[str, Any]:
    """Return all there is to know as the object that ``json.dump`` takes. Times are in microseconds."""
    return {
        "format": FORMAT,
        "backend": backend.name,
        "kernel": KERNEL,
        "costs": costs.to_json(),
        "columns": COLUMNS,
        "rows": [
            {
                "cpus": row.cpus,
                "us": {name: round(time, 3) for name, time in row.times().items()},
                "waits": {"at_load": attrs.asdict(row.at_load), "on_demand": attrs.asdict(row.on_demand)},
            }
            for row in rows
        ],
    }
