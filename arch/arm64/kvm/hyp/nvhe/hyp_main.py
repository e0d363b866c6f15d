# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors arch/arm64/kvm/hyp/nvhe/hyp-main.c: the hypercalls that KVM makes while it comes up.

They run in EL2 of the CPU that makes them. With VHE the kernel calls the same functions directly.
"""

from __future__ import annotations

from arch.arm64.kernel.sysreg import HCR_EL2, HCR_VM
from arch.arm64.kvm.arm_data import Arm
from kvm_ref.errno import EINVAL, ENOMEM, EPERM, KernelError
from kvm_ref.kernel import Kernel
from kvm_ref.vocabulary import kernel_function


@kernel_function()
def __kvm_get_mdcr_el2(k: Kernel) -> int:
    """Return MDCR_EL2 of this CPU (arch/arm64/kvm/hyp/nvhe/debug-sr.c)."""
    return 0


@kernel_function(args=("slot",))
def __pkvm_cpu_set_vector(k: Kernel, slot: str) -> int:
    """Choose the vectors of this CPU's guests (arch/arm64/kvm/hyp/nvhe/mm.c: pkvm_cpu_set_vector)."""
    return 0


@kernel_function(fails=(ENOMEM, EINVAL))
def __pkvm_init(k: Kernel) -> None:
    """Divide the reserved memory, build page tables of EL2's own in it, and switch to them.

    Source: arch/arm64/kvm/hyp/nvhe/setup.c.
    """


@kernel_function(fails=(ENOMEM, EINVAL))
def __pkvm_create_private_mapping(k: Kernel) -> None:
    """Map pages where the host has no mapping of its own (arch/arm64/kvm/hyp/nvhe/mm.c)."""


@kernel_function(fails=EPERM)
def __pkvm_prot_finalize(k: Kernel) -> None:
    """Put the host of this CPU behind stage 2; -EPERM if it is there.

    Source: arch/arm64/kvm/hyp/nvhe/mem_protect.c.
    """
    params = k[Arm].hcr_el2
    if params[k.cpu] & HCR_VM:
        raise KernelError(EPERM)

    params[k.cpu] |= HCR_VM
    k.write(HCR_EL2, params[k.cpu])
