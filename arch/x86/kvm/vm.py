# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors arch/x86/kvm/x86.c: how a VM becomes an x86 one, and how that ends.

Interrupt controllers, timers, filters and vCPUs come by ioctls on the VM, so the VM has none here.
"""

from __future__ import annotations

from arch.x86.kvm.kvm_host import (
    APIC_ACCESS_PAGE_PRIVATE_MEMSLOT,
    IDENTITY_PAGETABLE_PRIVATE_MEMSLOT,
    TSS_PRIVATE_MEMSLOT,
)
from arch.x86.kvm.mmu_vm import kvm_mmu_init_vm, kvm_mmu_pre_destroy_vm, kvm_mmu_uninit_vm
from arch.x86.kvm.page_track import kvm_page_track_cleanup, kvm_page_track_init
from arch.x86.kvm.x86 import ops
from kvm_ref.errno import EINVAL, ENOMEM, EPERM, KernelError
from kvm_ref.kernel import Kernel
from kvm_ref.linux.debugfs import debugfs_create_file
from kvm_ref.linux.mm import current_mm
from kvm_ref.linux.mutex import mutex_lock, mutex_unlock
from kvm_ref.linux.notifier import PmEvent
from kvm_ref.linux.slab import __vmalloc, kfree, kvfree
from kvm_ref.unwind import ladder
from kvm_ref.virt.kvm_host import __kvm_arch_free_vm, kvm
from kvm_ref.vocabulary import NULL, kernel_function

KVM_X86_DEFAULT_VM = 0


@kernel_function(fails=NULL)
def kvm_arch_alloc_vm(k: Kernel) -> kvm | None:
    """Allocate a VM with the vendor's part (arch/x86/include/asm/kvm_host.h)."""
    vm_size = ops(k).vm_size
    memory = __vmalloc(k, f"struct {vm_size.__name__}")
    if not memory:
        return None
    vm = kvm(memory)
    vm.arch = vm_size(vm.id)
    return vm


@kernel_function()
def kvm_arch_free_vm(k: Kernel, kvm: kvm) -> None:
    """Free a VM; kvm_arch_init_vm() need not have seen it."""
    kfree(k, kvm.arch.hv_pa_pg)
    __kvm_arch_free_vm(k, kvm)


@kernel_function(fails=False)
def kvm_is_vm_type_supported(k: Kernel, type: int) -> bool:
    """Say whether there are VMs of a type; encrypted and protected ones are not in this model."""
    return type == KVM_X86_DEFAULT_VM


@kernel_function(fails=(EINVAL, ENOMEM))
def kvm_arch_init_vm(k: Kernel, kvm: kvm, type: int) -> None:
    """Make a VM an x86 one, and then the vendor's.

    Raises:
        KernelError: EINVAL, there are no VMs of that type; ENOMEM, there is no memory.
    """
    if not kvm_is_vm_type_supported(k, type):
        raise KernelError(EINVAL)

    with ladder(k) as goto:
        with goto("out"):
            kvm_page_track_init(k, kvm)

        with goto("out_cleanup_page_track"):
            kvm_mmu_init_vm(k, kvm)

        with goto("out_uninit_mmu"):
            ops(k).vm_init(k, kvm)

        return

    if goto.reached("out_uninit_mmu"):
        kvm_mmu_uninit_vm(k, kvm)
    if goto.reached("out_cleanup_page_track"):
        kvm_page_track_cleanup(k, kvm)
    goto.reached("out")
    raise goto.error


@kernel_function(fails=ENOMEM)
def kvm_arch_post_init_vm(k: Kernel, kvm: kvm) -> None:
    """Let the first vCPU that runs start the thread that takes split huge pages back.

    It gives 0 always, but kvm_create_vm() is ready for a failure.
    """


@kernel_function(args=("work",))
def cancel_delayed_work_sync(k: Kernel, work: str) -> None:
    """Take `work` off its timer and queue, or wait until it has run (kernel/workqueue.c)."""


@kernel_function()
def kvm_arch_sync_events(k: Kernel, kvm: kvm) -> None:
    """Stop what keeps the vCPUs' clocks together."""
    cancel_delayed_work_sync(k, "kvmclock_sync_work")
    cancel_delayed_work_sync(k, "kvmclock_update_work")


@kernel_function()
def kvm_arch_pre_destroy_vm(k: Kernel, kvm: kvm) -> None:
    """Stop what runs in the background for a VM, while its routing is still there."""
    kvm_mmu_pre_destroy_vm(k, kvm)


@kernel_function(args=("id", "size"))
def __x86_set_memory_region(k: Kernel, kvm: kvm, id: int, gpa: int, size: int) -> None:
    """Set up a memory slot of KVM's own, or with size 0 take it down; a VM without vCPUs has none."""


@kernel_function()
def kvm_arch_destroy_vm(k: Kernel, kvm: kvm) -> None:
    """Undo kvm_arch_init_vm()."""
    # Only the process that made the VM has mapped memory for the slots.
    if current_mm(k) == kvm.mm:
        mutex_lock(k, kvm.slots_lock)
        __x86_set_memory_region(k, kvm, APIC_ACCESS_PAGE_PRIVATE_MEMSLOT, 0, 0)
        __x86_set_memory_region(k, kvm, IDENTITY_PAGETABLE_PRIVATE_MEMSLOT, 0, 0)
        __x86_set_memory_region(k, kvm, TSS_PRIVATE_MEMSLOT, 0, 0)
        mutex_unlock(k, kvm.slots_lock)
    ops(k).vm_destroy(k, kvm)
    # The map of APICs and the filter of PMU events, which a VM without vCPUs does not have.
    kvfree(k, None)
    kfree(k, None)
    kvm_mmu_uninit_vm(k, kvm)
    kvm_page_track_cleanup(k, kvm)


@kernel_function()
def kvm_arch_create_vm_debugfs(k: Kernel, kvm: kvm) -> None:
    """Make the file that counts reverse mappings (arch/x86/kvm/debugfs.c)."""
    debugfs_create_file(k, "mmu_rmaps_stat", kvm.debugfs_dentry)


@kernel_function(fails=EPERM)
def kvm_arch_suspend_notifier(k: Kernel, kvm: kvm) -> None:
    """Let each vCPU know that its clock stands still for a while; there are none here."""
    mutex_lock(k, kvm.lock)
    mutex_unlock(k, kvm.lock)


@kernel_function(fails=EPERM)
def kvm_arch_pm_notifier(k: Kernel, kvm: kvm, state: PmEvent) -> None:
    """Act on what the chain of power management tells.

    Raises:
        KernelError: the VM cannot be made ready to sleep; the caller takes any for NOTIFY_BAD.
    """
    if state == PmEvent.PM_SUSPEND_PREPARE:
        kvm_arch_suspend_notifier(k, kvm)
