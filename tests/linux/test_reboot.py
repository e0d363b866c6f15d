# SPDX-License-Identifier: GPL-2.0-only
"""The end of the machine, against kernel/reboot.c, kernel/kexec_core.c and a real kernel's trace."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from bare_machine import Bare, bare, errno_of

from kvm_ref import backend as backends
from kvm_ref.errno import EBUSY, EINVAL
from kvm_ref.kernel import Kernel, SystemState
from kvm_ref.linux.hotplug import Hotplug
from kvm_ref.linux.reboot import (
    MachineStopped,
    Reboot,
    kernel_halt,
    kernel_kexec,
    kernel_power_off,
    kernel_restart,
)
from kvm_ref.linux.syscore_ops import register_syscore, syscore
from kvm_ref.scenario import Scenario, machine, perform

DATA = Path(__file__).parent.parent / "data"


def watched(online: tuple[int, ...] | None = None) -> tuple[Kernel, list[str]]:
    """Return a machine with a syscore callback that notes who runs it, and what the machine is doing."""
    k = bare(3, online=online)
    ran: list[str] = []

    def shutdown(k: Kernel) -> None:
        disabled = k[Hotplug].cpu_hotplug_disabled
        ran.append(f"{k.at.task}@{k.cpu} in {k.system_state.name}, hotplug disabled {disabled}")

    register_syscore(k, syscore("x", shutdown=shutdown))
    return k, ran


def test_the_order_is_that_of_the_real_kernel() -> None:
    """syscore_shutdown() calls kvm_shutdown(), which reaches each CPU: tests/data/reboot_load1.json."""
    trace = json.loads((DATA / "reboot_load1.json").read_text(encoding="utf-8"))
    features = trace["machine"]["features"]
    k = machine(Scenario("x86-svm", (), features=features), backends.load("x86-svm"))
    perform(k, "load")
    k.record()
    k.log.clear()
    with pytest.raises(MachineStopped, match="machine_restart"):
        k.run_on("reboot", 0, kernel_restart)
    (step,) = [s for s in trace["steps"] if s["verbs"] == ["reboot"]]
    # What many CPUs do at once has no order between them.
    for cpu in range(4):
        told = [(e["kind"], e["task"], e["function"]) for e in step["events"] if e["cpu"] == cpu]
        ran = [(e[0], e[1].task, e[2]) for e in k.events if e[1].cpu == cpu and e[0] in ("enter", "exit")]
        assert [one for one in ran if one[2] in trace["observed"]] == told
    # The last line is the architecture's.
    assert k.log == trace["log"]


@pytest.mark.parametrize(
    ("end", "state", "line"),
    [
        (kernel_restart, "SYSTEM_RESTART", "reboot: Restarting system"),
        (kernel_halt, "SYSTEM_HALT", "reboot: System halted"),
        (kernel_power_off, "SYSTEM_POWER_OFF", "reboot: Power down"),
        (kernel_kexec, "SYSTEM_RESTART", "kexec_core: Starting new kernel"),
    ],
)
def test_the_system_state_is_set_before_the_core_shuts_down(
    end: Callable[[Kernel], None], state: str, line: str
) -> None:
    """Each end sets system_state first, keeps CPUs as they are, and is logged last."""
    k, ran = watched()
    with pytest.raises(MachineStopped):
        end(k)
    assert ran == [f"init@0 in {state}, hotplug disabled 1"]
    assert k.log == [line]
    assert k.system_state == SystemState[state]
    assert k.online == {0, 1, 2}


def test_the_task_moves_to_the_reboot_cpu() -> None:
    """migrate_to_reboot_cpu() takes CPU 0, or the first online one if that is down."""
    for online, cpu in (((0, 1, 2), 0), ((1, 2), 1)):
        k, ran = watched(online=online)
        with pytest.raises(MachineStopped):
            k.run_on("reboot", 2, kernel_restart)
        assert ran == [f"reboot@{cpu} in SYSTEM_RESTART, hotplug disabled 1"]


def test_a_machine_that_cannot_be_powered_off_halts_and_says_so() -> None:
    """kernel_halt() asks poweroff_fallback_to_halt."""
    k, _ = watched()
    k[Reboot].poweroff_fallback_to_halt = True
    with pytest.raises(MachineStopped, match="machine_halt"):
        kernel_halt(k)
    assert k.log == ["reboot: Power off not available: System halted instead"]


def test_kexec_lets_cpus_come_and_go_again() -> None:
    """kernel_kexec() enables hotplug after syscore_shutdown(), because architectures need it."""
    k, _ = watched()
    with pytest.raises(MachineStopped, match="machine_kexec"):
        kernel_kexec(k)
    assert k[Hotplug].cpu_hotplug_disabled == 0
    assert k[Reboot].kexec_in_progress


def test_kexec_without_an_image_does_nothing() -> None:
    """kernel_kexec() gives -EINVAL without an image, -EBUSY while somebody has the lock."""
    k, ran = watched()
    k[Reboot].kexec_image = False
    assert errno_of(lambda: kernel_kexec(k)) == EINVAL
    assert errno_of(lambda: kernel_kexec(k)) == EINVAL
    k[Reboot].kexec_lock = True
    assert errno_of(lambda: kernel_kexec(k)) == EBUSY
    assert ran == []
    assert k.system_state == SystemState.SYSTEM_RUNNING


@pytest.mark.parametrize(
    ("end", "hook", "last"),
    [
        (kernel_restart, "machine_restart", "machine_restart"),
        (kernel_halt, "machine_halt", "machine_halt"),
        (kernel_power_off, "machine_power_off", "machine_power_off"),
        (kernel_kexec, "machine_shutdown", "machine_kexec"),
    ],
)
def test_the_architecture_ends_the_machine(end: Callable[[Kernel], None], hook: str, last: str) -> None:
    """kernel/reboot.c, kernel/kexec_core.c: after the line in the log, on the CPU that shut the core down."""
    k, ran = watched(online=(1, 2))

    class Ends(Bare):
        pass

    def machine(k: Kernel) -> None:
        ran.append(f"{hook}: {k.at.task}@{k.cpu} after {len(k.log)} line")

    setattr(Ends, hook, staticmethod(machine))
    k.arch = Ends()
    with pytest.raises(MachineStopped, match=last):
        k.run_on("reboot", 2, end)
    assert ran[0].startswith("reboot@1 in ")
    assert ran[1:] == [f"{hook}: reboot@1 after 1 line"]
