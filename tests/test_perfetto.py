# SPDX-License-Identifier: GPL-2.0-only
"""Chrome trace events: what the format demands, and what a run of KVM looks like in it."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import pytest
from command_line import Command

from kvm_ref import perfetto
from kvm_ref.trace import At, Event, Step, Trace

Object = dict[str, Any]


def events_of(kvm_ref: Command, *args: str) -> list[Object]:
    """Run verbs and return Chrome's events."""
    found: list[Object] = kvm_ref("run", "--cpus", "2", "--format", "perfetto", *args).json["traceEvents"]
    return found


def checked(events: list[Object], held: set[str] | None = None) -> list[tuple[str, str]]:
    """Hold events against the format's rules; return its flows: the calls that each leads from and to.

    Which locks stay `held`: kernel/reboot.c never gives back the one of who brings the machine down.
    """
    stacks: dict[int, list[str]] = defaultdict(list)
    spans: dict[int, str] = {}
    flows: dict[int, str] = {}
    arrows: list[tuple[str, str]] = []
    last = 0
    for event in events:
        phase = event["ph"]
        assert set(event) >= {"ph", "name", "pid", "tid"}
        assert event["tid"] > 0
        if phase == "M":
            continue
        if phase == "X":
            # Verbs follow each other, and are written where they begin.
            assert event["ts"] >= last
            assert event["dur"] > 0
            continue
        # Time goes on, and every event has its place in it.
        assert event["ts"] >= last
        last = event["ts"]
        stack = stacks[event["tid"]]
        match phase:
            case "B":
                stack.append(event["name"])
            case "E":
                assert stack.pop() == event["name"]
            case "b":
                spans[event["id"]] = event["name"]
            case "e":
                assert spans.pop(event["id"]) == event["name"]
            case "s":
                flows[event["id"]] = stack[-1]
            case "f":
                assert event["bp"] == "e"
                arrows.append((flows.pop(event["id"]), stack[-1]))
            case _:
                assert (phase, event["s"]) == ("i", "t")
    assert not any(stacks.values())
    assert set(spans.values()) <= (held or {"system_transition_mutex"})
    assert flows == {}
    return arrows


def test_callbacks_on_other_cpus_are_flows(kvm_ref: Command) -> None:
    """An IPI leads from who sends it to what runs; a hotplug thread is led to by who wakes it.

    arch/x86/kvm/x86.c asks each CPU whether it is compatible with smp_call_function_single();
    kernel/cpu.c has cpuhp_issue_call() wake the thread of the CPU, for the state of the clock
    (x86/kvm/clk:online), then for KVM's own.
    """
    events = events_of(kvm_ref, "--backend", "x86-svm", "load")
    assert checked(events) == [
        ("smp_call_function_single", "kvm_x86_check_cpu_compat"),
        ("cpuhp_issue_call", "cpuhp_invoke_callback"),
        ("cpuhp_issue_call", "cpuhp_invoke_callback"),
    ]
    # CPU 0 runs its own callbacks while the caller waits on the same CPU: no arrow leads there.
    assert {e["tid"] for e in events if e["ph"] == "f"} == {2}
    tasks = {e["args"]["task"] for e in events if e["ph"] == "B" and e["tid"] == 1}
    assert tasks == {"modprobe", "cpuhp/0"}


def test_faults_and_jumps_are_instants(kvm_ref: Command) -> None:
    """CPU 1 refuses: the fault is on its track, the jumps of kernel/cpu.c, kvm_main.c and svm.c on CPU 0's."""
    args = ("--backend", "x86-svm", "--fail", "kvm_arch_enable_virtualization_cpu@1=EBUSY", "load")
    events = events_of(kvm_ref, *args)
    checked(events)
    found = [(e["tid"], e["name"]) for e in events if e["ph"] == "i" and e["cat"] in ("inject", "goto")]
    assert found == [
        (2, "injected: kvm_arch_enable_virtualization_cpu fails -EBUSY"),
        (1, "goto out"),
        (1, "goto err_cpuhp"),
        (1, "goto err_virt"),
        (1, "goto err_kvm_init"),
        (1, "goto remove"),
    ]
    # cpuhp_remove_state_nocalls() goes past the callbacks, and nothing is wrong.
    past = next(e for e in events if e["name"] == "goto remove")
    assert past["args"] == {
        "task": "modprobe",
        "function": "__cpuhp_remove_state_cpuslocked",
        "label": "remove",
    }
    at = next(e for e in events if e["name"] == "goto err_virt")
    assert at["args"] == {
        "task": "modprobe",
        "function": "kvm_init",
        "label": "err_virt",
        "error": "-EIO",
    } | ({"line": at["args"]["line"]} if "line" in at["args"] else {})
    ends = [e["args"].get("returns") for e in events if e["ph"] == "E" and e["name"] == "kvm_init"]
    assert ends == ["-EIO"]
    assert [e["name"] for e in events if e["ph"] == "X"] == ["load: -EIO"]


def test_tracks_have_names(kvm_ref: Command) -> None:
    """CPUs are threads of the machine, in their order; the verbs stand on a track of the user's."""
    events = events_of(kvm_ref, "--backend", "x86-vmx", "load", "unload")
    names = [e["args"]["name"] for e in events if e["ph"] == "M" and "name" in e["args"]]
    assert names == ["x86-vmx, Linux 6.12.117", "user", "verbs", "CPU 0", "CPU 1"]
    load, unload = (e for e in events if e["ph"] == "X")
    assert load["ts"] + load["dur"] == unload["ts"]
    assert (load["name"], unload["name"]) == ("load: 0", "unload: 0")


def test_locks_and_registers(kvm_ref: Command) -> None:
    """kvm_usage_lock is a span around the enabling; what SVM writes into EFER is an instant on its CPU.

    arch/x86/kvm/svm/svm.c: svm_enable_virtualization_cpu() sets EFER.SVME, bit 12.
    """
    events = events_of(kvm_ref, "--backend", "x86-svm", "load")
    inside = [e for e in events if e["name"] == "kvm_usage_lock"]
    assert [e["ph"] for e in inside] == ["b", "e"]
    writes = [e for e in events if e.get("cat") == "write" and e["name"].startswith("MSR_EFER")]
    assert all(inside[0]["ts"] < e["ts"] < inside[1]["ts"] for e in writes)
    assert {e["tid"] for e in writes} == {1, 2}
    assert all(int(e["name"].split("= ")[1], 16) & 1 << 12 for e in writes)


@pytest.mark.parametrize(
    "verbs",
    [
        ("load", "create-vm", "suspend", "close-vm", "unload"),
        ("load", "reboot"),
        ("foreign-on=1", "load", "create-vm"),
        ("--reboot-at", "register_syscore", "load"),
    ],
    ids=" ".join,
)
@pytest.mark.parametrize("backend", ["x86-svm", "arm64", "s390"])
def test_every_run_can_be_opened(kvm_ref: Command, backend: str, verbs: tuple[str, ...]) -> None:
    """Whatever happens, also where the machine stops in the middle of calls, the rules hold."""
    if backend == "s390" and "--reboot-at" in verbs:
        verbs = ("load", "unload")  # nothing is registered there
    verbs = tuple(verb for verb in verbs if backend == "x86-svm" or not verb.startswith("foreign"))
    checked(events_of(kvm_ref, "--backend", backend, *verbs))


def test_nothing_happens_after_a_bug(kvm_ref: Command) -> None:
    """A BUG() in a callback on another CPU: its calls do not return, and no lock is given back.

    arch/x86/kvm/vmx/vmx.c: kvm_cpu_vmxoff() fails, so vmx_disable_virtualization_cpu() ends in
    kvm_spurious_fault(), which is BUG_ON(!kvm_rebooting).
    """
    args = ("--backend", "x86-vmx", "--fail", "kvm_cpu_vmxoff@1", "load", "offline=1")
    events = events_of(kvm_ref, *args)
    # drivers/base/core.c: online_store() and device_offline() hold two, kernel/cpu.c: cpu_down() and _cpu_down() two.
    checked(events, {"device_hotplug_lock", "dev->mutex", "cpu_add_remove_lock", "cpu_hotplug_lock"})
    named = [e for e in events if e.get("cat") in ("call", "lock")]
    fault = next(n for n, e in enumerate(named) if e["name"] == "kvm_spurious_fault")
    assert {e["ph"] for e in named[fault + 1 :]} == {"E"}
    step = kvm_ref("run", "--cpus", "2", "--format", "json", *args).json["steps"][1]
    assert (step["events"][-1]["kind"], step["events"][-1]["function"]) == ("enter", "kvm_spurious_fault")


def test_the_system_goes_down(kvm_ref: Command) -> None:
    """A reboot that falls into a call is named by the state, as include/linux/kernel.h does."""
    events = events_of(kvm_ref, "--reboot-at", "register_syscore", "load")
    names = [e["name"] for e in events if e.get("cat") == "inject"]
    assert names == ["injected: system_state = SYSTEM_RESTART"]


def test_what_is_beside_the_events(kvm_ref: Command) -> None:
    """What ran, what failed and what was found can be read there too; the clock is said to be none."""
    data = kvm_ref("run", "--fail", "misc_register", "--format", "perfetto", "load").json["otherData"]
    assert data["source"] == {"kind": "model", "kernel": "6.12.117", "backend": "x86-svm"}
    assert [fault["function"] for fault in data["faults"]] == ["misc_register"]
    assert [finding["resource"] for finding in data["findings"]] == ["debugfs:kvm"]
    assert "no time" in data["clock"]


def test_a_trace_from_elsewhere() -> None:
    """A warning, a register without a number, an unlock of what was held before, a step that nobody saw."""
    at = At("a", 0, 0)
    events: list[Event] = [
        ("enter", at, "f<", {"x": '"'}, None),
        ("unlock", at, "l", None, None),
        ("warn", at, "f<", None, "count is 3"),
        ("write", at, "MSR", None, "unknown"),
    ]
    trace = Trace({}, {}, {}, [], [Step(["one"], [0], None), Step(["two"], [None], events)])
    written = perfetto.to_json(trace)["traceEvents"]
    checked(written)
    assert [(e["ph"], e["name"], e["ts"]) for e in written if e["ph"] != "M"] == [
        ("X", "one: 0", 0),
        ("X", "two: ?", 1),
        ("B", "f<", 1),
        ("i", "warn: f< count is 3", 3),
        ("i", "MSR = unknown", 4),
        ("E", "f<", 5),
    ]
