# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors arch/arm64/kvm/vgic/vgic-v3.c: hosts with a GICv3."""

from __future__ import annotations

from arch.arm64.kvm.arm_data import KVM_MODE_PROTECTED, kvm_get_mode
from arch.arm64.kvm.hyp.vgic_v3_sr import __vgic_v3_get_gic_config
from arch.arm64.kvm.vgic.vgic_data import GIC_V3, Vgic, gic_kvm_info
from arch.arm64.kvm.vgic.vgic_kvm_device import kvm_register_vgic_device
from kvm_ref.errno import EEXIST, KernelError
from kvm_ref.kernel import Kernel
from kvm_ref.linux.printk import pr_err, pr_info, pr_warn
from kvm_ref.virt.device_ops import (
    KVM_DEV_TYPE_ARM_VGIC_V2,
    KVM_DEV_TYPE_ARM_VGIC_V3,
    kvm_unregister_device_ops,
)
from kvm_ref.vocabulary import kernel_function


@kernel_function(fails=EEXIST)
def vgic_v3_probe(k: Kernel, info: gic_kvm_info) -> None:
    """Let VMs have a GICv3, and where the hardware can play one, a GICv2."""
    g = k[Vgic]
    ich_vtr_el2 = __vgic_v3_get_gic_config(k)
    has_v2 = ich_vtr_el2 >> 63

    g.nr_lr = (ich_vtr_el2 & 0xF) + 1

    if not info.vcpu:
        pr_info(k, "kvm: GICv3: no GICV resource entry")
    elif not has_v2:
        pr_warn(k, "kvm: CPU interface incapable of MMIO access")
    elif not info.vcpu_aligned:
        pr_warn(k, "kvm: GICV physical address not page aligned")
    elif kvm_get_mode(k) != KVM_MODE_PROTECTED:
        try:
            kvm_register_vgic_device(k, KVM_DEV_TYPE_ARM_VGIC_V2)
        except KernelError:
            pr_err(k, "kvm: cannot register GICv2 KVM device")
            raise
    try:
        kvm_register_vgic_device(k, KVM_DEV_TYPE_ARM_VGIC_V3)
    except KernelError:
        pr_err(k, "kvm: cannot register GICv3 KVM device")
        kvm_unregister_device_ops(k, KVM_DEV_TYPE_ARM_VGIC_V2)
        raise

    g.vctrl_base = None
    g.type = GIC_V3
