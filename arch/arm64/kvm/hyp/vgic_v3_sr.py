# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors arch/arm64/kvm/hyp/vgic-v3-sr.c: the part of GICv3 that only EL2 reaches."""

from __future__ import annotations

from kvm_ref.kernel import Kernel
from kvm_ref.vocabulary import kernel_function


@kernel_function()
def __vgic_v3_init_lrs(k: Kernel) -> None:
    """Clear the list registers of this CPU."""


@kernel_function()
def __vgic_v3_get_gic_config(k: Kernel) -> int:
    """Return ICH_VTR_EL2, and in bit 63 whether the CPU interface also works as a GICv2's."""
    return (k.features["gicv_mmio"] << 63) | 3
