# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors arch/arm64/kvm/mmu.c: a VM's stage 2, from its first level to its end.

In 6.12.117 it does not end in kvm_arch_destroy_vm(): kvm_arch_flush_shadow_all() ends it, which the common
code calls when the process's memory goes, or when it gives the notifier for it up.
"""

from __future__ import annotations

from arch.arm64.kernel.cpufeature import (
    ID_AA64MMFR0_EL1_PARANGE_48,
    cpuid_feature_extract_unsigned_field,
    get_vmid_bits,
)
from arch.arm64.kernel.virt import is_protected_kvm_enabled
from arch.arm64.kvm.hyp.pgtable_stage2 import (
    __kvm_pgtable_stage2_init,
    kvm_pgtable_stage2_destroy,
    stage2_mm_ops,
    stage2_pgtable,
)
from arch.arm64.kvm.reset import Reset
from arch.arm64.kvm.vm_data import kvm_s2_mmu
from arch.arm64.linux.gfp import alloc_pages_exact, free_pages_exact
from kvm_ref.errno import EINVAL, ENOMEM, KernelError
from kvm_ref.kernel import Kernel
from kvm_ref.linux.gfp import pages
from kvm_ref.linux.percpu import alloc_percpu, free_percpu
from kvm_ref.linux.printk import pr_err, pr_warn
from kvm_ref.linux.slab import kfree, kzalloc
from kvm_ref.unwind import ladder
from kvm_ref.virt.kvm_host import kvm
from kvm_ref.vocabulary import NULL, kernel_function

# linux/kvm.h, asm/kvm_arm.h, asm/kvm_mmu.h and asm/sysreg.h.
KVM_VM_TYPE_ARM_IPA_SIZE_MASK = 0xFF
KVM_PHYS_SHIFT = 40
ARM64_MIN_PARANGE_BITS = 32
VTCR_EL2_PS_SHIFT = 16
VTCR_EL2_VS_8BIT = 0
VTCR_EL2_VS_16BIT = 1 << 19


def kvm_get_parange(k: Kernel) -> int:
    """Return how many address bits the CPUs have, as in PARANGE, but no more than KVM uses."""
    return min(
        cpuid_feature_extract_unsigned_field(k, "ID_AA64MMFR0_EL1_PARANGE"), ID_AA64MMFR0_EL1_PARANGE_48
    )


def kvm_get_vtcr(k: Kernel, phys_shift: int) -> int:
    """Return VTCR_EL2 for guests with so many address bits; of its fields, PS, T0SZ and VS."""
    vtcr = kvm_get_parange(k) << VTCR_EL2_PS_SHIFT
    vtcr |= 64 - phys_shift
    vtcr |= VTCR_EL2_VS_16BIT if get_vmid_bits(k) == 16 else VTCR_EL2_VS_8BIT
    return vtcr


@kernel_function(fails=NULL)
def kvm_s2_zalloc_pages_exact(k: Kernel) -> pages | None:
    """Allocate the pages of a first level."""
    return alloc_pages_exact(k, "stage2_pgd")


@kernel_function()
def kvm_s2_free_pages_exact(k: Kernel, virt: pages) -> None:
    """Free the pages of a first level."""
    free_pages_exact(k, virt)


kvm_s2_mm_ops = stage2_mm_ops(
    zalloc_pages_exact=kvm_s2_zalloc_pages_exact, free_pages_exact=kvm_s2_free_pages_exact
)


@kernel_function(fails=EINVAL, args=("type",))
def kvm_init_ipa_range(k: Kernel, mmu: kvm_s2_mmu, type: int) -> None:
    """Read from a VM's type how many address bits it has; 0 means 40, and EL2 takes what there is.

    Raises:
        KernelError: EINVAL, the type says something else as well, or there are not as many.
    """
    kvm_ipa_limit = k[Reset].kvm_ipa_limit

    if type & ~KVM_VM_TYPE_ARM_IPA_SIZE_MASK:
        raise KernelError(EINVAL)

    phys_shift = type & KVM_VM_TYPE_ARM_IPA_SIZE_MASK
    if is_protected_kvm_enabled(k):
        phys_shift = kvm_ipa_limit
    elif phys_shift:
        if phys_shift > kvm_ipa_limit or phys_shift < ARM64_MIN_PARANGE_BITS:
            raise KernelError(EINVAL)
    else:
        phys_shift = KVM_PHYS_SHIFT
        if phys_shift > kvm_ipa_limit:
            pr_warn(k, f"kvm: {k.at.task} using unsupported default IPA limit")
            raise KernelError(EINVAL)

    mmu.vtcr = kvm_get_vtcr(k, phys_shift)


@kernel_function(fails=(ENOMEM, EINVAL))
def kvm_init_stage2_mmu(k: Kernel, kvm: kvm, mmu: kvm_s2_mmu, type: int) -> None:
    """Make an empty stage 2.

    Raises:
        KernelError: ENOMEM, or EINVAL: the type is none, or there is a stage 2.
    """
    if mmu.pgt is not None:
        pr_err(k, "kvm: kvm_arch already initialized")
        raise KernelError(EINVAL)

    kvm_init_ipa_range(k, mmu, type)

    memory = kzalloc(k, "kvm_pgtable")
    if not memory:
        raise KernelError(ENOMEM)
    pgt = stage2_pgtable(memory.id)

    with ladder(k) as goto:
        with goto("out_free_pgtable"):
            __kvm_pgtable_stage2_init(k, pgt, kvm_s2_mm_ops)

        mmu.last_vcpu_ran = alloc_percpu(k, "last_vcpu_ran", -1)
        with goto("out_destroy_pgtable"):
            if not mmu.last_vcpu_ran:
                raise KernelError(ENOMEM)

        mmu.pgt = pgt
        return

    if goto.reached("out_destroy_pgtable"):
        kvm_pgtable_stage2_destroy(k, pgt)
    if goto.reached("out_free_pgtable"):
        kfree(k, pgt)
    raise goto.error


@kernel_function()
def kvm_free_stage2_pgd(k: Kernel, mmu: kvm_s2_mmu) -> None:
    """Free a stage 2, if it is there."""
    pgt = mmu.pgt
    if pgt:
        mmu.pgt = None
        free_percpu(k, mmu.last_vcpu_ran)

    if pgt:
        kvm_pgtable_stage2_destroy(k, pgt)
        kfree(k, pgt)


@kernel_function()
def kvm_uninit_stage2_mmu(k: Kernel, kvm: kvm) -> None:
    """Free the stage 2 of a VM, if it is there."""
    kvm_free_stage2_pgd(k, kvm.arch.mmu)
