# SPDX-License-Identifier: GPL-2.0-only
"""The model against a real kernel: tests/data holds traces of 6.12.117, see README.md there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from command_line import Command

from kvm_ref.compare import Comparison, against_model, compare, scenario_of
from kvm_ref.fault import Fault
from kvm_ref.misuse import Misuse
from kvm_ref.scenario import Scenario, run
from kvm_ref.trace import Trace, TraceError, load

DATA = Path(__file__).parent / "data"


def data(name: str) -> dict[str, Any]:
    read: dict[str, Any] = json.loads((DATA / name).read_text(encoding="utf-8"))
    return read


_OURS = (
    "kvm: ", "debugfs: ", "smpboot: ", "CPU", "Disabling", "Enabling", "PM: suspend e", "OOM", "Freezing", "Restarting",
)  # fmt: skip


def trace(data: dict[str, Any]) -> Trace:
    return load(json.dumps(data))


WHOLE = sorted(p.name for p in DATA.glob("*.json"))
EVENTS = {  # counted in the files: the events of all recorded steps
    "foreign_svme_cpu2_load1.json": 514,
    "g_init_cache_vcpu.json": 315, "g_init_cpuhp_setup.json": 373, "g_init_cpumask_1.json": 327,
    "g_init_debugfs_dir.json": 477, "g_init_enable_cpu1.json": 405, "g_init_enable_cpu6_8cpu.json": 683,
    "g_init_irqfd_wq.json": 337, "g_init_misc_register.json": 471, "g_init_rebooting.json": 467,
    "g_init_register_device_ops.json": 355, "g_init_vfio_ops.json": 353, "g_vendor_cache_emulator.json": 245,
    "g_vm1_mmu_notifier.json": 137, "g_vm_arch_init.json": 217, "g_vm_bus_3.json": 215, "g_vm_debugfs_dir.json": 381,
    "g_vm_enable_virt.json": 237, "g_vm_fd.json": 197, "g_vm_getfile.json": 381, "g_vm_irq_routing.json": 213,
    "g_vm_mmu_notifier.json": 345, "g_vm_srcu_1.json": 205,
    "hotplug_load1.json": 48, "leak_reload.json": 0, "load0_createvm2.json": 410, "load1_createvm2.json": 176,
    "load_default.json": 238, "load_default_1cpu.json": 142, "load_default_8cpu.json": 366,
    "reboot_load1.json": 28, "suspend_load1.json": 84,
}  # fmt: skip


def test_every_trace_is_compared() -> None:
    """None of the kernel's traces is left out."""
    assert set(WHOLE) == set(EVENTS)


@pytest.mark.parametrize("name", WHOLE)
def test_the_model_does_what_the_kernel_did(name: str) -> None:
    """Same events in the same order, same results, same things left behind."""
    recorded = data(name)
    found = against_model(trace(recorded), {})
    assert found.difference is None
    assert found.equal == sum(len(s["events"] or []) for s in recorded["steps"])
    assert found.equal == EVENTS[name]
    assert bool(found.note) == (name == "load0_createvm2.json")


def test_a_mislabelled_trace_is_told_of(kvm_ref: Command) -> None:
    """compare says so in a line of its own, and it is no difference."""
    done = kvm_ref("compare", str(DATA / "load0_createvm2.json"))
    assert done.status == 0
    assert done.lines[1].endswith("mislabelled, its events are those of enable_virt_at_load=0")


def test_a_trace_that_is_mislabelled() -> None:
    """A log whose load enabled nothing is that of enable_virt_at_load=0, whatever its file says; it is told."""
    recorded = trace(data("load0_createvm2.json"))
    assert recorded.params == {"enable_virt_at_load": True}
    found = against_model(recorded, {})
    assert found.note == "mislabelled, its events are those of enable_virt_at_load=0"
    assert against_model(recorded, {"enable_virt_at_load": "0"}).note == ""
    assert against_model(recorded, {"enable_virt_at_load": "1"}).difference is not None


@pytest.mark.parametrize("name", WHOLE)
def test_the_log_is_the_kernels(name: str) -> None:
    """What KVM, debugfs, hotplug and suspend log, without times, other parts' lines, and the frame of a WARN."""
    recorded = data(name)
    model = run(scenario_of(trace(recorded))).trace

    def lines(log: list[str]) -> list[str]:
        return [line for line in log if line.startswith(_OURS) and not line.endswith(" seconds)")]

    assert lines(recorded["log"]) == lines(model.log)
    assert any("WARNING" in line for line in recorded["log"]) == any("WARNING" in line for line in model.log)


@pytest.mark.parametrize(
    ("key", "value"), [("callback", "kvm_offline_cpu"), ("step", 149), ("target", 145), ("on_cpu", 3)]
)
def test_arguments_are_compared(key: str, value: object) -> None:
    """What a callback was called for is compared as far as both sources tell it."""
    recorded = data("hotplug_load1.json")
    event = next(e for e in recorded["steps"][2]["events"] if e["function"] == "cpuhp_cb")
    assert event["args"][key] != value
    event["args"][key] = value
    found = against_model(trace(recorded), {})
    assert found.difference is not None
    assert f"{key}={value}" in found.difference.first


def test_where_faults_begin_to_count() -> None:
    """A probe that was put in with the recording counts no call before; kvm_create_vm() fails then, not the load.

    By hand, from virt/kvm/kvm_main.c: what kvm_enable_virtualization() gives is given back, and so is the descriptor.
    """
    recorded = data("g_vm1_mmu_notifier.json")
    recorded["faults"] = [{"function": "kvm_enable_virtualization", "nth": 1, "value": -5}]
    recorded["observed"] = ["kvm_enable_virtualization", "put_unused_fd"]
    recorded["steps"] = recorded["steps"][:2]
    recorded["after"] = {"loaded": recorded["after"]["loaded"]}
    recorded["steps"][1]["results"] = [-5]
    told = [
        ("enter", "kvm_enable_virtualization", None),
        ("inject", "kvm_enable_virtualization", -5),
        ("exit", "kvm_enable_virtualization", -5),
        ("enter", "put_unused_fd", None),
        ("exit", "put_unused_fd", None),
    ]
    where = {"task": "vmm", "cpu": 0, "depth": 0, "args": None}
    recorded["steps"][1]["events"] = [
        {**where, "kind": kind, "function": function, "value": value} for kind, function, value in told
    ]
    found = against_model(trace(recorded), {})
    assert found.difference is None
    assert found.note == "its faults count calls from verb 3 on"
    # Nothing explains a descriptor that was not given back.
    del recorded["steps"][1]["events"][-2:]
    assert against_model(trace(recorded), {}).difference is not None


@pytest.mark.parametrize(
    ("size", "nth", "given"),
    [
        (8, 1, -12),  # struct kvm_io_bus: two ints (include/linux/kvm_host.h)
        (8, 4, -12),
        (24, 1, -12),  # struct kvm_stat_data: two pointers and an enum
        (24, 2, -12),
        (304, 1, -12),  # struct kvm_irq_routing_table: 3 * 24 ints, the length, one list
        # struct kobj_uevent_env: 3 + 64 pointers, two ints, 2048 bytes (include/linux/kobject.h)
        (2592, 1, 0),
        (4096, 1, 0),  # PATH_MAX; nobody misses what udev is not told
    ],
)
def test_allocations_by_their_size(size: int, nth: int, given: int) -> None:
    """__kmalloc_cache_noprof() has the size as its third argument, where the compiler knows it."""
    where = {"arg2": size}
    fault = {"function": "__kmalloc_cache_noprof", "nth": nth, "under": "kvm_dev_ioctl", "where": where}
    done = run(Scenario("x86-svm", ("load", "create-vm"), faults=(Fault.from_json(fault),)))
    assert done.idle == ()
    assert [step.results for step in done.trace.steps] == [[0], [given]]


def test_a_device_is_known_by_its_minor() -> None:
    """The kernel's traces tell misc_register() by the number and the name."""
    fault = {"function": "misc_register", "nth": 1, "value": -16, "where": {"minor": 232, "name": "kvm"}}
    done = run(Scenario("x86-svm", ("load",), faults=(Fault.from_json(fault),)))
    assert done.trace.steps[0].results == [-16]


def mutated(change: str) -> Comparison:
    recorded = data("g_init_misc_register.json")
    events = recorded["steps"][1]["events"]
    if change == "removed":
        del events[100:102]
    elif change == "swapped":
        events[100], events[101] = events[101], events[100]
    elif change == "value":
        next(e for e in events if e["kind"] == "exit" and e["value"] == 0)["value"] = -5
    elif change == "cpu":
        events[100]["cpu"] += 1
    elif change == "task":
        events[100]["task"] = "cpuhp/9"
    elif change == "cut":
        del events[-2:]
    elif change == "longer":
        events.append(events[-1])
    elif change == "result":
        recorded["steps"][1]["results"] = [-5]
    elif change == "after":
        recorded["after"]["after_load"]["debugfs_kvm"] = False
    elif change == "last":
        recorded["after"]["after"]["modules"] = []
    elif change == "idle":
        recorded["faults"][0]["nth"] = 7
    return against_model(trace(recorded), {})


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ("removed", "step 2 of 4 (load), event 101"),
        ("swapped", "step 2 of 4 (load), event 101"),
        ("value", "step 2 of 4 (load), event"),
        ("cpu", "step 2 of 4 (load), event 101"),
        ("task", "step 2 of 4 (load), event 101"),
        ("cut", "step 2 of 4 (load), event 232"),
        ("longer", "step 2 of 4 (load), event 234"),
        ("result", "step 2 of 4 (load), results"),
        ("after", "what is left at 'after_load'"),
        ("last", "what is left at 'after'"),
        ("idle", "step 2 of 4 (load), event"),
    ],
)
def test_a_changed_trace_is_told_apart(change: str, where: str) -> None:
    """Each kind of difference is found, at its place."""
    found = mutated(change)
    assert found.difference is not None
    assert found.difference.where.startswith(where)


def test_a_fault_that_the_model_never_reaches() -> None:
    """Where the kernel's fault does not fire in the model, equal events are not enough."""
    recorded = data("load_default.json")
    recorded["faults"] = [{"function": "misc_register", "nth": 9, "under": None, "value": -16}]
    found = against_model(trace(recorded), {})
    assert found.difference is not None
    assert "never fired: misc_register#9=EBUSY" in found.difference.second


def test_two_traces() -> None:
    """Two traces of the model are compared whole, gotos and locks too; verbs must agree."""
    one = run(scenario_of(trace(data("g_init_misc_register.json")))).trace
    same = load(json.dumps(one.to_json()))
    found = compare(one, same)
    assert (found.difference, found.equal) == (None, len(list(one.events())))
    other = run(scenario_of(trace(data("load_default.json")))).trace
    assert compare(one, other).difference is not None
    first = next(e for e in same.steps[1].events or [] if e[0] == "goto")
    assert first[3] is not None
    first[3]["label"] = "err_elsewhere"
    difference = compare(one, same).difference
    assert difference is not None
    assert "err_elsewhere" in difference.second


def test_two_kernel_traces_of_different_faults() -> None:
    """Two logs of a kernel are compared on what both could see."""
    a, b = (trace(data(n)) for n in ("g_init_cpuhp_setup.json", "g_init_irqfd_wq.json"))
    found = compare(a, b)
    assert found.difference is not None
    assert found.difference.where.startswith("step 2 of 4")


def test_a_cpu_list_survives_the_way_through_json() -> None:
    """The masks of a machine with holes are part of its trace."""
    recorded = data("load_default.json")
    recorded["machine"] |= {"possible": "0-3,8", "present": "0-2,8", "online": "0,2,8"}
    scenario = scenario_of(trace(recorded))
    assert scenario.cpus.online == (0, 2, 8)
    assert scenario_of(run(scenario).trace).cpus == scenario.cpus


@pytest.mark.parametrize(
    ("key", "value"),
    [("source", {}), ("machine", {}), ("machine", {"cpus": "many"}), ("faults", [{}])],
)
def test_a_trace_that_does_not_say_its_scenario(key: str, value: object) -> None:
    """What lacks a backend, CPUs or a fault's function cannot be run again."""
    recorded = data("load_default.json")
    recorded[key] = value
    with pytest.raises(TraceError):
        against_model(trace(recorded), {})


def test_a_verb_that_the_model_does_not_have() -> None:
    """It is named; nothing is compared half."""
    recorded = data("load_default.json")
    recorded["steps"][0]["verbs"] = ["fly"]
    with pytest.raises(Misuse, match="unknown verb 'fly'"):
        against_model(trace(recorded), {})
