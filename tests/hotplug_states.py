# SPDX-License-Identifier: GPL-2.0-only
"""A bare machine with hotplug states whose callbacks tell where they ran."""

from __future__ import annotations

from collections.abc import Callable

from bare_machine import bare

from kvm_ref.errno import EIO, KernelError
from kvm_ref.kernel import Kernel
from kvm_ref.linux.cpu import cpuhp_state
from kvm_ref.linux.cpuhotplug import CPUHP_AP_KVM_ONLINE, CPUHP_AP_ONLINE_IDLE, CPUHP_OFFLINE, CPUHP_ONLINE
from kvm_ref.linux.cpuhp_setup import cpuhp_setup_state_nocalls

PREPARE = 70
STARTING = 100
LOW = CPUHP_AP_ONLINE_IDLE + 1
KVM = CPUHP_AP_KVM_ONLINE
HIGH = 200


def install(k: Kernel, ran: list[str], *states: int, fails: str = "") -> None:
    """Install states whose callbacks note where they ran; `fails` names those that fail, as "up 148"."""

    def callback(way: str, state: int) -> Callable[[Kernel, int], int]:
        def call(k: Kernel, cpu: int) -> int:
            ran.append(f"{way} {state} by {k.at.task}@{k.cpu}")
            if f"{way} {state}" in fails.split(", "):
                raise KernelError(EIO)
            return 0

        return call

    for state in states:
        cpuhp_setup_state_nocalls(k, state, f"s{state}", callback("up", state), callback("down", state))


def machine_with(
    *states: int, fails: str = "", online: tuple[int, ...] = (0, 1, 2)
) -> tuple[Kernel, list[str]]:
    k = bare(3, online=online)
    ran: list[str] = []
    install(k, ran, *states, fails=fails)
    return k, ran


def short(ran: list[str]) -> list[str]:
    return [one.split(" by")[0] for one in ran]


def stands(k: Kernel, cpu: int) -> tuple[int, int, bool]:
    st = cpuhp_state(k, cpu)
    return st.state, st.target, cpu in k.online


UP = (CPUHP_ONLINE, CPUHP_ONLINE, True)
DOWN = (CPUHP_OFFLINE, CPUHP_OFFLINE, False)
