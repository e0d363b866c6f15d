# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors kernel/cpu.c: taking all CPUs but one down, for a suspend or before another kernel starts, and back up."""

from __future__ import annotations

from kvm_ref.errno import EBUSY, KernelError
from kvm_ref.kernel import Kernel
from kvm_ref.linux.cpuhotplug import CPUHP_OFFLINE, CPUHP_ONLINE
from kvm_ref.linux.cpumask import cpu_online, for_each_online_cpu
from kvm_ref.linux.hotplug import (
    Hotplug,
    __cpu_hotplug_enable,
    _cpu_down,
    _cpu_up,
    cpu_down_maps_locked,
    cpu_maps_update_begin,
    cpu_maps_update_done,
)
from kvm_ref.linux.printk import BUG_ON, pr_err, pr_info, pr_warn
from kvm_ref.unwind import NoError, ladder
from kvm_ref.vocabulary import kernel_function


@kernel_function(fails=True)
def pm_wakeup_pending(k: Kernel) -> bool:
    """Say whether something is to wake the system, or keep it awake (drivers/base/power/wakeup.c)."""
    return False


@kernel_function(fails=EBUSY, args=("primary",))
def freeze_secondary_cpus(k: Kernel, primary: int) -> None:
    """Take every CPU but `primary` down, the highest first, and note which; -1 is the first online one.

    Nobody else may take CPUs up or down from now on, not even after a failure: thaw_secondary_cpus()
    is called in any case.

    Raises:
        KernelError: something is to wake the system (EBUSY), or a CPU did not go down.
    """
    g = k[Hotplug]
    cpu_maps_update_begin(k)
    if not cpu_online(k, primary):
        primary = min(k.online)

    g.frozen_cpus.clear()
    pr_info(k, "Disabling non-boot CPUs ...")
    try:
        for cpu in reversed(for_each_online_cpu(k)):
            if cpu == primary:
                continue

            if pm_wakeup_pending(k):
                pr_info(k, "Wakeup pending. Abort CPU freeze")
                raise KernelError(EBUSY)

            try:
                _cpu_down(k, cpu, CPUHP_OFFLINE)
            except KernelError as error:
                pr_err(k, f"Error taking CPU{cpu} down: {-(error.errno or 0)}")
                raise
            g.frozen_cpus.append(cpu)

        BUG_ON(k, len(k.online) > 1, "num_online_cpus() > 1")
    except KernelError:
        pr_err(k, "Non-boot CPUs are not disabled")
        raise
    finally:
        g.cpu_hotplug_disabled += 1
        cpu_maps_update_done(k)


@kernel_function()
def thaw_secondary_cpus(k: Kernel) -> None:
    """Bring up, the lowest first, what freeze_secondary_cpus() took down; one that fails stays down."""
    g = k[Hotplug]
    with ladder(k) as goto:
        cpu_maps_update_begin(k)
        __cpu_hotplug_enable(k)
        with goto("out"):
            if not g.frozen_cpus:
                raise NoError

        pr_info(k, "Enabling non-boot CPUs ...")

        for cpu in sorted(g.frozen_cpus):
            try:
                _cpu_up(k, cpu, CPUHP_ONLINE)
            except KernelError as error:
                pr_warn(k, f"Error taking CPU{cpu} up: {-(error.errno or 0)}")
            else:
                pr_info(k, f"CPU{cpu} is up")

        g.frozen_cpus.clear()
    goto.reached("out")
    cpu_maps_update_done(k)


@kernel_function(args=("primary_cpu",))
def smp_shutdown_nonboot_cpus(k: Kernel, primary_cpu: int) -> None:
    """Take every CPU but `primary_cpu` down, the lowest first, and let none come again.

    Raises:
        KernelBug: one did not go down.
    """
    cpu_maps_update_begin(k)
    if not cpu_online(k, primary_cpu):
        primary_cpu = min(k.online)

    for cpu in for_each_online_cpu(k):
        if cpu == primary_cpu:
            continue

        try:
            cpu_down_maps_locked(k, cpu, CPUHP_OFFLINE)
        except KernelError as error:
            pr_err(k, f"Failed to offline CPU{cpu} - error={-(error.errno or 0)}")
            break

    BUG_ON(k, len(k.online) > 1, "num_online_cpus() > 1")

    k[Hotplug].cpu_hotplug_disabled += 1
    cpu_maps_update_done(k)
