# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors arch/arm64/kvm/nested.c: room for the stage 2 of each guest's guests, in every VM."""

from __future__ import annotations

from arch.arm64.kvm.stage2 import kvm_uninit_stage2_mmu
from arch.arm64.linux.slab import kvmalloc_objs
from kvm_ref.errno import ENOMEM, KernelError
from kvm_ref.kernel import Kernel
from kvm_ref.linux.slab import kvfree
from kvm_ref.virt.kvm_host import kvm
from kvm_ref.vocabulary import kernel_function


@kernel_function(fails=ENOMEM)
def kvm_init_nested(k: Kernel, kvm: kvm) -> None:
    """Allocate the array of pointers to them, whether nested virtualization is in use or not.

    Raises:
        KernelError: ENOMEM, there is no memory.
    """
    kvm.arch.nested_mmus = kvmalloc_objs(k, "kvm_s2_mmu *")

    if not kvm.arch.nested_mmus:
        raise KernelError(ENOMEM)


@kernel_function()
def kvm_arch_flush_shadow_all(k: Kernel, kvm: kvm) -> None:
    """Free the stage 2 of a VM, as the memory behind it goes; none of its VCPUs runs any more."""
    kvm_uninit_stage2_mmu(k, kvm)


@kernel_function()
def kvm_destroy_nested(k: Kernel, kvm: kvm) -> None:
    """Free the array, which nobody has put anything into."""
    kvfree(k, kvm.arch.nested_mmus)
