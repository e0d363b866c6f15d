# SPDX-License-Identifier: GPL-2.0-only
"""virt/kvm/kvm_main.c: who enables virtualization when, on a machine with nothing else on it."""

from __future__ import annotations

import pytest
from bare_machine import Bare, errno_of, nothing, seen
from reading import calls, go

from kvm_ref.errno import EBUSY, EIO, KernelError
from kvm_ref.kernel import Kernel, SystemState
from kvm_ref.linux import cpu, syscore_ops
from kvm_ref.linux.cpuhotplug import OWN
from kvm_ref.linux.module import Module
from kvm_ref.virt import kvm_main
from kvm_ref.virt.kvm_main import KvmMain
from kvm_ref.vocabulary import kernel_function


@kernel_function(fails=EIO)
def kvm_arch_enable_virtualization_cpu(k: Kernel) -> None:
    """Turn it on, unless the CPU is broken."""
    if (k.cpu, "BROKEN") in k.registers:
        raise KernelError(EBUSY)
    k.write("ON", 1)


@kernel_function()
def kvm_arch_disable_virtualization_cpu(k: Kernel) -> None:
    """Turn it off."""
    k.write("ON", 0)


class Hooks(Bare):
    """A backend whose hooks write a register."""

    modules = (Module("hooks", nothing, nothing, params=kvm_main.PARAMS),)
    kvm_arch_enable_virtualization_cpu = staticmethod(kvm_arch_enable_virtualization_cpu)
    kvm_arch_disable_virtualization_cpu = staticmethod(kvm_arch_disable_virtualization_cpu)


def machine(*broken: int) -> Kernel:
    """Return a machine of three CPUs, of which some cannot be enabled."""
    k = Kernel(Hooks(), possible=range(3))
    for n in broken:
        k.registers[n, "BROKEN"] = 1
    return k


def on(k: Kernel) -> list[int]:
    """Return the CPUs on which virtualization is on."""
    return sorted(n for (n, name), value in k.registers.items() if name == "ON" and value)


def warnings(k: Kernel) -> int:
    """Return how many warnings there were."""
    return sum(kind == "warn" for kind, *_ in k.events)


def test_the_first_user_enables_and_the_last_one_disables() -> None:
    """kvm_enable_virtualization(): if (kvm_usage_count++) return 0; and back the same way."""
    k = machine()
    kvm_main.kvm_enable_virtualization(k)
    assert (k[KvmMain].kvm_usage_count, on(k)) == (1, [0, 1, 2])
    k.record()
    kvm_main.kvm_enable_virtualization(k)
    assert seen(k) == [
        "init >kvm_enable_virtualization",
        "init +kvm_usage_lock",
        "init -kvm_usage_lock",
        "init <kvm_enable_virtualization 0",
    ]
    kvm_main.kvm_disable_virtualization(k)
    assert (k[KvmMain].kvm_usage_count, on(k)) == (1, [0, 1, 2])
    kvm_main.kvm_disable_virtualization(k)
    assert (k[KvmMain].kvm_usage_count, on(k)) == (0, [])
    assert k[syscore_ops.Syscore].syscore_list == []
    assert k[cpu.Cpuhp].cpuhp_hp_states.keys() == OWN


def test_the_weak_hooks_run_where_the_architecture_has_none() -> None:
    """__weak kvm_arch_enable_virtualization() and its undo: before the first CPU, after the last."""
    k = machine()
    kvm_main.kvm_enable_virtualization(k)
    assert calls(k.events, "kvm_enable_virtualization") == [
        "kvm_arch_enable_virtualization",
        "cpuhp_setup_state",
        "register_syscore",
    ]
    kvm_main.kvm_disable_virtualization(k)
    assert calls(k.events, "kvm_disable_virtualization") == [
        "unregister_syscore",
        "cpuhp_remove_state",
        "kvm_arch_disable_virtualization",
    ]


def test_a_broken_cpu_leaves_nobody_counted() -> None:
    """err_cpuhp: --kvm_usage_count; the CPU below is off again; any errno of the backend is -EIO."""
    k = machine(1)
    assert errno_of(lambda: kvm_main.kvm_enable_virtualization(k)) == EIO
    assert (k[KvmMain].kvm_usage_count, on(k)) == (0, [])
    assert k.log == ["kvm: enabling virtualization on CPU1 failed"]
    assert "cpuhp/2 >kvm_online_cpu" not in seen(k)


@pytest.mark.parametrize("state", ["SYSTEM_HALT", "SYSTEM_POWER_OFF", "SYSTEM_RESTART"])
def test_a_system_that_goes_down(state: str) -> None:
    """err_rebooting: each of the three states gives -EBUSY, and all is off again."""
    k = machine()
    k.system_state = SystemState[state]
    assert errno_of(lambda: kvm_main.kvm_enable_virtualization(k)) == EBUSY
    assert (k[KvmMain].kvm_usage_count, on(k)) == (0, [])
    assert k[syscore_ops.Syscore].syscore_list == []


@pytest.mark.parametrize("state", ["SYSTEM_BOOTING", "SYSTEM_RUNNING", "SYSTEM_SUSPEND"])
def test_a_system_that_does_not_go_down(state: str) -> None:
    """Any other state is no reason to stop."""
    k = machine()
    k.system_state = SystemState[state]
    kvm_main.kvm_enable_virtualization(k)
    assert on(k) == [0, 1, 2]


def test_a_cpu_that_is_on_is_not_enabled_twice() -> None:
    """kvm_enable_virtualization_cpu(): if (__this_cpu_read(virtualization_enabled)) return 0."""
    k = machine()
    kvm_main.kvm_enable_virtualization_cpu(k)
    kvm_main.kvm_enable_virtualization_cpu(k)
    assert seen(k).count("init >kvm_arch_enable_virtualization_cpu") == 1
    kvm_main.kvm_disable_virtualization_cpu(k, None)
    kvm_main.kvm_disable_virtualization_cpu(k, None)
    assert seen(k).count("init >kvm_arch_disable_virtualization_cpu") == 1


def test_shutdown_disables_every_cpu_and_counts_nobody_off() -> None:
    """kvm_shutdown(): kvm_rebooting = true; on_each_cpu(); kvm_usage_count stays."""
    k = machine()
    kvm_main.kvm_enable_virtualization(k)
    syscore_ops.syscore_shutdown(k)
    assert (on(k), k[KvmMain].kvm_rebooting, k[KvmMain].kvm_usage_count) == ([], True, 1)
    assert k.log == ["kvm: exiting hardware virtualization"]


def test_suspend_and_resume_take_the_last_cpu_off_and_on() -> None:
    """kvm_suspend() and kvm_resume() run on one CPU, as callbacks of the system core."""
    k = machine()
    kvm_main.kvm_enable_virtualization(k)
    syscore_ops.syscore_suspend(k)
    assert on(k) == [1, 2]
    syscore_ops.syscore_resume(k)
    assert on(k) == [0, 1, 2]
    assert warnings(k) == 0


def test_a_resume_that_fails_only_warns() -> None:
    """kvm_resume(): WARN_ON_ONCE(kvm_enable_virtualization_cpu()), nothing else."""
    k = machine()
    kvm_main.kvm_enable_virtualization(k)
    kvm_main.kvm_suspend(k)
    k.registers[0, "BROKEN"] = 1
    kvm_main.kvm_resume(k)
    kvm_main.kvm_resume(k)
    assert (on(k), warnings(k)) == ([1, 2], 1)


def test_suspending_under_the_lock_warns() -> None:
    """lockdep_assert_not_held(&kvm_usage_lock): its holder must not sleep across a suspend."""
    k = machine()
    k[KvmMain].kvm_usage_lock.owner = "init"
    kvm_main.kvm_suspend(k)
    kvm_main.kvm_resume(k)
    assert warnings(k) == 2


@pytest.mark.parametrize("enable", [True, False])
def test_enabling_from_the_start_is_a_parameter(enable: bool) -> None:
    """kvm_init_virtualization() and kvm_uninit_virtualization() ask enable_virt_at_load."""
    k = Kernel(Hooks(), possible=range(3), cmdline={"hooks.enable_virt_at_load": str(int(enable))})
    kvm_main.kvm_init_virtualization(k)
    assert on(k) == ([0, 1, 2] if enable else [])
    kvm_main.kvm_uninit_virtualization(k)
    assert on(k) == []
    assert k[KvmMain].kvm_usage_count == 0


def test_init_and_exit_call_by_call() -> None:
    """kvm_init() and kvm_exit(), as they stand in the C; exit is not init backwards."""
    done = go("x86-svm", "load", "unload")
    masks = ["alloc_cpumask_var_node"] * 2
    assert calls(done.trace.events(), "kvm_init") == [
        "kmem_cache_create_usercopy",
        *masks,
        "kvm_irqfd_init",
        "kvm_async_pf_init",
        "kvm_init_debug",
        "kvm_vfio_ops_init",
        "kvm_gmem_init",
        "kvm_init_virtualization",
        "misc_register",
    ]
    assert calls(done.trace.events(), "kvm_exit") == [
        "misc_deregister",
        "kvm_uninit_virtualization",
        "debugfs_remove_recursive",
        "free_cpumask_var",
        "free_cpumask_var",
        "kmem_cache_destroy",
        "kvm_vfio_ops_exit",
        "kvm_async_pf_deinit",
        "kvm_irqfd_exit",
    ]
