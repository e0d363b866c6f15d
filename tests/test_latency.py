# SPDX-License-Identifier: GPL-2.0-only
"""The time until the first VM: what is counted, in the model and on a real kernel, and the sums.

Expected numbers are worked out by hand from the C: kernel/cpu.c and kernel/smp.c say who waits for whom,
virt/kvm/kvm_main.c and the architectures what is called.
"""

from __future__ import annotations

import re
from pathlib import Path

import attrs
import pytest
from command_line import Command, process
from tree.kernel_source import kernel_tree

from kvm_ref import backend as backends
from kvm_ref.errno import EBUSY, KernelError
from kvm_ref.kernel import Kernel
from kvm_ref.latency.costs import Costs
from kvm_ref.latency.first_vm import measure, sizes
from kvm_ref.latency.waits import Waits, count
from kvm_ref.misuse import Misuse
from kvm_ref.trace import At, Event, load

DATA = Path(__file__).parent / "data"
GENERIC = ["arm64", "loongarch", "mips", "riscv", "x86-svm", "x86-vmx"]
# Each a power of ten, so that a sum shows how many of each are in it.
ODD = Costs(
    hotplug_round_trip=1,
    idle_exit=100,
    ipi_round_trip=1e4,
    ipi_send=1e6,
    enable=1e8,
    callback=1e10,
    create_vm=1e12,
)


def others(backend: str, cpus: int) -> Waits:
    """Return what load waits for besides enabling, on CPUs without constant TSC, by the C."""
    if backend == "arm64":
        # arch/arm64/kvm/arm.c, init_subsystems(): on_each_cpu(cpu_hyp_init), on_each_cpu(cpu_hyp_uninit).
        return Waits(broadcasts=[cpus - 1, cpus - 1])
    if backend.startswith("x86"):
        # arch/x86/kvm/x86.c: for_each_online_cpu(cpu) smp_call_function_single(cpu, kvm_x86_check_cpu_compat),
        # and kvm_timer_init(): cpuhp_setup_state(CPUHP_AP_X86_KVM_CLK_ONLINE).
        return Waits(calls=cpus, calls_remote=cpus - 1, hotplug=cpus, hotplug_remote=cpus - 1)
    return Waits()


@pytest.mark.parametrize("backend", GENERIC)
def test_waits_are_linear(backend: str) -> None:
    """Each CPU gets a callback of its own, and the one that asks is the only one that is not elsewhere."""
    for row in measure(backends.load(backend), (1, 2, 3, 7, 64), Costs()):
        n = row.cpus
        enabling = Waits(enabling=n, enabling_remote=n - 1)
        assert row.on_demand.load == others(backend, n)
        assert row.on_demand.create_vm == enabling
        assert row.at_load.create_vm == Waits()
        assert row.at_load.load == attrs.evolve(others(backend, n), enabling=n, enabling_remote=n - 1)


def test_a_big_machine() -> None:
    """4096 CPUs are run, not reckoned, and are 4096 callbacks."""
    (row,) = measure(backends.load("riscv"), (4096,), Costs())
    assert row.on_demand.create_vm == Waits(enabling=4096, enabling_remote=4095)


def elsewhere(trace: str, verb: str) -> list[tuple[str, str]]:
    """Return the callbacks that a real kernel ran for a verb in other tasks: the task, and what it called."""
    steps = load((DATA / trace).read_text(encoding="utf-8"), trace).steps
    (events,) = [step.events for step in steps if step.verbs[0] == verb]
    assert events
    inner = iter(events)
    found = []
    for event in inner:
        if event[0] == "enter" and event[1].depth == 0 and event[1].task.startswith(("ipi", "cpuhp/")):
            below = next(inner)
            enables = event[2] == "cpuhp_cb" and below[2] == "kvm_online_cpu"
            found.append((event[1].task, "enables" if enables else ""))
    return found


def test_a_real_kernel_waits_as_often() -> None:
    """A real 6.12.117 with 8 CPUs: as many interrupts and hotplug callbacks at load as the model counts."""
    found = elsewhere("load_default_8cpu.json", "load")
    hotplug = [f"cpuhp/{cpu}" for cpu in range(8)]
    assert [task for task, enables in found if enables] == hotplug
    assert [task for task, enables in found if not enables] == ["ipi"] * 7 + hotplug
    (row,) = measure(backends.load("x86-svm"), (8,), Costs())
    waits = row.at_load.load
    assert (waits.enabling, waits.hotplug, waits.calls_remote) == (8, 8, 7)


def test_a_real_first_vm_waits_as_often() -> None:
    """A real 6.12.117 with 4 CPUs and enable_virt_at_load=0: the first VM enables one CPU after the other."""
    found = elsewhere("load0_createvm2.json", "create-vm")
    assert [task for task, enables in found if enables] == ["cpuhp/0", "cpuhp/1", "cpuhp/2", "cpuhp/3"]
    (row,) = measure(backends.load("x86-svm"), (4,), Costs())
    assert row.on_demand.create_vm.enabling == 4


def test_the_broadcast_is_that_of_6_1() -> None:
    """Linux 6.1 enabled virtualization by on_each_cpu(), which the formula of the broadcast stands for."""
    text = (kernel_tree("6.1") / "virt/kvm/kvm_main.c").read_text(encoding="utf-8")
    body = re.search(r"^static int hardware_enable_all\(void\)\n\{.*?^\}", text, re.MULTILINE | re.DOTALL)
    assert body
    assert re.findall(r"\b(on_each_cpu|smp_call_function\w*|cpuhp_\w+)\((\w+)", body[0]) == [
        ("on_each_cpu", "hardware_enable_nolock")
    ]


def times(backend: str, cpus: int, **features: bool) -> dict[str, float]:
    (row,) = measure(backends.load(backend), (cpus,), ODD, features)
    return row.times()


def test_the_sums_on_x86() -> None:
    """Four CPUs: three are elsewhere and leave their idle state; the digits count the costs."""
    # Written as create_vm, callback, enable, ipi_send, ipi_round_trip, idle_exit, hotplug_round_trip.
    assert times("x86-svm", 4) == {
        "at_load.load": 8_04_00_03_09_08,
        "at_load.first_vm": 1_00_00_00_00_00_00,
        "on_demand.load": 8_00_00_03_06_04,
        "on_demand.serialised": 1_00_04_00_00_03_04,
        "on_demand.broadcast": 1_00_01_02_01_01_00,
    }


def test_the_sums_on_arm64() -> None:
    """Load broadcasts twice, and each time all CPUs work at once."""
    found = times("arm64", 4)
    assert found["on_demand.load"] == 2_00_04_02_02_00
    assert found["at_load.load"] == 2_04_04_02_05_04


def test_a_machine_with_one_cpu() -> None:
    """Nobody is interrupted; the hotplug thread is another task all the same."""
    found = times("x86-vmx", 1, constant_tsc=True)
    assert found["on_demand.load"] == ODD.callback
    assert found["on_demand.serialised"] == 1_00_01_00_00_00_01
    assert found["on_demand.broadcast"] == 1_00_01_00_00_00_00


def test_a_broadcast_without_enabling() -> None:
    """Where nothing is enabled a broadcast would not be sent."""
    assert Waits(hotplug=1).time_by_broadcast(ODD) == ODD.hotplug_round_trip + ODD.callback


def test_constant_tsc_saves_a_state(kvm_ref: Command) -> None:
    """kvm_timer_init() sets up a hotplug state only without constant TSC (arch/x86/kvm/x86.c)."""
    (row,) = kvm_ref("latency", "--cpus", "8", "--feature", "constant_tsc=1", "--format", "json").json["rows"]
    assert row["waits"]["on_demand"]["load"]["hotplug"] == 0
    assert row["waits"]["at_load"]["load"]["enabling"] == 8


def event(kind: str, task: str, function: str) -> Event:
    return (kind, At(task, 0, 0), function, None, None)


def test_a_wait_without_a_cost() -> None:
    """What is waited for in a way of its own is refused, not left out."""
    with pytest.raises(Misuse, match=r"^flush_work\(\) waits for kworker/1: no cost is known for that$"):
        count([event("enter", "vmm", "flush_work"), event("enter", "kworker/1", "work")])


def test_what_a_hotplug_thread_does_not_do() -> None:
    """Enabling counts as a callback's where a hotplug thread does it: resume enables a CPU directly."""
    assert count([event("enter", "user", "kvm_enable_virtualization_cpu")]) == Waits()


def test_defaults_are_what_the_sources_say() -> None:
    """The figures of perf-bench(1), the IPI benchmark, intel_idle and strace, in microseconds."""
    costs = Costs()
    assert costs.hotplug_round_trip == 5.855  # 5.855061 usecs/op
    assert costs.ipi_round_trip == round(631453008 / 100000 / 1000, 3)  # ns for 100000 interrupts
    # Normalised to a dry run: a round trip takes 110, a broadcast to 111 other CPUs 2106.
    assert costs.ipi_send == round((2106 - 110) / 110 / 110 * costs.ipi_round_trip, 2)
    assert costs.idle_exit == 2
    assert costs.create_vm == 352  # <0.000352>


def test_every_cost_has_a_source(kvm_ref: Command) -> None:
    """What no source gives is called assumed, and what the user set is no source's."""
    found = kvm_ref("latency", "--cpus", "2", "--cost", "enable=3.5", "--format", "json").json["costs"]
    assert {name for name, cost in found.items() if cost["source"] == "assumed"} == {"callback"}
    assert found["enable"] == {"us": 3.5, "what": "enable virtualization on the CPU itself", "source": "set"}
    assert all(cost["source"] and cost["what"] for cost in found.values())


@pytest.mark.parametrize("name", [field.name for field in attrs.fields(Costs)])
def test_every_cost_can_be_set_and_counts(kvm_ref: Command, name: str) -> None:
    """Each cost, 1000 microseconds more, makes some time longer and none shorter."""
    backend = ("--backend", "x86-svm", "--cpus", "3", "--format", "json")
    (before,) = kvm_ref("latency", *backend).json["rows"]
    (after,) = kvm_ref("latency", *backend, "--cost", f"{name}=7", "--cost", f"{name}=1000").json["rows"]
    grown = {column: after["us"][column] - before["us"][column] for column in before["us"]}
    assert min(grown.values()) >= 0
    assert max(grown.values()) > 500


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("4", [4]),
        ("8192", [8192]),
        ("1-1", [1]),
        ("1-9", [1, 2, 4, 8, 9]),
        ("3-20", [3, 4, 8, 16, 20]),
        ("16,4,4,2-5", [2, 4, 5, 16]),
        ("1-4096", [2**n for n in range(13)]),
    ],
)
def test_sizes(text: str, found: list[int]) -> None:
    """A range is its ends and the powers of two between."""
    assert sizes(text) == found


def test_the_table(kvm_ref: Command) -> None:
    """The columns stand in the order of their heads, with what they mean above."""
    args = (
        "--cost",
        "create_vm=10000",
        "--cost",
        "idle_exit=0",
        "--cost",
        "enable=0",
        "--cost",
        "callback=0",
    )
    done = kvm_ref(
        "latency", "--backend", "riscv", "--cpus", "1,101", *args, "--cost", "hotplug_round_trip=1"
    )
    assert done.status == 0
    assert done.lines[0] == "# riscv, Linux 6.12.117; microseconds, by the costs below"
    assert re.sub("-+", "", done.lines[1]).split() == ["enabled", "at", "load", "on", "demand"]
    assert done.lines[2].split() == ["CPUs", "load", "first", "VM", "load", "serialised", "broadcast"]
    assert done.lines[3].split() == ["1", "1.0", "10000.0", "0.0", "10001.0", "10000.0"]
    # 99 CPUs more than the first: 99 x 1.04, and 6.315 for that.
    assert done.lines[4].split() == ["101", "101.0", "10000.0", "0.0", "10101.0", "10109.3"]
    assert len({len(line) for line in done.lines[1:5]}) == 1


def test_the_same_bytes() -> None:
    """All formats are the same whatever the order of hashes."""
    for form in ("text", "json", "svg"):
        runs = [process("latency", "--cpus", "1,3", "--format", form, PYTHONHASHSEED=seed) for seed in "12"]
        assert runs[0] == runs[1]
        assert runs[0].status == 0


def test_kvm_that_does_not_come_up() -> None:
    """Without a first VM there is no time until it: the error is told."""

    def refuse(k: Kernel) -> None:
        raise KernelError(EBUSY)

    svm = backends.load("x86-svm")
    broken = type("Broken", (type(svm),), {"kvm_arch_enable_virtualization_cpu": staticmethod(refuse)})()
    # kvm_enable_virtualization_cpu() makes -EIO of whatever the backend returns.
    with pytest.raises(Misuse, match=r"^no first VM on backend 'x86-svm' with --cpus 2: load gives -EIO$"):
        measure(broken, (2,), Costs())
