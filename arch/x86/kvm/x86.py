# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors arch/x86/kvm/x86.c: what VMX and SVM have in common.

kvm.ko holds this and the common code; the vendor module, kvm-intel.ko or kvm-amd.ko, brings its
operations and calls kvm_x86_vendor_init(), then kvm_init(). Only one vendor can be in at a time.
"""

from __future__ import annotations

from collections.abc import Callable

import attrs

from arch.x86.hyperv.hv_init import clear_hv_tscchange_cb, set_hv_tscchange_cb
from arch.x86.kernel.msr import MSR_EFER, MSR_IA32_CR_PAT, boot_cpu_has, rdmsrl_safe
from arch.x86.kernel.reboot import (
    cpu_emergency_register_virt_callback,
    cpu_emergency_unregister_virt_callback,
)
from arch.x86.kvm.clock import (
    Clock,
    cancel_work_sync,
    cpufreq_unregister_notifier,
    irq_work_sync,
    kvm_hyperv_tsc_notifier,
    kvm_timer_init,
    pvclock_gtod_register_notifier,
    pvclock_gtod_unregister_notifier,
)
from arch.x86.kvm.kvm_host import kvm_arch
from arch.x86.kvm.mmu import (
    kvm_mmu_vendor_module_exit,
    kvm_mmu_vendor_module_init,
    kvm_mmu_x86_module_init,
)
from arch.x86.kvm.user_return import (
    UserReturn,
    drop_user_return_notifiers,
    kvm_user_return_msr_cpu_online,
)
from kvm_ref.errno import EEXIST, EIO, ENOMEM, EOPNOTSUPP, Errno, KernelError
from kvm_ref.kernel import Kernel, Operations, Statics
from kvm_ref.linux.cpuhotplug import CPUHP_AP_X86_KVM_CLK_ONLINE
from kvm_ref.linux.cpuhp_setup import cpuhp_remove_state_nocalls
from kvm_ref.linux.cpumask import cpu_online, for_each_online_cpu
from kvm_ref.linux.mutex import Mutex, guard, mutex_lock, mutex_unlock
from kvm_ref.linux.percpu import alloc_percpu, free_percpu
from kvm_ref.linux.printk import BUG_ON, WARN_ON, pr_err
from kvm_ref.linux.slab import kmem_cache, kmem_cache_create_usercopy, kmem_cache_destroy
from kvm_ref.linux.smp import smp_call_function_single
from kvm_ref.unwind import ladder, unchecked
from kvm_ref.virt.kvm_host import kvm
from kvm_ref.virt.kvm_main import KvmMain
from kvm_ref.virt.perf_callbacks import kvm_register_perf_callbacks, kvm_unregister_perf_callbacks
from kvm_ref.vocabulary import NULL, kernel_function

PAT_WRITE_BACK = 6


@attrs.frozen
class kvm_x86_ops(Operations):
    """A vendor's operations, of those that are called without a vCPU (asm/kvm_host.h).

    Where the C has the size of a VM's structure, `vm_size` is the part of it that is x86's.
    """

    name: str
    hardware_setup: Callable[[Kernel], None]
    hardware_unsetup: Callable[[Kernel], None]
    check_processor_compatibility: Callable[[Kernel], None]
    enable_virtualization_cpu: Callable[[Kernel], None]
    disable_virtualization_cpu: Callable[[Kernel], None]
    emergency_disable_virtualization_cpu: Callable[[Kernel], None]
    vm_size: type[kvm_arch]
    vm_init: Callable[[Kernel, kvm], int | None]
    vm_destroy: Callable[[Kernel, kvm], None]


class X86(Statics):
    """The static variables of arch/x86/kvm/x86.c."""

    __slots__ = (
        "allow_smaller_maxphyaddr", "enable_pmu", "handle_intel_pt_intr", "kvm_x86_ops", "loaded",
        "vendor_module_lock", "x86_emulator_cache",
    )  # fmt: skip
    module = "kvm"

    def __init__(self) -> None:
        self.vendor_module_lock = Mutex("vendor_module_lock")
        self.kvm_x86_ops: kvm_x86_ops | None = None
        # kvm_x86_ops.enable_virtualization_cpu: cleared first, while the other operations stay.
        self.loaded = False
        self.x86_emulator_cache: kmem_cache | None = None
        self.enable_pmu = True
        self.allow_smaller_maxphyaddr = False
        # A field of the vendor's init operations, which hardware_setup() sets.
        self.handle_intel_pt_intr: Callable[[Kernel], int] | None = None


def ops(k: Kernel) -> kvm_x86_ops:
    """Return the operations that static calls reach: ``kvm_x86_call(name)()``."""
    found = k[X86].kvm_x86_ops
    assert found is not None
    return found


@kernel_function()
def kvm_lapic_exit(k: Kernel) -> None:
    """Settle the static keys of the local APIC (arch/x86/kvm/lapic.c)."""


@kernel_function()
def kvm_spurious_fault(k: Kernel) -> None:
    """Take note of a fault of a VMX or SVM instruction: a bug, unless the machine reboots."""
    BUG_ON(k, not k[KvmMain].kvm_rebooting, "!kvm_rebooting")


@kernel_function(fails=NULL)
def kvm_alloc_emulator_cache(k: Kernel) -> kmem_cache | None:
    """Make the cache of emulator contexts."""
    return kmem_cache_create_usercopy(k, "x86_emulator")


@kernel_function()
def kvm_arch_enable_virtualization(k: Kernel) -> None:
    """Have virtualization turned off in an emergency."""
    cpu_emergency_register_virt_callback(k, ops(k).emergency_disable_virtualization_cpu)


@kernel_function()
def kvm_arch_disable_virtualization(k: Kernel) -> None:
    """Undo kvm_arch_enable_virtualization()."""
    cpu_emergency_unregister_virt_callback(k, ops(k).emergency_disable_virtualization_cpu)


@kernel_function(fails=False)
def __cr4_reserved_bits(k: Kernel) -> bool:
    """Say whether the bits of CR4 that this CPU reserves are those of the boot CPU."""
    return True


@kernel_function(fails=EIO)
def kvm_x86_check_processor_compatibility(k: Kernel) -> None:
    """Refuse a CPU that differs from the boot CPU or lacks the vendor's needs."""
    WARN_ON(k, not cpu_online(k, k.cpu), "!cpu_online(cpu)")

    if not __cr4_reserved_bits(k):
        raise KernelError(EIO)

    ops(k).check_processor_compatibility(k)


@kernel_function()
def kvm_x86_check_cpu_compat(k: Kernel, ret: list[int]) -> None:
    """Leave the result of the check on this CPU in `ret`."""
    try:
        kvm_x86_check_processor_compatibility(k)
        ret[0] = 0
    except KernelError as error:
        ret[0] = -(error.errno or 0)


@kernel_function(fails=EIO)
def kvm_arch_enable_virtualization_cpu(k: Kernel) -> None:
    """Enable virtualization on this CPU, after checking that it may be used."""
    kvm_user_return_msr_cpu_online(k)

    kvm_x86_check_processor_compatibility(k)

    ops(k).enable_virtualization_cpu(k)


@kernel_function()
def kvm_arch_disable_virtualization_cpu(k: Kernel) -> None:
    """Disable virtualization on this CPU."""
    ops(k).disable_virtualization_cpu(k)
    drop_user_return_notifiers(k)


@kernel_function(fails=(EOPNOTSUPP, EEXIST, EIO, ENOMEM))
def kvm_x86_vendor_init(k: Kernel, init_ops: kvm_x86_ops) -> None:
    """Bring up what a vendor module needs before kvm_init().

    Raises:
        KernelError: EEXIST if a vendor module is in already, EOPNOTSUPP or EIO if the machine
            will not do, ENOMEM, or what hardware_setup() gives.
    """
    g = k[X86]
    u = k[UserReturn]
    with guard(k, g.vendor_module_lock):
        if g.loaded:
            pr_err(k, f"kvm: already loaded vendor module '{ops(k).name}'")
            raise KernelError(EEXIST)

        if not boot_cpu_has(k, "X86_FEATURE_FPU") or not boot_cpu_has(k, "X86_FEATURE_FXSR"):
            pr_err(k, "kvm: inadequate fpu")
            raise KernelError(EOPNOTSUPP)

        if k.features["preempt_rt"] and not k.features["constant_tsc"]:
            pr_err(k, "kvm: RT requires X86_FEATURE_CONSTANT_TSC")
            raise KernelError(EOPNOTSUPP)

        if not _host_pat_is_write_back(k):
            pr_err(k, "kvm: host PAT[0] is not WB")
            raise KernelError(EIO)

        g.x86_emulator_cache = kvm_alloc_emulator_cache(k)
        if not g.x86_emulator_cache:
            pr_err(k, "kvm: failed to allocate cache for x86 emulator")
            raise KernelError(ENOMEM)

        with ladder(k) as goto:
            u.user_return_msrs = alloc_percpu(k, "kvm_user_return_msrs", None)
            with goto("out_free_x86_emulator_cache"):
                if not u.user_return_msrs:
                    pr_err(k, "kvm: failed to allocate percpu kvm_user_return_msrs")
                    raise KernelError(ENOMEM)
            u.kvm_uret_msrs_list = []

            with goto("out_free_percpu"):
                kvm_mmu_vendor_module_init(k)

            with unchecked:
                rdmsrl_safe(k, MSR_EFER, [0])

            with goto("out_mmu_exit"):
                init_ops.hardware_setup(k)

            g.kvm_x86_ops = init_ops
            g.loaded = True

            # A CPU that went offline cannot be asked: the call fails, and nobody looks at that.
            r = [0]
            with goto("out_unwind_ops"):
                for cpu in for_each_online_cpu(k):
                    with unchecked:
                        smp_call_function_single(k, cpu, kvm_x86_check_cpu_compat, r)
                    if r[0] < 0:
                        raise KernelError(Errno(-r[0]))

            kvm_timer_init(k)

            with unchecked:
                pvclock_gtod_register_notifier(k)

            if k.features["hyperv"]:
                set_hv_tscchange_cb(k, kvm_hyperv_tsc_notifier)

            kvm_register_perf_callbacks(k, g.handle_intel_pt_intr)
            return

        if goto.reached("out_unwind_ops"):
            g.loaded = False
            ops(k).hardware_unsetup(k)
        if goto.reached("out_mmu_exit"):
            kvm_mmu_vendor_module_exit(k)
        if goto.reached("out_free_percpu"):
            free_percpu(k, u.user_return_msrs)
        if goto.reached("out_free_x86_emulator_cache"):
            kmem_cache_destroy(k, g.x86_emulator_cache)
        raise goto.error


def _host_pat_is_write_back(k: Kernel) -> bool:
    host_pat = [0]
    try:
        rdmsrl_safe(k, MSR_IA32_CR_PAT, host_pat)
    except KernelError:
        return False
    return host_pat[0] & 7 == PAT_WRITE_BACK


@kernel_function()
def kvm_x86_vendor_exit(k: Kernel) -> None:
    """Undo kvm_x86_vendor_init()."""
    g = k[X86]
    kvm_unregister_perf_callbacks(k)

    if k.features["hyperv"]:
        clear_hv_tscchange_cb(k)
    kvm_lapic_exit(k)

    if not k.features["constant_tsc"]:
        with unchecked:
            cpufreq_unregister_notifier(k, k[Clock].kvmclock_cpufreq_notifier_block)
        cpuhp_remove_state_nocalls(k, CPUHP_AP_X86_KVM_CLK_ONLINE)
    with unchecked:
        pvclock_gtod_unregister_notifier(k)
    irq_work_sync(k, "pvclock_irq_work")
    cancel_work_sync(k, "pvclock_gtod_work")
    ops(k).hardware_unsetup(k)
    kvm_mmu_vendor_module_exit(k)
    free_percpu(k, k[UserReturn].user_return_msrs)
    kmem_cache_destroy(k, g.x86_emulator_cache)
    mutex_lock(k, g.vendor_module_lock)
    g.loaded = False
    mutex_unlock(k, g.vendor_module_lock)


@kernel_function()
def kvm_x86_init(k: Kernel) -> None:
    """Run when kvm.ko is loaded."""
    kvm_mmu_x86_module_init(k)


@kernel_function()
def kvm_x86_exit(k: Kernel) -> None:
    """Run when kvm.ko is unloaded."""
