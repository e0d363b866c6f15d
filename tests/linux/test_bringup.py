# SPDX-License-Identifier: GPL-2.0-only
"""The state in which a CPU starts, where that is not split in two, against bringup_cpu() of kernel/cpu.c."""

from __future__ import annotations

import pytest
from bare_machine import Bare, errno_of
from leftovers import events, results
from reading import calls, go

from kvm_ref.backend import Backend
from kvm_ref.errno import EIO, EPERM, KernelError
from kvm_ref.kernel import Kernel
from kvm_ref.linux.cpu import cpuhp_state
from kvm_ref.linux.cpuhotplug import CPUHP_AP_ONLINE_IDLE, CPUHP_OFFLINE
from kvm_ref.linux.hotplug import _cpu_up, cpu_device_up

VERBS = ("load", "offline=1", "online=1")
OTHERS = ["arm64", "riscv", "loongarch", "mips", "s390"]


@pytest.mark.parametrize("backend", OTHERS)
def test_who_starts_a_cpu(backend: str) -> None:
    """Without CONFIG_HOTPLUG_SPLIT_STARTUP it is __cpu_up(), on an idle task that is asked for again."""
    done = go(backend, *VERBS)
    assert results(done) == [0] * 3
    assert calls(events(done, 2), "_cpu_up")[:2] == ["idle_thread_get", "cpuhp_invoke_callback"]
    assert calls(events(done, 2), "bringup_cpu") == ["idle_thread_get", "__cpu_up"]


@pytest.mark.parametrize("backend", ["x86-vmx", "x86-svm"])
def test_a_split_startup(backend: str) -> None:
    """On x86 cpuhp_bringup_ap() only waits; the CPU was started before."""
    done = go(backend, *VERBS)
    assert calls(events(done, 2), "cpuhp_bringup_ap") == []
    assert not {"bringup_cpu", "__cpu_up"} & {name for _, _, name, _, _ in events(done, 2)}


@pytest.mark.parametrize("fail", ["__cpu_up", "idle_thread_get#2"])
def test_a_cpu_that_does_not_come_online(fail: str) -> None:
    """If __cpu_up() fails bringup_cpu() jumps to out_unlock, and no callback runs; the next attempt works."""
    done = go("riscv", *VERBS, "online=1", fail=fail)
    assert results(done) == [0, 0, -EIO, 0]
    assert calls(events(done, 2), "bringup_cpu") == ["idle_thread_get", "__cpu_up", ">out_unlock"]
    assert "kvm_online_cpu" not in {name for _, _, name, _, _ in events(done, 2)}
    # An idle task that is an error has arch/riscv/kernel/smpboot.c wait in vain, and say so.
    said = [line for line in done.trace.log if line.startswith("CPU1")]
    assert said == ([] if fail == "__cpu_up" else ["CPU1: failed to come online"])


class Whole(Bare):
    """A backend that starts its CPUs in one step."""

    config = Backend.config


def test_a_walk_that_ends_when_the_cpu_runs() -> None:
    """With the target CPUHP_AP_ONLINE_IDLE the hotplug thread is not asked for anything."""
    k = Kernel(Whole(), possible=range(2), online=(0,))
    _cpu_up(k, 1, CPUHP_AP_ONLINE_IDLE)
    assert k.online == {0, 1}
    assert cpuhp_state(k, 1).state == CPUHP_AP_ONLINE_IDLE


class Refusing(Whole):
    """A backend whose firmware starts no CPU."""

    @staticmethod
    def boot_secondary(k: Kernel, cpu: int) -> None:
        """Refuse."""
        raise KernelError(EPERM)


def test_an_architecture_that_refuses() -> None:
    """What the architecture gives goes up to the user; the CPU stays where it was."""
    k = Kernel(Refusing(), possible=range(2), online=(0,))
    assert errno_of(lambda: cpu_device_up(k, 1)) == EPERM
    assert k.online == {0}
    assert cpuhp_state(k, 1).state == CPUHP_OFFLINE
