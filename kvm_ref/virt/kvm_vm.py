# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors virt/kvm/kvm_main.c: how a VM comes into being through /dev/kvm, and how it ends.

Each VM counts as a user of virtualization; the first enables it on every CPU, the last disables it.
"""

from __future__ import annotations

from kvm_ref.errno import ENOMEM, ERR_PTR, IS_ERR, Errno, ErrPtr, KernelError
from kvm_ref.kernel import Kernel, Statics
from kvm_ref.linux.debugfs import dentry_path_raw
from kvm_ref.linux.file import (
    anon_inode_getfile,
    fd_install,
    file,
    file_operations,
    get_unused_fd_flags,
    put_unused_fd,
)  # fmt: skip
from kvm_ref.linux.kobject import KOBJ_CHANGE, add_uevent_var, kobject_uevent_env
from kvm_ref.linux.list import list_add, list_del
from kvm_ref.linux.mm import current_mm, mmdrop, mmgrab
from kvm_ref.linux.mmu_notifier import mmu_notifier_unregister
from kvm_ref.linux.mutex import Mutex, guard, mutex_lock, mutex_unlock
from kvm_ref.linux.preempt import preempt_notifier_dec, preempt_notifier_inc
from kvm_ref.linux.printk import WARN_ON_ONCE
from kvm_ref.linux.sched import task_pid_nr
from kvm_ref.linux.slab import kfree, kmalloc, kzalloc
from kvm_ref.linux.srcu import cleanup_srcu_struct, init_srcu_struct
from kvm_ref.unwind import ladder, unchecked
from kvm_ref.virt import kvm_host
from kvm_ref.virt.coalesced_mmio import kvm_coalesced_mmio_free, kvm_coalesced_mmio_init
from kvm_ref.virt.eventfd import kvm_eventfd_init, kvm_irqfd_release
from kvm_ref.virt.irqchip import kvm_free_irq_routing, kvm_init_irq_routing
from kvm_ref.virt.kvm_host import kvm, kvm_bus, kvm_memslots
from kvm_ref.virt.kvm_main import KvmMain, kvm_disable_virtualization, kvm_enable_virtualization
from kvm_ref.virt.vm_debugfs import kvm_create_vm_debugfs, kvm_destroy_vm_debugfs
from kvm_ref.virt.vm_notifiers import (
    kvm_destroy_pm_notifier,
    kvm_flush_shadow_all,
    kvm_init_mmu_notifier,
    kvm_init_pm_notifier,
)
from kvm_ref.vocabulary import kernel_function

KVM_EVENT_CREATE_VM = "KVM_EVENT_CREATE_VM"
KVM_EVENT_DESTROY_VM = "KVM_EVENT_DESTROY_VM"
ULLONG_MAX = (1 << 64) - 1


class KvmVm(Statics):
    """The static variables of virt/kvm/kvm_main.c that have to do with VMs."""

    __slots__ = ("kvm_active_vms", "kvm_createvm_count", "kvm_lock", "vm_list")
    module = "kvm"

    def __init__(self) -> None:
        self.kvm_lock = Mutex("kvm_lock")
        self.vm_list: list[kvm] = []
        self.kvm_createvm_count = 0
        self.kvm_active_vms = 0


@kernel_function(fails=ENOMEM)
def kvm_arch_post_init_vm(k: Kernel, kvm: kvm) -> None:
    """Do what the architecture wants before a VM goes on the list; the weak one does nothing.

    None of 6.12 fails, but the caller is ready for it.
    """


@kernel_function()
def kvm_arch_pre_destroy_vm(k: Kernel, kvm: kvm) -> None:
    """Do what the architecture wants after a VM left the list; the weak one does nothing."""


@kernel_function()
def kvm_uevent_notify_change(k: Kernel, type: str, kvm: kvm | None) -> None:
    """Count the VMs, and tell udev that one came or went; nobody asks whether that worked."""
    g = k[KvmVm]
    this_device = k[KvmMain].kvm_dev.this_device
    if not this_device or not kvm:
        return

    mutex_lock(k, g.kvm_lock)
    if type == KVM_EVENT_CREATE_VM:
        g.kvm_createvm_count += 1
        g.kvm_active_vms = g.kvm_active_vms + 1 & ULLONG_MAX
    elif type == KVM_EVENT_DESTROY_VM:
        # Below 0 if kvm_dev_ioctl_create_vm() has not told of its creation.
        g.kvm_active_vms = g.kvm_active_vms - 1 & ULLONG_MAX
    created = g.kvm_createvm_count
    active = g.kvm_active_vms
    mutex_unlock(k, g.kvm_lock)

    env = kzalloc(k, "kobj_uevent_env", size=2592)
    if not env:
        return

    add_uevent_var(k, env, f"CREATED={created}")
    add_uevent_var(k, env, f"COUNT={active}")

    if type == KVM_EVENT_CREATE_VM:
        add_uevent_var(k, env, "EVENT=create")
        kvm.userspace_pid = task_pid_nr(k)
    elif type == KVM_EVENT_DESTROY_VM:
        add_uevent_var(k, env, "EVENT=destroy")
    add_uevent_var(k, env, f"PID={kvm.userspace_pid}")

    if not isinstance(kvm.debugfs_dentry, ErrPtr):
        p = kmalloc(k, "char[PATH_MAX]", size=4096)

        if p:
            tmp = dentry_path_raw(k, kvm.debugfs_dentry)
            if not IS_ERR(tmp):
                add_uevent_var(k, env, f"STATS_PATH={tmp}")
            kfree(k, p)
    with unchecked:
        kobject_uevent_env(k, this_device, KOBJ_CHANGE)
    kfree(k, env)


@kernel_function()
def kvm_destroy_devices(k: Kernel, kvm: kvm) -> None:
    """Destroy the devices that a program made for the VM; here none makes any."""


@kernel_function(releases="memslots", obj="slots", idempotent=True)
def kvm_free_memslots(k: Kernel, kvm: kvm, slots: kvm_memslots) -> None:
    """Free the memory slots in the second of two sets that hold the same; here no program makes any."""


@kernel_function(fails=ERR_PTR(ENOMEM))
def kvm_create_vm(k: Kernel, type: int, fdname: str) -> kvm | ErrPtr:
    """Make a VM, and count it as a user of virtualization.

    Returns:
        The VM, or an error pointer with the errno of the step that failed; all is undone then.
    """
    g = k[KvmVm]
    kvm: kvm_host.kvm | None = (k.arch.kvm_arch_alloc_vm or kvm_host.kvm_arch_alloc_vm)(k)

    if not kvm:
        return ERR_PTR(ENOMEM)

    kvm.mm = current_mm(k)
    mmgrab(k, kvm.mm)
    kvm_eventfd_init(k, kvm)

    with ladder(k) as goto:
        with goto("out_err_no_srcu"):
            init_srcu_struct(k, kvm.srcu)
        with goto("out_err_no_irq_srcu"):
            init_srcu_struct(k, kvm.irq_srcu)

        with goto("out_err_no_irq_routing"):
            kvm_init_irq_routing(k, kvm)

        kvm.users_count = 1

        for i in range(k.arch.kvm_arch_nr_memslot_as_ids):
            active, inactive = (kvm_memslots(f"{kvm.id}.__memslots[{i}][{j}]") for j in range(2))
            kvm.memslots.append((active, inactive))

        with goto("out_err_no_arch_destroy_vm"):
            for i in kvm_bus:
                kvm.buses[i] = kzalloc(k, "kvm_io_bus", size=8)
                if not kvm.buses[i]:
                    raise KernelError(ENOMEM)

        with goto("out_err_no_arch_destroy_vm"):
            k.arch.kvm_arch_init_vm(k, kvm, type)

        with goto("out_err_no_disable"):
            kvm_enable_virtualization(k)

        with goto("out_err_no_mmu_notifier"):
            kvm_init_mmu_notifier(k, kvm)

        with goto("out_no_coalesced_mmio"):
            kvm_coalesced_mmio_init(k, kvm)

        with goto("out_err_no_debugfs"):
            kvm_create_vm_debugfs(k, kvm, fdname)

        with goto("out_err"):
            (k.arch.kvm_arch_post_init_vm or kvm_arch_post_init_vm)(k, kvm)

        with guard(k, g.kvm_lock):
            list_add(k, kvm, g.vm_list)

        preempt_notifier_inc(k)
        kvm_init_pm_notifier(k, kvm)

        return kvm

    if goto.reached("out_err"):
        kvm_destroy_vm_debugfs(k, kvm)
    if goto.reached("out_err_no_debugfs"):
        kvm_coalesced_mmio_free(k, kvm)
    if goto.reached("out_no_coalesced_mmio"):
        if kvm.mmu_notifier.release:
            mmu_notifier_unregister(k, kvm.mmu_notifier)
    if goto.reached("out_err_no_mmu_notifier"):
        kvm_disable_virtualization(k)
    if goto.reached("out_err_no_disable"):
        k.arch.kvm_arch_destroy_vm(k, kvm)
    if goto.reached("out_err_no_arch_destroy_vm"):
        kvm.users_count -= 1
        WARN_ON_ONCE(k, kvm.users_count, "!refcount_dec_and_test(&kvm->users_count)")
        for bus in kvm.buses:
            kfree(k, bus)
        kvm_free_irq_routing(k, kvm)
    if goto.reached("out_err_no_irq_routing"):
        cleanup_srcu_struct(k, kvm.irq_srcu)
    if goto.reached("out_err_no_irq_srcu"):
        cleanup_srcu_struct(k, kvm.srcu)
    if goto.reached("out_err_no_srcu"):
        (k.arch.kvm_arch_free_vm or kvm_host.kvm_arch_free_vm)(k, kvm)
        mmdrop(k, current_mm(k))
    return ERR_PTR(Errno(goto.error.errno or 0))


@kernel_function()
def kvm_destroy_vm(k: Kernel, kvm: kvm) -> None:
    """Take a VM apart; not in the reverse order of kvm_create_vm()."""
    g = k[KvmVm]
    mm = kvm.mm

    kvm_destroy_pm_notifier(k, kvm)
    kvm_uevent_notify_change(k, KVM_EVENT_DESTROY_VM, kvm)
    kvm_destroy_vm_debugfs(k, kvm)
    if k.arch.kvm_arch_sync_events:
        k.arch.kvm_arch_sync_events(k, kvm)
    with guard(k, g.kvm_lock):
        list_del(k, kvm, g.vm_list)
    (k.arch.kvm_arch_pre_destroy_vm or kvm_arch_pre_destroy_vm)(k, kvm)

    kvm_free_irq_routing(k, kvm)
    for i, bus in enumerate(kvm.buses):
        if bus:
            kfree(k, bus)
        kvm.buses[i] = None
    kvm_coalesced_mmio_free(k, kvm)
    if "KVM_GENERIC_MMU_NOTIFIER" in k.arch.config:
        mmu_notifier_unregister(k, kvm.mmu_notifier)
    else:
        kvm_flush_shadow_all(k, kvm)
    k.arch.kvm_arch_destroy_vm(k, kvm)
    kvm_destroy_devices(k, kvm)
    for i in range(k.arch.kvm_arch_nr_memslot_as_ids):
        kvm_free_memslots(k, kvm, kvm.memslots[i][0])
        kvm_free_memslots(k, kvm, kvm.memslots[i][1])
    cleanup_srcu_struct(k, kvm.irq_srcu)
    cleanup_srcu_struct(k, kvm.srcu)
    (k.arch.kvm_arch_free_vm or kvm_host.kvm_arch_free_vm)(k, kvm)
    preempt_notifier_dec(k)
    kvm_disable_virtualization(k)
    mmdrop(k, mm)


@kernel_function()
def kvm_put_kvm(k: Kernel, kvm: kvm) -> None:
    """Give a reference to a VM up; the last one destroys it."""
    kvm.users_count -= 1
    if not kvm.users_count:
        kvm_destroy_vm(k, kvm)


@kernel_function()
def kvm_vm_release(k: Kernel, filp: file) -> int:
    """Run when the last descriptor of a VM is closed."""
    kvm = filp.private_data
    assert isinstance(kvm, kvm_host.kvm)

    kvm_irqfd_release(k, kvm)

    kvm_put_kvm(k, kvm)
    return 0


@kernel_function(fails=ENOMEM)
def kvm_dev_ioctl_create_vm(k: Kernel, type: int) -> int:
    """Make a VM and a descriptor for it.

    Returns:
        The descriptor.
    """
    fd = get_unused_fd_flags(k)

    fdname = f"{fd}"

    with ladder(k) as goto:
        kvm = kvm_create_vm(k, type, fdname)
        with goto("put_fd"):
            if isinstance(kvm, ErrPtr):
                raise KernelError(kvm.error)

        file = anon_inode_getfile(
            k, "kvm-vm", file_operations(k[KvmMain].kvm_chardev_ops.owner, kvm_vm_release), kvm
        )
        with goto("put_kvm"):
            if isinstance(file, ErrPtr):
                raise KernelError(file.error)

        kvm_uevent_notify_change(k, KVM_EVENT_CREATE_VM, kvm)

        fd_install(k, fd, file)
        return fd

    if goto.reached("put_kvm"):
        assert isinstance(kvm, kvm_host.kvm)
        kvm_put_kvm(k, kvm)
    if goto.reached("put_fd"):
        put_unused_fd(k, fd)
    raise goto.error


@kernel_function(fails=ENOMEM, args=("cmd",))
def kvm_dev_ioctl(k: Kernel, cmd: str, arg: int) -> int:
    """Carry out an ioctl on /dev/kvm; of them only KVM_CREATE_VM is here."""
    return kvm_dev_ioctl_create_vm(k, arg)
