# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors arch/arm64/kvm/arm.c: the vectors that a guest's exceptions reach, one set for each kind of CPU."""

from __future__ import annotations

from arch.arm64.kernel.virt import is_kernel_in_hyp_mode, is_protected_kvm_enabled
from arch.arm64.kvm.arm_data import Arm
from arch.arm64.kvm.hyp.nvhe.hyp_main import __pkvm_cpu_set_vector
from arch.arm64.kvm.mmu import create_hyp_exec_mappings
from kvm_ref.errno import ENOMEM
from kvm_ref.kernel import Kernel
from kvm_ref.vocabulary import kernel_function

# asm/spectre.h: enum arm64_hyp_spectre_vector.
HYP_VECTOR_DIRECT = "HYP_VECTOR_DIRECT"
HYP_VECTOR_SPECTRE_DIRECT = "HYP_VECTOR_SPECTRE_DIRECT"
HYP_VECTOR_INDIRECT = "HYP_VECTOR_INDIRECT"
HYP_VECTOR_SPECTRE_INDIRECT = "HYP_VECTOR_SPECTRE_INDIRECT"


def kvm_system_needs_idmapped_vectors(k: Kernel) -> bool:
    """Say whether a CPU gives addresses away by speculation: Cortex-A57 and A72, which lack VHE."""
    return k.features["spectre_v3a"] and not is_kernel_in_hyp_mode(k)


def kvm_init_vector_slot(k: Kernel, base: str, slot: str) -> None:
    """Note where the vectors of a slot are."""
    k[Arm].hyp_spectre_vector_selector[slot] = base


@kernel_function(fails=ENOMEM)
def kvm_init_vector_slots(k: Kernel) -> None:
    """Lay the vectors out, with a second mapping of them where addresses must not be given away."""
    base = "__kvm_hyp_vector"
    kvm_init_vector_slot(k, base, HYP_VECTOR_DIRECT)

    base = "__bp_harden_hyp_vecs"
    kvm_init_vector_slot(k, base, HYP_VECTOR_SPECTRE_DIRECT)

    if kvm_system_needs_idmapped_vectors(k) and not is_protected_kvm_enabled(k):
        create_hyp_exec_mappings(k, "__bp_harden_hyp_vecs")
        base = "__bp_harden_hyp_vecs beside the idmap"

    kvm_init_vector_slot(k, base, HYP_VECTOR_INDIRECT)
    kvm_init_vector_slot(k, base, HYP_VECTOR_SPECTRE_INDIRECT)


@kernel_function()
def cpu_set_hyp_vector(k: Kernel) -> None:
    """Choose the vectors of this CPU's guests."""
    g = k[Arm]
    slot = HYP_VECTOR_INDIRECT if kvm_system_needs_idmapped_vectors(k) else HYP_VECTOR_DIRECT

    if not is_protected_kvm_enabled(k):
        g.kvm_hyp_vector[k.cpu] = g.hyp_spectre_vector_selector[slot]
    else:
        __pkvm_cpu_set_vector(k, slot)
