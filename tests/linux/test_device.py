# SPDX-License-Identifier: GPL-2.0-only
"""A CPU's file ``online``, against drivers/base/core.c and drivers/base/cpu.c."""

from __future__ import annotations

import pytest
from bare_machine import Bare, bare, errno_of, seen
from leftovers import events, results
from reading import calls, go

from kvm_ref import backend as backends
from kvm_ref.errno import EBUSY, EINVAL, EOPNOTSUPP, EPERM
from kvm_ref.fault import arm, parse
from kvm_ref.kernel import Kernel
from kvm_ref.linux.device import Devices, cpu_subsys_online, device_offline, device_online, online_store
from kvm_ref.linux.hotplug import cpu_device_down, cpu_hotplug_disable
from kvm_ref.scenario import Cpus, Scenario, machine, run
from kvm_ref.vocabulary import Vocabulary

# One CPU is down, and one not plugged in.
SOME = Cpus((0, 1, 2, 3), (0, 1, 2), (0, 1))


def test_what_a_write_does() -> None:
    """online_store() holds the lock of all devices, device_offline() the device's own; udev is told before it ends."""
    k = bare(2)
    online_store(k, 1, False)
    assert [one for one in seen(k) if one.startswith("init ")] == [
        "init +device_hotplug_lock",
        "init >device_offline",
        "init +dev->mutex",
        "init >cpu_subsys_offline",
        "init >cpu_down",
        "init +cpu_add_remove_lock",
        "init -cpu_add_remove_lock",
        "init <cpu_down 0",
        "init <cpu_subsys_offline 0",
        "init >kobject_uevent",
        "init >kobject_uevent_env",
        "init <kobject_uevent_env 0",
        "init <kobject_uevent 0",
        "init -dev->mutex",
        "init <device_offline 0",
        "init -device_hotplug_lock",
    ]
    k.record()
    online_store(k, 1, True)
    told = [e[3] for e in k.events if e[:1] == ("enter",) and e[2] == "kobject_uevent"]
    assert told == [{"kobj": "cpu1", "action": "KOBJ_ONLINE"}]
    assert calls(k.events, "device_online") == ["cpu_subsys_online", "kobject_uevent"]
    assert k.online == {0, 1}


def test_one_that_is_there_already() -> None:
    """device_online() and device_offline() return 1 then, and ask nobody."""
    k = bare(2, online=(0,))
    assert device_offline(k, 1) == 1
    assert device_online(k, 0) == 1
    assert not [e for e in k.events if e[2].startswith("cpu_")]
    assert device_online(k, 1) == 0
    assert device_online(k, 1) == 1


def test_a_cpu_that_stays() -> None:
    """device_offline() gives -EPERM if offline_disabled is set, before it takes the lock."""

    class Stays(Bare):
        def arch_cpu_is_hotpluggable(self, k: Kernel, cpu: int) -> bool:
            return cpu > 0

    k = Kernel(Stays(), possible=range(2))
    assert errno_of(lambda: device_offline(k, 0)) == EPERM
    assert seen(k) == ["init >device_offline", "init <device_offline -1"]
    device_offline(k, 1)
    assert k.online == {0}


def test_busy_is_tried_again() -> None:
    """cpu_subsys_online() makes at most six attempts, as long as cpu_device_up() gives -EBUSY."""
    k = bare(2, online=(0,))
    cpu_hotplug_disable(k)
    k.record()
    assert errno_of(lambda: cpu_subsys_online(k, 1)) == EBUSY
    assert calls(k.events, "cpu_subsys_online") == ["cpu_up"] * 6
    done = go("riscv", "offline=1", "online=1", fail="cpu_up")
    assert results(done) == [0, 0]
    assert calls(events(done, 1), "cpu_subsys_online") == ["cpu_up"] * 2


def test_another_error_is_not() -> None:
    """What is not -EBUSY comes back at once, and the device stays offline."""
    k = bare(2, online=(0,))
    arm(k, [parse("_cpu_up=EINVAL")], Vocabulary())
    assert errno_of(lambda: device_online(k, 1)) == EINVAL
    assert calls(k.events, "cpu_subsys_online") == ["cpu_up"]
    assert k[Devices].offline == {1}
    assert device_online(k, 1) == 0


@pytest.mark.parametrize("verbs", [("offline=1", "offline=1"), ("offline=1", "online=1")])
def test_nobody_asks_whether_udev_was_told(verbs: tuple[str, ...]) -> None:
    """The result of kobject_uevent() is dropped in both directions."""
    nth = len({*verbs})
    assert results(go("riscv", *verbs, fail=f"kobject_uevent#{nth} kobject_uevent_env")) == [0, 0]


def test_what_a_device_notes_at_boot() -> None:
    """register_cpu() takes dev->offline from cpu_online(), whatever happens before it is asked for first."""
    k = machine(Scenario("riscv", (), cpus=SOME), backends.load("riscv"))
    cpu_device_down(k, 1)
    assert k[Devices].offline == {2}


@pytest.mark.parametrize(("backend", "first"), [
    # arch_cpu_is_hotpluggable() in arch/*/kernel/{setup,smp,topology}.c; arch/mips/kernel/topology.c.
    ("x86-vmx", -13), ("x86-svm", -13), ("loongarch", -13), ("mips", -13), ("s390", -13), ("riscv", 0), ("arm64", 0),
])  # fmt: skip
def test_where_there_is_no_file(backend: str, first: int) -> None:
    """A CPU that stays has no file (EACCES: sysfs makes none), one that is not plugged in no directory (ENOENT)."""
    verbs = ("offline=0", "online=0", "offline=1", "online=3", "hotplug-fail=3:148", "offline=3")
    done = run(Scenario(backend, verbs, cpus=SOME))
    assert results(done) == [first, first, 0, -2, -2, -2]


def test_who_takes_the_first_cpu_down() -> None:
    """The shell does not stay on a CPU that goes down, for nothing runs there afterwards (sched_cpu_deactivate())."""
    done = go("riscv", "offline=0", "online=0")
    assert {(e[1].task, e[1].cpu) for e in events(done) if e[1].task == "shell"} == {("shell", 1)}
    assert {(e[1].task, e[1].cpu) for e in events(done, 1) if e[1].task == "shell"} == {("shell", 1)}


def test_spin_tables_stop_no_cpu() -> None:
    """arm64 without PSCI: no file, for cpu_can_disable is NULL; nothing calls suspend_set_ops(), so it only idles."""
    done = go("arm64", "load", "offline=1", "suspend", cpus=3, features={"psci": False})
    assert results(done) == [0, -13, 0]
    assert calls(events(done, 2), "suspend_enter") == ["s2idle_loop"]
    assert next(line for line in done.trace.log if line.startswith("PM: ")) == "PM: suspend entry (s2idle)"
    assert done.trace.after["3 suspend"]["el2_cpus"] == [0, 1, 2]


@pytest.mark.parametrize(("backend", "error"), [
    # native_cpu_disable(), op_cpu_disable(), cpu-hotplug.c, loongson_cpu_disable(), cps_cpu_disable()
    ("x86-vmx", -28), ("arm64", -95), ("riscv", -95), ("loongarch", -16), ("mips", -22),
])  # fmt: skip
def test_a_cpu_that_refuses(backend: str, error: int) -> None:
    """Each architecture has its own __cpu_disable(), with an errno of its own; the CPU climbs back."""
    done = go(backend, "load", "offline=1", fail="__cpu_disable")
    assert results(done) == [0, error]
    assert done.trace.after["2 offline=1"]["online"] == "0-1"


def test_a_cpu_that_cannot_refuse() -> None:
    """On s390 the only return of __cpu_disable() is 0 (arch/s390/kernel/smp.c)."""
    facts = Vocabulary.of(backends.load("s390"))["__cpu_disable"]
    assert (facts.fails, facts.module) == ((), "kvm_ref.linux.smp")


def test_a_cpu_that_cannot_be_stopped() -> None:
    """op_cpu_disable() without PSCI, and loongson_cpu_disable() on an io_master, give up before the CPU is offline."""
    spin = Kernel(backends.load("arm64"), possible=range(2), features={"psci": False})
    assert errno_of(lambda: cpu_device_down(spin, 1)) == EOPNOTSUPP
    first = Kernel(backends.load("loongarch"), possible=range(2))
    assert errno_of(lambda: cpu_device_down(first, 0)) == EBUSY
    assert spin.online == first.online == {0, 1}


def test_a_device_does_not_see_a_suspend() -> None:
    """A CPU that thaw_secondary_cpus() cannot bring up counts as online: it must go offline before it comes back."""
    verbs = ("load", "suspend", "online=1", "offline=1", "online=1")
    fail = "kvm_arch_enable_virtualization_cpu#2@1"
    done = go("x86-svm", *verbs, cpus=3, fail=fail)
    assert results(done) == [0] * 5
    after = [done.trace.after[f"{n} {verb}"]["online"] for n, verb in enumerate(verbs, 1)]
    assert after == ["0-2", "0,2", "0,2", "0,2", "0-2"]
    assert calls(events(done, 2), "device_online") == []


def test_a_device_that_is_lost_for_good() -> None:
    """With one CPU left _cpu_down() gives -EBUSY even for a CPU that is down, so neither write helps."""
    verbs = ("load", "suspend", "online=1", "offline=1", "online=1")
    done = go("x86-svm", *verbs, cpus=2, fail="kvm_arch_enable_virtualization_cpu#2@1")
    assert results(done) == [0, 0, 0, -16, 0]
    assert done.trace.after["5 online=1"]["online"] == "0"
