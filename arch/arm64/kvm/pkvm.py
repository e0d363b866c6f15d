# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors arch/arm64/kvm/pkvm.c: the memory of protected KVM, and the point of no return.

Both functions run at boot beside kvm_arm_init(): the one long before it, the other after it.
"""

from __future__ import annotations

from arch.arm64.kernel.virt import (
    is_hyp_mode_available,
    is_kernel_in_hyp_mode,
    is_protected_kvm_enabled,
)
from arch.arm64.kvm.arm_data import KVM_MODE_PROTECTED, Arm, kvm_get_mode
from arch.arm64.kvm.hyp.nvhe.hyp_main import __pkvm_prot_finalize
from arch.arm64.kvm.pkvm_data import Pkvm
from kvm_ref.errno import EINVAL, ENOMEM, KernelError
from kvm_ref.kernel import Kernel
from kvm_ref.linux.jump_label import static_branch_enable
from kvm_ref.linux.memblock import memblock_phys_alloc
from kvm_ref.linux.printk import WARN_ON, pr_err, pr_info
from kvm_ref.linux.smp import on_each_cpu
from kvm_ref.vocabulary import kernel_function

PAGE_SIZE = 1 << 12
PMD_SIZE = 1 << 21
# What the tables of EL2 take together, which depends on the machine's memory.
HYP_MEM_SIZE = 0x123_4000


@kernel_function(fails=ENOMEM)
def register_memblock_regions(k: Kernel) -> None:
    """Tell EL2 where memory is; -ENOMEM if it has no room for that many regions."""


@kernel_function()
def kvm_hyp_reserve(k: Kernel) -> None:
    """Set memory aside for protected KVM; without it kvm_arm_init() will fail."""
    g = k[Pkvm]
    if not is_hyp_mode_available(k) or is_kernel_in_hyp_mode(k):
        return

    if kvm_get_mode(k) != KVM_MODE_PROTECTED:
        return

    try:
        register_memblock_regions(k)
    except KernelError:
        pr_err(k, "kvm: failed to register hyp memblocks")
        return

    g.hyp_mem_size = HYP_MEM_SIZE
    aligned = (HYP_MEM_SIZE + PMD_SIZE - 1) & -PMD_SIZE
    g.hyp_mem_base = memblock_phys_alloc(k, aligned, PMD_SIZE)
    if not g.hyp_mem_base:
        g.hyp_mem_base = memblock_phys_alloc(k, g.hyp_mem_size, PAGE_SIZE)
    else:
        g.hyp_mem_size = aligned

    if not g.hyp_mem_base:
        pr_err(k, "kvm: failed to reserve hyp memory")
        return

    pr_info(k, f"kvm: reserved {g.hyp_mem_size >> 20} MiB")


@kernel_function()
def _kvm_host_prot_finalize(k: Kernel, err: list[int]) -> None:
    """Give up this CPU's rights over EL2; what it costs is left in `err`."""
    try:
        __pkvm_prot_finalize(k)
    except KernelError:
        WARN_ON(k, True, "kvm_call_hyp_nvhe(__pkvm_prot_finalize)")
        err[0] = -EINVAL


@kernel_function(fails=EINVAL)
def pkvm_drop_host_privileges(k: Kernel) -> None:
    """Give up the rights of every CPU over EL2."""
    ret = [0]
    # First, because the host may no longer patch its code once stage 2 is in force.
    static_branch_enable(k, k[Pkvm].kvm_protected_mode_initialized)
    on_each_cpu(k, _kvm_host_prot_finalize, ret)
    if ret[0]:
        raise KernelError(EINVAL)


@kernel_function(fails=EINVAL)
def finalize_pkvm(k: Kernel) -> None:
    """Seal EL2 off, if protected KVM came up; from here on nothing takes it back."""
    if not is_protected_kvm_enabled(k) or not k[Arm].kvm_arm_initialised:
        return

    try:
        pkvm_drop_host_privileges(k)
    except KernelError:
        pr_err(k, "kvm: failed to finalize Hyp protection")
        raise
