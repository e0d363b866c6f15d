# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors arch/riscv/kvm/vmid.c: the numbers that tell VMs apart in the TLB."""

from __future__ import annotations

from arch.riscv.kernel.csr import (
    CSR_HGATP,
    HGATP_MODE_SHIFT,
    HGATP_VMID,
    HGATP_VMID_SHIFT,
    csr_read,
    csr_write,
    fls_long,
)
from arch.riscv.kvm.mmu import kvm_riscv_gstage_mode
from arch.riscv.kvm.tlb import kvm_riscv_local_hfence_gvma_all
from kvm_ref.kernel import Kernel, Statics
from kvm_ref.linux.cpumask import for_each_possible_cpu
from kvm_ref.vocabulary import kernel_function


class Vmid(Statics):
    """The static variables of arch/riscv/kvm/vmid.c."""

    __slots__ = ("vmid_bits",)
    module = "kvm"

    def __init__(self) -> None:
        self.vmid_bits = 0


@kernel_function()
def kvm_riscv_gstage_vmid_detect(k: Kernel) -> None:
    """Find how many bits a VMID has; too few for the CPUs count as none."""
    g = k[Vmid]
    old = csr_read(k, CSR_HGATP)
    csr_write(k, CSR_HGATP, kvm_riscv_gstage_mode(k) << HGATP_MODE_SHIFT | HGATP_VMID)
    g.vmid_bits = csr_read(k, CSR_HGATP)
    g.vmid_bits = (g.vmid_bits & HGATP_VMID) >> HGATP_VMID_SHIFT
    g.vmid_bits = fls_long(g.vmid_bits)
    csr_write(k, CSR_HGATP, old)

    kvm_riscv_local_hfence_gvma_all(k)

    if 1 << g.vmid_bits < len(for_each_possible_cpu(k)):
        g.vmid_bits = 0


def kvm_riscv_gstage_vmid_bits(k: Kernel) -> int:
    """Return how many bits of a VMID are used."""
    return k[Vmid].vmid_bits
