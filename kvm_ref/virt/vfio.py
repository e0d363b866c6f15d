# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors virt/kvm/vfio.c: the device that couples VFIO groups with a VM."""

from __future__ import annotations

from kvm_ref.errno import EEXIST
from kvm_ref.kernel import Kernel
from kvm_ref.virt.device_ops import (
    KVM_DEV_TYPE_VFIO,
    kvm_register_device_ops,
    kvm_unregister_device_ops,
)  # fmt: skip
from kvm_ref.vocabulary import kernel_function


@kernel_function(fails=EEXIST, config="KVM_VFIO")
def kvm_vfio_ops_init(k: Kernel) -> None:
    """Enter the VFIO device."""
    kvm_register_device_ops(k, "kvm_vfio_ops", KVM_DEV_TYPE_VFIO)


@kernel_function(config="KVM_VFIO")
def kvm_vfio_ops_exit(k: Kernel) -> None:
    """Strike the VFIO device out."""
    kvm_unregister_device_ops(k, KVM_DEV_TYPE_VFIO)
