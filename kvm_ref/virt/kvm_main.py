# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors virt/kvm/kvm_main.c: the common code's init and exit, and who enables virtualization when.

Virtualization is on while `kvm_usage_count` is above zero: each VM counts, and if the parameter
`enable_virt_at_load` is set, so does the loaded module itself. On the way from 0 to 1 a CPU hotplug
state is installed, whose callbacks enable each CPU that is up, and each that comes up later.
"""

from __future__ import annotations

from kvm_ref.errno import EBUSY, EIO, ENOMEM, ErrPtr, KernelError
from kvm_ref.kernel import Commit, Kernel, Statics, SystemState
from kvm_ref.linux.cpuhotplug import CPUHP_AP_KVM_ONLINE
from kvm_ref.linux.cpuhp_setup import cpuhp_remove_state, cpuhp_setup_state
from kvm_ref.linux.cpumask import (
    alloc_cpumask_var_node,
    cpumask_var_t,
    for_each_possible_cpu,
    free_cpumask_var,
)  # fmt: skip
from kvm_ref.linux.debugfs import debugfs_create_dir, debugfs_create_file, debugfs_remove_recursive, dentry
from kvm_ref.linux.file import file_operations
from kvm_ref.linux.miscdevice import KVM_MINOR, misc_deregister, misc_register, miscdevice
from kvm_ref.linux.module import constant_param
from kvm_ref.linux.mutex import Mutex, guard, lockdep_assert_not_held
from kvm_ref.linux.percpu import PerCpu
from kvm_ref.linux.printk import WARN_ON_ONCE, pr_err, pr_info
from kvm_ref.linux.slab import kmem_cache, kmem_cache_create_usercopy, kmem_cache_destroy
from kvm_ref.linux.smp import on_each_cpu
from kvm_ref.linux.syscore_ops import register_syscore, syscore, unregister_syscore
from kvm_ref.unwind import ladder
from kvm_ref.virt.async_pf import kvm_async_pf_deinit, kvm_async_pf_init
from kvm_ref.virt.eventfd import kvm_irqfd_exit, kvm_irqfd_init
from kvm_ref.virt.guest_memfd import kvm_gmem_init
from kvm_ref.virt.vfio import kvm_vfio_ops_exit, kvm_vfio_ops_init
from kvm_ref.vocabulary import kernel_function

ENABLE_VIRT_AT_LOAD = Commit(
    "b4886fab6fb6",
    "KVM: Add a module param to allow enabling virtualization when KVM is loaded",
    default=True,
)
REMOVE_DEBUGFS_DIR = Commit(
    "b31e7c24b475", "KVM: Remove kvm_debugfs_dir on kvm_init() error paths", default=False
)


class KvmMain(Statics):
    """The static variables of virt/kvm/kvm_main.c."""

    __slots__ = (
        "cpu_kick_mask", "kvm_chardev_ops", "kvm_debugfs_dir", "kvm_dev", "kvm_rebooting",
        "kvm_syscore", "kvm_usage_count", "kvm_usage_lock", "kvm_vcpu_cache",
        "virtualization_enabled",
    )  # fmt: skip
    module = "kvm"

    def __init__(self) -> None:
        self.kvm_vcpu_cache: kmem_cache | None = None
        self.cpu_kick_mask: PerCpu[cpumask_var_t | None] = PerCpu(None)
        self.kvm_debugfs_dir: dentry | ErrPtr | None = None
        self.kvm_chardev_ops = file_operations(None, None)
        self.kvm_dev = miscdevice(KVM_MINOR, "kvm", self.kvm_chardev_ops)
        self.kvm_rebooting = False
        self.virtualization_enabled = PerCpu(False)
        self.kvm_usage_lock = Mutex("kvm_usage_lock")
        self.kvm_usage_count = 0
        self.kvm_syscore = syscore("kvm_syscore", kvm_suspend, kvm_resume, kvm_shutdown)


enable_virt_at_load = constant_param("enable_virt_at_load", initial=True)
PARAMS = (enable_virt_at_load,)


@kernel_function()
def kvm_arch_enable_virtualization(k: Kernel) -> None:
    """Do what the architecture wants before the first CPU is enabled; the weak one does nothing."""


@kernel_function()
def kvm_arch_disable_virtualization(k: Kernel) -> None:
    """Undo kvm_arch_enable_virtualization(); the weak one does nothing."""


def _arch_enable_virtualization(k: Kernel) -> None:
    (k.arch.kvm_arch_enable_virtualization or kvm_arch_enable_virtualization)(k)


def _arch_disable_virtualization(k: Kernel) -> None:
    (k.arch.kvm_arch_disable_virtualization or kvm_arch_disable_virtualization)(k)


@kernel_function(fails=EIO, translates=True)
def kvm_enable_virtualization_cpu(k: Kernel) -> None:
    """Enable virtualization on this CPU unless it is on; any failure of the backend becomes -EIO."""
    g = k[KvmMain]
    if g.virtualization_enabled[k.cpu]:
        return

    try:
        k.arch.kvm_arch_enable_virtualization_cpu(k)
    except KernelError:
        pr_info(k, f"kvm: enabling virtualization on CPU{k.cpu} failed")
        raise KernelError(EIO) from None

    g.virtualization_enabled[k.cpu] = True


@kernel_function(fails=EIO, args=("cpu",))
def kvm_online_cpu(k: Kernel, cpu: int) -> int:
    """Enable virtualization on a CPU that comes up; if it fails, the CPU does not come up."""
    kvm_enable_virtualization_cpu(k)
    return 0


@kernel_function(inlined_into=("kvm_offline_cpu", "kvm_suspend"))
def kvm_disable_virtualization_cpu(k: Kernel, ign: object) -> None:
    """Disable virtualization on this CPU if it is on."""
    g = k[KvmMain]
    if not g.virtualization_enabled[k.cpu]:
        return

    k.arch.kvm_arch_disable_virtualization_cpu(k)

    g.virtualization_enabled[k.cpu] = False


@kernel_function(args=("cpu",))
def kvm_offline_cpu(k: Kernel, cpu: int) -> int:
    """Disable virtualization on a CPU that goes down."""
    kvm_disable_virtualization_cpu(k, None)
    return 0


@kernel_function()
def kvm_shutdown(k: Kernel) -> None:
    """Disable virtualization on every CPU before firmware takes over; the usage count stays."""
    pr_info(k, "kvm: exiting hardware virtualization")
    k[KvmMain].kvm_rebooting = True
    on_each_cpu(k, kvm_disable_virtualization_cpu, None)


@kernel_function()
def kvm_suspend(k: Kernel) -> int:
    """Disable virtualization on the last CPU that runs; it cannot fail."""
    lockdep_assert_not_held(k, k[KvmMain].kvm_usage_lock)

    kvm_disable_virtualization_cpu(k, None)
    return 0


@kernel_function()
def kvm_resume(k: Kernel) -> None:
    """Enable virtualization on the first CPU that runs again."""
    lockdep_assert_not_held(k, k[KvmMain].kvm_usage_lock)

    try:
        kvm_enable_virtualization_cpu(k)
    except KernelError:
        WARN_ON_ONCE(k, True, "kvm_enable_virtualization_cpu()")


@kernel_function(fails=EBUSY, config="KVM_GENERIC_HARDWARE_ENABLING")
def kvm_enable_virtualization(k: Kernel) -> None:
    """Count one user more; the first one enables virtualization on every CPU.

    Raises:
        KernelError: EBUSY if the system is going down, EIO if a CPU could not be enabled, or what
            cpuhp_setup_state() gives; virtualization is off again then, and nobody is counted.
    """
    g = k[KvmMain]
    with guard(k, g.kvm_usage_lock):
        g.kvm_usage_count += 1
        if g.kvm_usage_count > 1:
            return

        with ladder(k) as goto:
            _arch_enable_virtualization(k)

            with goto("err_cpuhp"):
                cpuhp_setup_state(k, CPUHP_AP_KVM_ONLINE, "kvm/cpu:online", kvm_online_cpu, kvm_offline_cpu)

            register_syscore(k, g.kvm_syscore)

            # A forced reboot may have passed syscore_shutdown() before the line above. It sets
            # system_state first, so either kvm_shutdown() runs or this check sees it coming.
            with goto("err_rebooting"):
                if k.system_state in (
                    SystemState.SYSTEM_HALT,
                    SystemState.SYSTEM_POWER_OFF,
                    SystemState.SYSTEM_RESTART,
                ):
                    raise KernelError(EBUSY)

            return

        if goto.reached("err_rebooting"):
            unregister_syscore(k, g.kvm_syscore)
            cpuhp_remove_state(k, CPUHP_AP_KVM_ONLINE)
        if goto.reached("err_cpuhp"):
            _arch_disable_virtualization(k)
            g.kvm_usage_count -= 1
        raise goto.error


@kernel_function(config="KVM_GENERIC_HARDWARE_ENABLING")
def kvm_disable_virtualization(k: Kernel) -> None:
    """Count one user less; the last one disables virtualization on every CPU."""
    g = k[KvmMain]
    with guard(k, g.kvm_usage_lock):
        g.kvm_usage_count -= 1
        if g.kvm_usage_count:
            return

        unregister_syscore(k, g.kvm_syscore)
        cpuhp_remove_state(k, CPUHP_AP_KVM_ONLINE)
        _arch_disable_virtualization(k)


@kernel_function(fails=EBUSY, config="KVM_GENERIC_HARDWARE_ENABLING")
def kvm_init_virtualization(k: Kernel) -> None:
    """Enable virtualization if it is to be on from the start."""
    if k.param(enable_virt_at_load):
        kvm_enable_virtualization(k)


@kernel_function(config="KVM_GENERIC_HARDWARE_ENABLING")
def kvm_uninit_virtualization(k: Kernel) -> None:
    """Give up what kvm_init_virtualization() enabled."""
    if k.param(enable_virt_at_load):
        kvm_disable_virtualization(k)


@kernel_function()
def kvm_init_debug(k: Kernel) -> None:
    """Make the debugfs directory of the statistics, with a file for each; nobody asks whether that worked."""
    g = k[KvmMain]
    g.kvm_debugfs_dir = debugfs_create_dir(k, "kvm", None)

    for pdesc in k.arch.kvm_vm_stats_desc:
        debugfs_create_file(k, pdesc, g.kvm_debugfs_dir)

    for pdesc in k.arch.kvm_vcpu_stats_desc:
        debugfs_create_file(k, pdesc, g.kvm_debugfs_dir)


@kernel_function(fails=ENOMEM)
def kvm_init(k: Kernel, module: str | None) -> None:
    """Bring up the common code, last of all /dev/kvm; the architecture's init function calls it.

    Raises:
        KernelError: with the errno of the step that failed; all but the debugfs directory is
            undone then (with b31e7c24b475 that too).
    """
    g = k[KvmMain]
    g.kvm_vcpu_cache = kmem_cache_create_usercopy(k, "kvm_vcpu")
    if not g.kvm_vcpu_cache:
        raise KernelError(ENOMEM)

    with ladder(k) as goto:
        with goto("err_cpu_kick_mask"):
            for cpu in for_each_possible_cpu(k):
                if not alloc_cpumask_var_node(k, g.cpu_kick_mask, cpu):
                    raise KernelError(ENOMEM)

        with goto("err_irqfd"):
            kvm_irqfd_init(k)

        with goto("err_async_pf"):
            kvm_async_pf_init(k)

        g.kvm_chardev_ops.owner = module

        kvm_init_debug(k)

        with goto("err_vfio"):
            try:
                kvm_vfio_ops_init(k)
            except KernelError:
                WARN_ON_ONCE(k, True, "r")
                raise

        kvm_gmem_init(k, module)

        with goto("err_virt"):
            if k.has(ENABLE_VIRT_AT_LOAD):
                kvm_init_virtualization(k)

        # Last, because it opens the door to user space.
        with goto("err_register"):
            try:
                misc_register(k, g.kvm_dev)
            except KernelError:
                pr_err(k, "kvm: misc device register failed")
                raise

        return

    if goto.reached("err_register"):
        if k.has(ENABLE_VIRT_AT_LOAD):
            kvm_uninit_virtualization(k)
    if goto.reached("err_virt"):
        kvm_vfio_ops_exit(k)
    if goto.reached("err_vfio"):
        if k.has(REMOVE_DEBUGFS_DIR):
            debugfs_remove_recursive(k, g.kvm_debugfs_dir)
        kvm_async_pf_deinit(k)
    if goto.reached("err_async_pf"):
        kvm_irqfd_exit(k)
    goto.reached("err_irqfd")
    if goto.reached("err_cpu_kick_mask"):
        for cpu in for_each_possible_cpu(k):
            free_cpumask_var(k, g.cpu_kick_mask, cpu)
        kmem_cache_destroy(k, g.kvm_vcpu_cache)
    raise goto.error


@kernel_function()
def kvm_exit(k: Kernel) -> None:
    """Take down what kvm_init() brought up."""
    g = k[KvmMain]
    misc_deregister(k, g.kvm_dev)

    if k.has(ENABLE_VIRT_AT_LOAD):
        kvm_uninit_virtualization(k)

    debugfs_remove_recursive(k, g.kvm_debugfs_dir)
    for cpu in for_each_possible_cpu(k):
        free_cpumask_var(k, g.cpu_kick_mask, cpu)
    kmem_cache_destroy(k, g.kvm_vcpu_cache)
    kvm_vfio_ops_exit(k)
    kvm_async_pf_deinit(k)
    kvm_irqfd_exit(k)
