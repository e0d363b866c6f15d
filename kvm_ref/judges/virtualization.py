# SPDX-License-Identifier: GPL-2.0-only
"""The judge of virtualization: on where it is used, off where it is not.

Between two verbs virtualization is on exactly on the CPUs that run while the usage count is above
zero, and on none otherwise; the usage count is the number of VMs, plus one if it was enabled at
load; and once the machine has shut down it is on nowhere.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import attrs

from kvm_ref.judges.finding import Finding, verbs_of
from kvm_ref.judges.index import Index
from kvm_ref.judges.whole_trace import WholeTrace
from kvm_ref.trace import Trace
from kvm_ref.vocabulary import Vocabulary

_MOVING = ("_cpu_up", "_cpu_down")


@attrs.define(eq=False, repr=False)
class _Machine:
    # What the trace has told so far.
    enabled: set[int]
    online: set[int]
    wanted: bool
    usage: int = 0
    vms: int = 0
    at_load: int = 0
    shut_down: bool = False

    def state(self) -> _State:
        enabled, online = frozenset(self.enabled), frozenset(self.online)
        return _State(enabled, online, self.wanted, self.usage, self.vms, self.at_load, self.shut_down)


class _State(NamedTuple):
    # The same as a value.
    enabled: frozenset[int]
    online: frozenset[int]
    wanted: bool
    usage: int
    vms: int
    at_load: int
    shut_down: bool


@WholeTrace
def virtualization(trace: Trace, seen: Sequence[Index], vocabulary: Vocabulary) -> list[Finding]:
    """Find CPUs that are on or off against the rule, and counts that are wrong.

    A kernel's log does not show all that this takes, so it is not judged; nor is an architecture whose
    CPUs need no enabling.
    """
    if (
        trace.observed is not None
        or "online" not in trace.machine
        or "kvm_arch_enable_virtualization_cpu" not in vocabulary
    ):
        return []
    out: list[Finding] = []
    state = _begun(str(trace.machine["online"]), bool(trace.params.get("enable_virt_at_load")))
    known: set[str] = set()
    for number, step in enumerate(trace.steps):
        # Runs share steps, and what follows from a step is the same on all machines in one state.
        judged = seen[number].found.get(state)
        if judged is None:
            verbs = tuple(zip(step.verbs, step.results, strict=True))
            judged = seen[number].found[state] = _judged(state, _told(seen[number]), verbs)
        state, wrong = judged
        if wrong is None:
            break
        for what, message in wrong:
            if what not in known:
                known.add(what)
                text = f"{message} after {verbs_of(trace, number)}"
                out.append(Finding(judge="virtualization", message=text, step=number, resource=what))
    return out


@functools.lru_cache(maxsize=256)
def _begun(online: str, wanted: bool) -> _State:
    return _one(_Machine(set(), set(_cpus(online)), wanted).state())


@functools.lru_cache(maxsize=4096)
def _judged(
    before: _State, told: _Told, verbs: tuple[tuple[str, int | None], ...]
) -> tuple[_State, list[tuple[str, str]] | None]:
    # The state after what a step told, and what is wrong in it; None if the machine stopped in a bug.
    enabled, online, wanted, usage, vms, at_load, shut_down = before
    machine = _Machine(set(enabled), set(online), wanted, usage, vms, at_load, shut_down)
    for function, cpu, value in told:
        _note(machine, function, cpu, value)
    if any(result is None for _, result in verbs) and not machine.shut_down:
        return before, None
    for verb, result in verbs:
        if result == 0:
            machine.vms += verb == "create-vm"
            machine.vms -= verb.startswith("close-vm")
    return _one(machine.state()), list(_wrong(machine))


@functools.lru_cache(maxsize=4096)
def _one(state: _State) -> _State:
    # Of equal states always the same one: what is kept by it is found at once.
    return state


# What calls tell: the function, the CPU that it is about, and what it returned.
_Told = tuple[tuple[str, int, object], ...]


def _told(seen: Index) -> _Told:
    out: list[tuple[str, int, object]] = []
    moving: list[int] = []
    for _, (kind, at, function, args, value) in seen.telling:
        if function not in _MOVING:
            if kind == "exit":
                out.append((function, at.cpu, value))
        elif kind == "enter":
            moving.append(int((args or {}).get("cpu", -1)))
        elif kind == "exit":
            out.append((function, moving.pop(), value))
    return tuple(out)


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
