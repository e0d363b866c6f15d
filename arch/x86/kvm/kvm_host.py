# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors arch/x86/include/asm/kvm_host.h: what x86 keeps for each VM."""

from __future__ import annotations

from kvm_ref.linux.slab import kmemory
from kvm_ref.linux.srcu import srcu_struct

# Memory slots that KVM makes for itself come after those of user space.
KVM_USER_MEM_SLOTS = 0x7FFF - 3
TSS_PRIVATE_MEMSLOT = KVM_USER_MEM_SLOTS
APIC_ACCESS_PAGE_PRIVATE_MEMSLOT = KVM_USER_MEM_SLOTS + 1
IDENTITY_PAGETABLE_PRIVATE_MEMSLOT = KVM_USER_MEM_SLOTS + 2


class kvm_arch:
    """What every x86 VM has; a vendor's structure for a VM begins with it.

    Args:
        id: the name of the VM in a trace.
    """

    __slots__ = ("hv_pa_pg", "mmu_page_hash", "track_srcu")

    def __init__(self, id: str) -> None:
        self.track_srcu = srcu_struct(f"{id}.track_srcu")
        self.mmu_page_hash: kmemory | None = None
        # A page for Hyper-V below KVM; only a vCPU brings it.
        self.hv_pa_pg: kmemory | None = None
