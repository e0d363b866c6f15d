# SPDX-License-Identifier: GPL-2.0-only
"""All CPUs but one go down before another kernel starts, or come up, against kernel/cpu.c and arch/*/kernel."""

from __future__ import annotations

import pytest
from hotplug_states import KVM, machine_with
from leftovers import events
from reading import calls, go, writes

from kvm_ref.judged import judge
from kvm_ref.kernel import KernelBug
from kvm_ref.linux.hotplug import Hotplug, write_cpuhp_fail
from kvm_ref.linux.nonboot import smp_shutdown_nonboot_cpus
from kvm_ref.scenario import Cpus, Run, Scenario, run


def found(done: Run) -> list[str]:
    """Return what the judges say of a run."""
    return [f"{one.judge}: {one.message}" for one in judge(done).findings]


def down(done: Run, step: int) -> list[int]:
    """Return the CPUs that a verb took down, in order."""
    return [e[3]["cpu"] for e in events(done, step) if e[:1] == ("enter",) and e[2] == "_cpu_down" and e[3]]


def test_the_lowest_goes_first_and_none_comes_again() -> None:
    """smp_shutdown_nonboot_cpus() walks the online CPUs, and leaves cpu_hotplug_disabled one higher."""
    k, ran = machine_with(KVM)
    smp_shutdown_nonboot_cpus(k, 1)
    assert k.online == {1}
    assert ran == [f"down {KVM} by cpuhp/{cpu}@{cpu}" for cpu in (0, 2)]
    assert k[Hotplug].cpu_hotplug_disabled == 1


def test_one_that_is_down_cannot_be_the_last() -> None:
    """The first online CPU stands in for a primary that is down."""
    k, _ = machine_with(online=(1, 2))
    smp_shutdown_nonboot_cpus(k, 0)
    assert k.online == {1}


def test_one_that_does_not_go_down_stops_the_machine() -> None:
    """The walk ends with the first error, and BUG_ON() asks how many CPUs are left."""
    k, _ = machine_with(KVM)
    write_cpuhp_fail(k, 1, KVM)
    with pytest.raises(KernelBug, match=r"num_online_cpus\(\) > 1"):
        smp_shutdown_nonboot_cpus(k, 0)
    assert k.online == {0, 1, 2}
    assert k.log == ["Failed to offline CPU1 - error=-11", "kernel BUG: num_online_cpus() > 1"]


@pytest.mark.parametrize("backend", ["arm64", "riscv"])
def test_kexec_takes_the_others_down(backend: str) -> None:
    """machine_shutdown() of arm64 and RISC-V: KVM's callback runs, and finds nothing to turn off any more."""
    done = go(backend, "load", "kexec", cpus=3)
    assert down(done, 1) == [1, 2]
    last = next(n for n, e in enumerate(events(done, 1)) if e[2] == "machine_shutdown")
    after = events(done, 1)[last:]
    assert calls(after, "machine_shutdown") == ["smp_shutdown_nonboot_cpus"]
    assert calls(after, "kvm_offline_cpu") == ["kvm_disable_virtualization_cpu"]
    assert calls(after, "kvm_disable_virtualization_cpu") == []
    assert writes(after, 1) == []
    assert found(done) == []


@pytest.mark.parametrize(("boot", "last"), [("arm64", 0), ("riscv", 0)])
def test_kexec_from_another_cpu(boot: str, last: int) -> None:
    """CPU 0 is the reboot CPU; if it is down, the first online one is (migrate_to_reboot_cpu())."""
    done = go(boot, "offline=0", "kexec", cpus=3)
    assert down(done, 1) == [2]
    assert {e[1].cpu for e in events(done, 1) if e[1].task == "reboot"} == {1}


@pytest.mark.parametrize(("features", "params", "cpus"), [
    ({"psci": False}, {}, 2), ({}, {"kvm-arm.mode": "protected"}, 1),
])  # fmt: skip
def test_kexec_without_an_image(features: dict[str, bool], params: dict[str, str], cpus: int) -> None:
    """arm64: machine_kexec_prepare() refuses if cpus_are_stuck_in_kernel(); without an image kernel_kexec() does."""
    done = go("arm64", "load", "kexec", "suspend", cpus=cpus, features=features, params=params)
    assert [r for step in done.trace.steps for r in step.results] == [0, -22, 0]
    assert calls(events(done, 1), "kernel_kexec") == [">Unlock"]
    assert found(go("arm64", "kexec", cpus=1, features={"psci": False})) == []


def test_a_cpu_that_refuses_ends_a_kexec_in_a_bug() -> None:
    """The judge says so, although nothing is expected to come back from a kexec."""
    done = go("riscv", "load", "hotplug-fail=1:kvm/cpu:online", "kexec", cpus=2)
    assert found(done) == ["bug: step 3 (kexec) ends in a BUG(): num_online_cpus() > 1"]
    assert found(go("riscv", "load", "kexec", cpus=2)) == []


def test_loongarch_brings_up_what_is_down() -> None:
    """machine_shutdown() of machine_kexec.c: KVM is enabled there, after kvm_shutdown(), and stays so."""
    done = go("loongarch", "load", "offline=2", "kexec", cpus=4)
    step = events(done, 2)
    last = next(n for n, e in enumerate(step) if e[2] == "machine_shutdown")
    assert calls(step, "machine_shutdown") == ["cpu_up"]
    assert calls(step[last:], "kvm_online_cpu") == ["kvm_enable_virtualization_cpu"]
    assert writes(step[last:], 2)[-1] == ("GTLBC", 1 << 12)
    stopped = [e[1].cpu for e in step if e[:1] == ("enter",) and e[2] == "kexec_shutdown_secondary"]
    assert stopped == [1, 2, 3]
    assert done.trace.after["3 kexec"]["usetgid_cpus"] == [2]
    assert found(done) == [
        "virtualization: virtualization is on on CPU 2, though the machine has shut down, after step 3 (kexec)"
    ]
    assert found(go("loongarch", "load", "kexec", cpus=4)) == []


def test_loongarch_looks_for_a_device_that_is_not_there() -> None:
    """for_each_possible_cpu() comes to CPUs without one, and cpu_device_up() does not look (kernel/cpu.c)."""
    done = run(Scenario("loongarch", ("kexec",), cpus=Cpus((0, 1, 2), (0, 1), (0, 1))))
    assert found(done) == [
        "bug: step 1 (kexec) ends in a BUG(): NULL pointer dereference: CPU 2 has no device"
    ]
