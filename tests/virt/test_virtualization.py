# SPDX-License-Identifier: GPL-2.0-only
"""Who enables virtualization when, against virt/kvm/kvm_main.c."""

from __future__ import annotations

from bare_machine import Bare, errno_of
from reading import calls, go

from kvm_ref.errno import EEXIST, EIO, ENOSPC
from kvm_ref.kernel import Kernel
from kvm_ref.linux.syscore_ops import syscore_resume, syscore_shutdown, syscore_suspend
from kvm_ref.virt.device_ops import KVM_DEV_TYPE_MAX, kvm_register_device_ops
from kvm_ref.virt.kvm_main import (
    KvmMain,
    kvm_disable_virtualization,
    kvm_enable_virtualization,
    kvm_online_cpu,
    kvm_resume,
)
from kvm_ref.vocabulary import kernel_function


@kernel_function(fails=EIO)
def enable(k: Kernel) -> None:
    """Turn it on."""
    k.write("ON", 1)


@kernel_function()
def disable(k: Kernel) -> None:
    """Turn it off."""
    k.write("ON", 0)


class Switch(Bare):
    """A CPU with one switch."""

    packages = ("test_virtualization", "tests.virt.test_virtualization")
    kvm_arch_enable_virtualization_cpu = staticmethod(enable)
    kvm_arch_disable_virtualization_cpu = staticmethod(disable)


def machine(cpus: int = 3) -> Kernel:
    return Kernel(Switch(), possible=range(cpus))


def on(k: Kernel) -> list[int]:
    return sorted(cpu for cpu, register in k.registers if register == "ON")


def test_the_first_user_enables_and_the_last_disables() -> None:
    """kvm_usage_count: 0 to 1 installs the hotplug state, 1 to 0 removes it; between them nothing."""
    k = machine()
    kvm_enable_virtualization(k)
    kvm_enable_virtualization(k)
    assert (on(k), k[KvmMain].kvm_usage_count) == ([0, 1, 2], 2)
    kvm_disable_virtualization(k)
    assert (on(k), k[KvmMain].kvm_usage_count) == ([0, 1, 2], 1)
    kvm_disable_virtualization(k)
    assert (on(k), k[KvmMain].kvm_usage_count) == ([], 0)


def test_a_cpu_is_enabled_once() -> None:
    """virtualization_enabled keeps kvm_online_cpu() from doing it twice."""
    k = machine()
    kvm_enable_virtualization(k)
    before = len([e for e in k.events if e[0] == "write"])
    k.run_on("cpuhp/1", 1, kvm_online_cpu, 1)
    assert len([e for e in k.events if e[0] == "write"]) == before


def test_shutdown_disables_everywhere_and_leaves_the_count() -> None:
    """kvm_shutdown(): kvm_rebooting, every CPU off, kvm_usage_count untouched; a second one does nothing."""
    k = machine()
    kvm_enable_virtualization(k)
    syscore_shutdown(k)
    assert (on(k), k[KvmMain].kvm_usage_count, k[KvmMain].kvm_rebooting) == ([], 1, True)
    assert k.log == ["kvm: exiting hardware virtualization"]
    writes = len([e for e in k.events if e[0] == "write"])
    syscore_shutdown(k)
    assert len([e for e in k.events if e[0] == "write"]) == writes


def test_suspend_and_resume_touch_the_cpu_that_runs() -> None:
    """kvm_suspend() and kvm_resume() run on the one CPU that is left."""
    k = machine()
    kvm_enable_virtualization(k)
    syscore_suspend(k)
    assert on(k) == [1, 2]
    syscore_resume(k)
    assert on(k) == [0, 1, 2]


def test_resume_warns_where_it_fails() -> None:
    """kvm_resume() has WARN_ON_ONCE() around enabling: there is nobody to tell."""

    class Broken(Switch):
        @staticmethod
        def kvm_arch_enable_virtualization_cpu(k: Kernel) -> None:
            from kvm_ref.errno import KernelError

            raise KernelError(EIO)

    k = Kernel(Broken(), possible=range(1))
    kvm_resume(k)
    assert [e[2] for e in k.events if e[0] == "warn"] == ["kvm_resume"]
    assert k.log[0] == "kvm: enabling virtualization on CPU0 failed"


def test_the_weak_hooks_are_called_where_the_architecture_has_none() -> None:
    """__weak kvm_arch_enable_virtualization() and its counterpart are empty, but called."""
    k = machine(1)
    kvm_enable_virtualization(k)
    kvm_disable_virtualization(k)
    names = [e[2] for e in k.events if e[0] == "enter"]
    assert names.index("kvm_arch_enable_virtualization") < names.index("cpuhp_setup_state")
    assert names.index("kvm_arch_disable_virtualization") > names.index("cpuhp_remove_state")


def test_the_table_of_devices_ends() -> None:
    """kvm_register_device_ops(): -ENOSPC for a type beyond the table, -EEXIST for one that is there."""
    k = machine()
    assert errno_of(lambda: kvm_register_device_ops(k, "x", KVM_DEV_TYPE_MAX)) == ENOSPC
    kvm_register_device_ops(k, "x", 0)
    assert errno_of(lambda: kvm_register_device_ops(k, "x", 0)) == EEXIST


def test_kvm_exit_is_not_kvm_init_backwards() -> None:
    """The order of kvm_exit() in the C, device first, caches in the middle, queue last."""
    events = go("x86-svm", "load", "unload").trace.steps[1].events or []
    assert calls(events, "kvm_exit") == [
        "misc_deregister", "kvm_uninit_virtualization", "debugfs_remove_recursive", "free_cpumask_var",
        "free_cpumask_var", "kmem_cache_destroy", "kvm_vfio_ops_exit", "kvm_async_pf_deinit", "kvm_irqfd_exit",
    ]  # fmt: skip


def test_not_enabling_at_load() -> None:
    """With enable_virt_at_load=0, kvm_init_virtualization() calls nothing, nor does its counterpart."""
    done = go("x86-svm", "load", "unload", params={"enable_virt_at_load": "0"})
    up, down = (step.events or [] for step in done.trace.steps)
    assert calls(up, "kvm_init_virtualization") == []
    assert calls(down, "kvm_uninit_virtualization") == []


def test_before_the_patch() -> None:
    """Without b4886fab6fb6, kvm_init() goes straight from guest_memfd to the device."""
    done = go("x86-svm", "load", "unload", commits={"b4886fab6fb6": False})
    up, down = (step.events or [] for step in done.trace.steps)
    assert calls(up, "kvm_init")[-2:] == ["kvm_gmem_init", "misc_register"]
    assert "kvm_uninit_virtualization" not in calls(down, "kvm_exit")


def test_before_the_patch_nothing_of_it_is_undone() -> None:
    """Without b4886fab6fb6, a failing misc_register() leaves virtualization alone."""
    done = go("x86-svm", "load", fail="misc_register", commits={"b4886fab6fb6": False})
    up = done.trace.steps[0].events or []
    assert ">err_register" in calls(up, "kvm_init")
    assert "kvm_uninit_virtualization" not in calls(up, "kvm_init")
