# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors include/linux/kvm_host.h: what a VM is to the common code, and its memory."""

from __future__ import annotations

from enum import IntEnum
from typing import Any

from kvm_ref.errno import ENOENT, ERR_PTR, ErrPtr
from kvm_ref.kernel import Kernel
from kvm_ref.linux.debugfs import dentry
from kvm_ref.linux.gfp import pages
from kvm_ref.linux.mmu_notifier import mmu_notifier
from kvm_ref.linux.mutex import Mutex
from kvm_ref.linux.notifier import notifier_block
from kvm_ref.linux.slab import kmemory, kvfree, kzalloc
from kvm_ref.linux.srcu import srcu_struct
from kvm_ref.vocabulary import NULL, kernel_function


class kvm_bus(IntEnum):
    """The buses on which a VM's devices are found."""

    KVM_MMIO_BUS = 0
    KVM_PIO_BUS = 1
    KVM_VIRTIO_CCW_NOTIFY_BUS = 2
    KVM_FAST_MMIO_BUS = 3


class kvm_memslots:
    """One of the two sets of memory slots that an address space of a VM has; both hold the same slots.

    Args:
        id: its name in a trace.
    """

    __slots__ = ("id",)

    def __init__(self, id: str) -> None:
        self.id = id


class kvm:
    """A virtual machine: what lasts as long as it does, and who else refers to it.

    Attributes:
        memory: what holds the structure itself.
        id: its name in a trace.
        arch: what the architecture keeps for it.
        memslots: both sets of each address space, in C __memslots.
    """

    __slots__ = (
        "arch", "buses", "coalesced_mmio_ring", "debugfs_dentry", "debugfs_stat_data",
        "debugfs_stat_entries", "id", "irq_routing", "irq_srcu", "lock", "memory", "memslots", "mm",
        "mmu_notifier", "pm_notifier", "slots_lock", "srcu", "users_count", "userspace_pid",
    )  # fmt: skip

    def __init__(self, memory: kmemory) -> None:
        self.memory = memory
        self.id = memory.id
        self.mm = ""
        self.users_count = 0
        self.userspace_pid = 0
        self.lock = Mutex("kvm->lock")
        self.slots_lock = Mutex("slots_lock")
        self.srcu = srcu_struct(f"{self.id}.srcu")
        self.irq_srcu = srcu_struct(f"{self.id}.irq_srcu")
        self.irq_routing: kmemory | None = None
        self.memslots: list[tuple[kvm_memslots, kvm_memslots]] = []
        self.buses: list[kmemory | None] = [None] * len(kvm_bus)
        self.coalesced_mmio_ring: pages | None = None
        self.mmu_notifier = mmu_notifier(f"{self.id}.mmu_notifier", self)
        self.pm_notifier = notifier_block(f"{self.id}.pm_notifier", self)
        self.debugfs_dentry: dentry | ErrPtr = ERR_PTR(ENOENT)
        self.debugfs_stat_data: kmemory | None = None
        self.debugfs_stat_entries: list[kmemory | None] = []
        self.arch: Any = None


@kernel_function(fails=NULL)
def kvm_arch_alloc_vm(k: Kernel) -> kvm | None:
    """Allocate a VM; what an architecture has that brings no function of its own."""
    memory = kzalloc(k, "struct kvm")
    return kvm(memory) if memory else None


@kernel_function()
def kvm_arch_free_vm(k: Kernel, kvm: kvm) -> None:
    """Free a VM; what an architecture has that brings no function of its own."""
    __kvm_arch_free_vm(k, kvm)


def __kvm_arch_free_vm(k: Kernel, kvm: kvm) -> None:
    """Free the memory of a VM."""
    kvfree(k, kvm.memory)
