# SPDX-License-Identifier: GPL-2.0-only
"""The judge of virtualization: on where it is used, off where it is not.

Between two verbs virtualization is on exactly on the CPUs that run while the usage count is above
zero, and on none otherwise; the usage count is the number of VMs, plus one if it was enabled at
load; and once the machine has shut down it is on nowhere.
"""

from __future__ import annotations

from collections.abc import Iterator

from kvm_ref.judges.finding import Finding, verbs_of
from kvm_ref.judges.index import Index, index
from kvm_ref.trace import Trace
from kvm_ref.vocabulary import Vocabulary

# The calls that tell of virtualization, and of CPUs that come and go.
_TELLING = frozenset({
    "kvm_arch_enable_virtualization_cpu", "kvm_arch_disable_virtualization_cpu", "kvm_enable_virtualization",
    "kvm_disable_virtualization", "kvm_init_virtualization", "kvm_uninit_virtualization", "kvm_shutdown", "_cpu_up", "_cpu_down",
})  # fmt: skip
_MOVING = ("_cpu_up", "_cpu_down")


class _Machine:
    # What the trace has told so far.
    def __init__(self, trace: Trace) -> None:
        self.enabled: set[int] = set()
        self.usage = 0
        self.vms = 0
        self.at_load = 0
        self.shut_down = False
        self.online = set(_cpus(str(trace.machine["online"])))
        self.wanted = bool(trace.params.get("enable_virt_at_load"))
        self.known: set[str] = set()


def virtualization(trace: Trace, vocabulary: Vocabulary) -> list[Finding]:
    """Find CPUs that are on or off against the rule, and counts that are wrong.

    A kernel's log does not show all that this takes, so it is not judged; nor is an architecture whose
    CPUs need no enabling.
    """
    judged = trace.observed is None and "online" in trace.machine
    if not judged or "kvm_arch_enable_virtualization_cpu" not in vocabulary:
        return []
    out: list[Finding] = []
    machine = _Machine(trace)
    for number, step in enumerate(trace.steps):
        for function, cpu, value in _told(index(step, vocabulary)):
            _note(machine, function, cpu, value)
        if None in step.results and not machine.shut_down:
            break
        for verb, result in zip(step.verbs, step.results, strict=True):
            if result == 0:
                machine.vms += verb == "create-vm"
                machine.vms -= verb.startswith("close-vm")
        for what, message in _wrong(machine):
            if what not in machine.known:
                machine.known.add(what)
                text = f"{message} after {verbs_of(trace, number)}"
                out.append(Finding(judge="virtualization", message=text, step=number, resource=what))
    return out


def _told(seen: Index) -> list[tuple[str, int, object]]:
    # What the calls of a step tell: the function, the CPU that it is about, and what it returned.
    key = ("virtualization", 0)
    if key not in seen.found:
        out: list[tuple[str, int, object]] = []
        moving: list[int] = []
        for kind, at, function, args, value in [e for e in seen.events if e[2] in _TELLING]:
            if function not in _MOVING:
                if kind == "exit":
                    out.append((function, at.cpu, value))
            elif kind == "enter":
                moving.append(int((args or {}).get("cpu", -1)))
            elif kind == "exit":
                out.append((function, moving.pop(), value))
        seen.found[key] = out
    return seen.found[key]


def _note(machine: _Machine, function: str, cpu: int, value: object) -> None:
    if function == "kvm_arch_enable_virtualization_cpu" and value == 0:
        machine.enabled.add(cpu)
    elif function == "kvm_arch_disable_virtualization_cpu":
        machine.enabled.discard(cpu)
    elif function == "kvm_enable_virtualization" and value == 0:
        machine.usage += 1
    elif function == "kvm_disable_virtualization":
        machine.usage -= 1
    elif function == "kvm_init_virtualization" and value == 0:
        machine.at_load = int(machine.wanted)
    elif function == "kvm_uninit_virtualization":
        machine.at_load = 0
    elif function == "kvm_shutdown":
        machine.shut_down = True
    elif function == "_cpu_up" and value == 0:
        machine.online.add(cpu)
    elif function == "_cpu_down" and value == 0:
        machine.online.discard(cpu)


def _wrong(machine: _Machine) -> Iterator[tuple[str, str]]:
    if machine.shut_down:
        for cpu in sorted(machine.enabled):
            yield f"cpu:{cpu}", f"virtualization is on on CPU {cpu}, though the machine has shut down,"
        return
    count = machine.vms + machine.at_load
    if machine.usage != count:
        yield "usage", f"the usage count is {machine.usage}, not {count}, with {machine.vms} VMs"
    due = machine.online if machine.usage > 0 else set()
    for cpu in sorted(machine.enabled ^ due):
        state = "on" if cpu in machine.enabled else "off"
        why = "running" if cpu in machine.online else "offline"
        yield (
            f"cpu:{cpu}",
            f"virtualization is {state} on CPU {cpu}, {why}, with a usage count of {machine.usage}",
        )


def _cpus(text: str) -> Iterator[int]:
    for part in filter(None, text.split(",")):
        first, _, last = part.partition("-")
        yield from range(int(first), int(last or first) + 1)
