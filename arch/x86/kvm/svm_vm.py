# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors arch/x86/kvm/svm/svm.c: what AMD adds to a VM, with AVIC's and SEV's part.

AVIC's tables and the count that SRSO needs are all that a VM without vCPUs has of it.
"""

from __future__ import annotations

from arch.x86.kvm.kvm_host import kvm_arch
from arch.x86.kvm.svm_data import Svm
from kvm_ref.errno import ENOMEM, KernelError
from kvm_ref.kernel import Kernel, Statics
from kvm_ref.linux.gfp import __free_page, alloc_page, pages
from kvm_ref.linux.hashtable import hash_add, hash_del, hlist_node
from kvm_ref.linux.smp import on_each_cpu
from kvm_ref.unwind import ladder
from kvm_ref.virt.kvm_host import kvm
from kvm_ref.vocabulary import kernel_function


class kvm_svm(kvm_arch):
    """What an AMD VM has (arch/x86/kvm/svm/svm.h)."""

    __slots__ = ("avic_logical_id_table_page", "avic_physical_id_table_page", "hnode")

    def __init__(self, id: str) -> None:
        super().__init__(id)
        self.avic_logical_id_table_page: pages | None = None
        self.avic_physical_id_table_page: pages | None = None
        self.hnode = hlist_node(f"{id}.hnode")


class SvmVm(Statics):
    """The static variables of arch/x86/kvm/svm/svm.c that have to do with VMs."""

    __slots__ = ("srso_nr_vms",)
    module = "kvm_amd"

    def __init__(self) -> None:
        self.srso_nr_vms = 0


def to_kvm_svm(kvm: kvm) -> kvm_svm:
    """Return what AMD keeps for a VM (arch/x86/kvm/svm/svm.h)."""
    assert isinstance(kvm.arch, kvm_svm)
    return kvm.arch


@kernel_function()
def avic_vm_destroy(k: Kernel, kvm: kvm) -> None:
    """Free a VM's tables, as many as it has, and forget the VM (arch/x86/kvm/svm/avic.c)."""
    kvm_svm = to_kvm_svm(kvm)

    # The C asks enable_apicv, which svm_hardware_setup() makes equal to avic.
    if not k[Svm].avic:
        return

    if kvm_svm.avic_logical_id_table_page:
        __free_page(k, kvm_svm.avic_logical_id_table_page)
    if kvm_svm.avic_physical_id_table_page:
        __free_page(k, kvm_svm.avic_physical_id_table_page)

    hash_del(k, kvm_svm.hnode)


@kernel_function(fails=ENOMEM)
def avic_vm_init(k: Kernel, kvm: kvm) -> None:
    """Allocate a VM's tables, and let interrupts from the IOMMU find it (arch/x86/kvm/svm/avic.c).

    Raises:
        KernelError: ENOMEM, there is no memory.
    """
    kvm_svm = to_kvm_svm(kvm)

    if not k[Svm].avic:
        return

    with ladder(k) as goto:
        p_page = alloc_page(k, "avic_physical_id_table")
        with goto("free_avic"):
            if not p_page:
                raise KernelError(ENOMEM)

        kvm_svm.avic_physical_id_table_page = p_page

        l_page = alloc_page(k, "avic_logical_id_table")
        with goto("free_avic"):
            if not l_page:
                raise KernelError(ENOMEM)

        kvm_svm.avic_logical_id_table_page = l_page

        hash_add(k, "svm_vm_data_hash", kvm_svm.hnode)

        return

    if goto.reached("free_avic"):
        avic_vm_destroy(k, kvm)
    raise goto.error


@kernel_function()
def sev_vm_destroy(k: Kernel, kvm: kvm) -> None:
    """Give back what an encrypted guest has; others have nothing (arch/x86/kvm/svm/sev.c)."""


@kernel_function()
def svm_srso_clear_bp_spec_reduce(k: Kernel, ign: None) -> None:
    """Let this CPU speculate as before, if a vCPU that ran here has changed that."""


@kernel_function()
def svm_srso_vm_destroy(k: Kernel) -> None:
    """Count a VM less; after the last one, CPUs need not guard against SRSO."""
    g = k[SvmVm]
    if not k.features["srso_bp_spec_reduce"]:
        return

    g.srso_nr_vms -= 1
    if g.srso_nr_vms:
        return

    on_each_cpu(k, svm_srso_clear_bp_spec_reduce, None)


@kernel_function()
def svm_srso_vm_init(k: Kernel) -> None:
    """Count a VM more."""
    if not k.features["srso_bp_spec_reduce"]:
        return

    k[SvmVm].srso_nr_vms += 1


@kernel_function()
def svm_vm_destroy(k: Kernel, kvm: kvm) -> None:
    """Undo svm_vm_init()."""
    avic_vm_destroy(k, kvm)
    sev_vm_destroy(k, kvm)

    svm_srso_vm_destroy(k)


@kernel_function(fails=ENOMEM)
def svm_vm_init(k: Kernel, kvm: kvm) -> None:
    """Make a VM an AMD one.

    Raises:
        KernelError: what avic_vm_init() gives.
    """
    if k[Svm].avic:
        avic_vm_init(k, kvm)

    svm_srso_vm_init(k)
