# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors arch/arm64/kvm/vgic/vgic.c: what KVM knows of the host's interrupt controller."""

from __future__ import annotations

import attrs

from kvm_ref.kernel import Statics
from kvm_ref.linux.io import iomem
from kvm_ref.linux.jump_label import static_key
from kvm_ref.linux.slab import kmemory

GIC_V2 = "GIC_V2"
GIC_V3 = "GIC_V3"


@attrs.frozen
class gic_kvm_info:
    """What the driver of the interrupt controller tells KVM (linux/irqchip/arm-vgic-info.h).

    Attributes:
        type: GIC_V2 or GIC_V3.
        vcpu: firmware describes the CPU interface that guests use.
        vcpu_aligned: it fills whole pages.
        vctrl: firmware describes the interface that hypervisors use, of GICv2.
        maint_irq: the maintenance interrupt, 0 if there is none.
        no_maint_irq_mask: it cannot be masked, and may be missing.
        no_hw_deactivation: a guest cannot deactivate a hardware interrupt.
    """

    type: str
    vcpu: bool
    vcpu_aligned: bool
    vctrl: bool
    maint_irq: int
    no_maint_irq_mask: bool
    no_hw_deactivation: bool


class Vgic(Statics):
    """The static variables of arch/arm64/kvm/vgic: gic_kvm_info, and the parts of kvm_vgic_global_state.

    `gic_kvm_info` is the memory, `info` what it holds.
    """

    __slots__ = (
        "gic_kvm_info", "gicv3_cpuif", "info", "maint_irq", "no_hw_deactivation", "nr_lr", "type",
        "vcpu_base_va", "vctrl_base", "vgic_v2_cpuif_trap",
    )  # fmt: skip
    module = "kvm"

    def __init__(self) -> None:
        self.gic_kvm_info: kmemory | None = None
        self.info: gic_kvm_info | None = None
        self.type = GIC_V2
        self.maint_irq = 0
        self.nr_lr = 0
        self.no_hw_deactivation = False
        self.vctrl_base: iomem | None = None
        self.vcpu_base_va: iomem | None = None
        self.gicv3_cpuif = static_key("kvm_vgic_global_state.gicv3_cpuif")
        self.vgic_v2_cpuif_trap = static_key("vgic_v2_cpuif_trap")
