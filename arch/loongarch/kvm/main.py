# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors arch/loongarch/kvm/main.c: loading and unloading kvm.ko, and the registers of each CPU.

There is no goto: each failing step returns, after undoing what must be undone.
"""

from __future__ import annotations

from arch.loongarch.kernel.csr import (
    CSR_GCFG_GCI_SECURE,
    CSR_GCFG_GCIP_SECURE,
    CSR_GCFG_MATC_ROOT,
    CSR_GCFG_MATP_ROOT,
    CSR_GSTAT_GIDBIT,
    CSR_GSTAT_GIDBIT_SHIFT,
    CSR_GTLBC_TOTI,
    CSR_GTLBC_USETGID,
    LOONGARCH_CSR_GCFG,
    LOONGARCH_CSR_GINTC,
    LOONGARCH_CSR_GSTAT,
    clear_csr_gtlbc,
    cpu_has_lvz,
    csr_read64,
    csr_write64,
    set_csr_gtlbc,
)
from arch.loongarch.kvm.tlb import kvm_flush_tlb_all
from kvm_ref.errno import EIO, ENODEV, ENOMEM, KernelError
from kvm_ref.kernel import Kernel, Statics
from kvm_ref.linux.cpumask import for_each_possible_cpu
from kvm_ref.linux.percpu import alloc_percpu, free_percpu, percpu_memory
from kvm_ref.linux.printk import pr_err, pr_info
from kvm_ref.linux.slab import kfree, kmemory, kzalloc
from kvm_ref.virt.kvm_main import kvm_exit, kvm_init
from kvm_ref.vocabulary import kernel_function


class kvm_context:
    """One CPU's part: the last VPID given out, and the vCPU that ran last (asm/kvm_host.h)."""

    __slots__ = ("last_vcpu", "vpid_cache")

    def __init__(self) -> None:
        self.vpid_cache = 0
        self.last_vcpu: object = None


class LoongArchKvm(Statics):
    """The static variables of arch/loongarch/kvm/main.c."""

    __slots__ = ("kvm_loongarch_ops", "vmcs", "vpid_mask")
    module = "kvm"

    def __init__(self) -> None:
        self.vpid_mask = 0
        self.kvm_loongarch_ops: kmemory | None = None
        self.vmcs: percpu_memory[kvm_context | None] | None = None


@kernel_function()
def kvm_init_gcsr_flag(k: Kernel) -> None:
    """Note which registers of a guest the CPU has, and which are emulated."""


# It returns 0 whatever happens, but to a caller that is ready for an error: one can be put in.
@kernel_function(fails=EIO)
def kvm_arch_enable_virtualization_cpu(k: Kernel) -> None:
    """Set up this CPU for guests, as far as the CPU can do it."""
    gcfg = 0

    env = csr_read64(k, LOONGARCH_CSR_GCFG)

    csr_write64(k, LOONGARCH_CSR_GCFG, 0)
    csr_write64(k, LOONGARCH_CSR_GSTAT, 0)
    csr_write64(k, LOONGARCH_CSR_GINTC, 0)
    clear_csr_gtlbc(k, CSR_GTLBC_USETGID | CSR_GTLBC_TOTI)

    if env & CSR_GCFG_GCIP_SECURE:
        gcfg |= CSR_GCFG_GCI_SECURE
    if env & CSR_GCFG_MATP_ROOT:
        gcfg |= CSR_GCFG_MATC_ROOT

    csr_write64(k, LOONGARCH_CSR_GCFG, gcfg)

    kvm_flush_tlb_all(k)

    set_csr_gtlbc(k, CSR_GTLBC_USETGID)

    # The guest's registers may be lost: whatever vCPU runs next must load its own.
    vmcs = k[LoongArchKvm].vmcs
    assert vmcs is not None
    context = vmcs.cpu[k.cpu]
    assert context is not None
    context.last_vcpu = None


@kernel_function()
def kvm_arch_disable_virtualization_cpu(k: Kernel) -> None:
    """Undo kvm_arch_enable_virtualization_cpu() on this CPU."""
    csr_write64(k, LOONGARCH_CSR_GCFG, 0)
    csr_write64(k, LOONGARCH_CSR_GSTAT, 0)
    csr_write64(k, LOONGARCH_CSR_GINTC, 0)
    clear_csr_gtlbc(k, CSR_GTLBC_USETGID | CSR_GTLBC_TOTI)

    kvm_flush_tlb_all(k)


@kernel_function(fails=ENOMEM)
def kvm_loongarch_env_init(k: Kernel) -> None:
    """Allocate each CPU's part and the table of what runs a guest."""
    g = k[LoongArchKvm]
    g.vmcs = alloc_percpu(k, "kvm_context", None)
    if not g.vmcs:
        pr_err(k, "kvm: no memory for percpu kvm_context")
        raise KernelError(ENOMEM)

    g.kvm_loongarch_ops = kzalloc(k, "kvm_world_switch")
    if not g.kvm_loongarch_ops:
        free_percpu(k, g.vmcs)
        g.vmcs = None
        raise KernelError(ENOMEM)

    g.vpid_mask = csr_read64(k, LOONGARCH_CSR_GSTAT)
    g.vpid_mask = (g.vpid_mask & CSR_GSTAT_GIDBIT) >> CSR_GSTAT_GIDBIT_SHIFT
    if g.vpid_mask:
        g.vpid_mask = (1 << g.vpid_mask) - 1

    for cpu in for_each_possible_cpu(k):
        context = g.vmcs.cpu[cpu] = kvm_context()
        context.vpid_cache = g.vpid_mask + 1
        context.last_vcpu = None

    kvm_init_gcsr_flag(k)


@kernel_function()
def kvm_loongarch_env_exit(k: Kernel) -> None:
    """Undo kvm_loongarch_env_init()."""
    g = k[LoongArchKvm]
    if g.vmcs:
        free_percpu(k, g.vmcs)

    if g.kvm_loongarch_ops:
        kfree(k, g.kvm_loongarch_ops)


@kernel_function(fails=ENODEV)
def kvm_loongarch_init(k: Kernel) -> None:
    """Run when kvm.ko is loaded."""
    if not cpu_has_lvz(k):
        pr_info(k, "kvm: the CPU has no virtualization extension")
        raise KernelError(ENODEV)
    kvm_loongarch_env_init(k)

    try:
        kvm_init(k, "kvm")
    except KernelError:
        kvm_loongarch_env_exit(k)
        raise


@kernel_function()
def kvm_loongarch_exit(k: Kernel) -> None:
    """Run when kvm.ko is unloaded."""
    kvm_exit(k)
    kvm_loongarch_env_exit(k)
