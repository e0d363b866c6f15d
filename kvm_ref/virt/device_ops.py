# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors virt/kvm/kvm_main.c: the table of in-kernel devices that a VM can be given."""

from __future__ import annotations

from kvm_ref.errno import EEXIST, ENOSPC, KernelError
from kvm_ref.kernel import Kernel, Statics
from kvm_ref.vocabulary import kernel_function

# include/uapi/linux/kvm.h: enum kvm_device_type.
KVM_DEV_TYPE_VFIO = 4
KVM_DEV_TYPE_ARM_VGIC_V2 = 5
KVM_DEV_TYPE_FLIC = 6
KVM_DEV_TYPE_ARM_VGIC_V3 = 7
KVM_DEV_TYPE_ARM_VGIC_ITS = 8
KVM_DEV_TYPE_XIVE = 9
KVM_DEV_TYPE_RISCV_AIA = 11
KVM_DEV_TYPE_MAX = 12


class DeviceOps(Statics):
    """The table kvm_device_ops_table of virt/kvm/kvm_main.c."""

    __slots__ = ("kvm_device_ops_table",)
    module = "kvm"

    def __init__(self) -> None:
        self.kvm_device_ops_table: dict[int, str] = {}


@kernel_function(fails=(EEXIST, ENOSPC), acquires="device_ops", obj="type", args=("type",))
def kvm_register_device_ops(k: Kernel, ops: str, type: int) -> None:
    """Enter a device; -ENOSPC if the table has no such place, -EEXIST if the place is taken."""
    if type >= KVM_DEV_TYPE_MAX:
        raise KernelError(ENOSPC)

    if type in k[DeviceOps].kvm_device_ops_table:
        raise KernelError(EEXIST)

    k[DeviceOps].kvm_device_ops_table[type] = ops


@kernel_function(releases="device_ops", args=("type",), idempotent=True)
def kvm_unregister_device_ops(k: Kernel, type: int) -> None:
    """Strike a device out; a place that is free already is legal."""
    k[DeviceOps].kvm_device_ops_table.pop(type, None)
