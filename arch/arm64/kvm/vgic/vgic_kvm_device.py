# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors arch/arm64/kvm/vgic/vgic-kvm-device.c: the interrupt controllers that a VM can be given."""

from __future__ import annotations

from kvm_ref.errno import EEXIST
from kvm_ref.kernel import Kernel
from kvm_ref.virt.device_ops import (
    KVM_DEV_TYPE_ARM_VGIC_ITS,
    KVM_DEV_TYPE_ARM_VGIC_V2,
    KVM_DEV_TYPE_ARM_VGIC_V3,
    kvm_register_device_ops,
)
from kvm_ref.vocabulary import kernel_function


@kernel_function(fails=EEXIST)
def kvm_vgic_register_its_device(k: Kernel) -> None:
    """Enter the interrupt translation service (arch/arm64/kvm/vgic/vgic-its.c)."""
    kvm_register_device_ops(k, "kvm_arm_vgic_its_ops", KVM_DEV_TYPE_ARM_VGIC_ITS)


@kernel_function(fails=EEXIST, args=("type",))
def kvm_register_vgic_device(k: Kernel, type: int) -> None:
    """Enter a controller, and with GICv3 its ITS; GICv3 stays if the ITS fails."""
    if type == KVM_DEV_TYPE_ARM_VGIC_V2:
        kvm_register_device_ops(k, "kvm_arm_vgic_v2_ops", KVM_DEV_TYPE_ARM_VGIC_V2)
    else:
        kvm_register_device_ops(k, "kvm_arm_vgic_v3_ops", KVM_DEV_TYPE_ARM_VGIC_V3)

        kvm_vgic_register_its_device(k)
