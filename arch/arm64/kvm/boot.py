# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors include/linux/init.h: what a boot runs for KVM, which is built in, and in which order.

Memory is reserved early; the interrupt controller's driver then says what it has; kvm_arm_init()
is a device_initcall, finalize_pkvm() a device_initcall_sync behind it.
"""

from __future__ import annotations

from arch.arm64.kernel.virt import is_kernel_in_hyp_mode
from arch.arm64.kvm.arm import kvm_arm_init
from arch.arm64.kvm.pkvm import finalize_pkvm, kvm_hyp_reserve
from arch.arm64.kvm.vgic.vgic_data import GIC_V2, GIC_V3, gic_kvm_info
from arch.arm64.kvm.vgic.vgic_init import vgic_set_kvm_info
from kvm_ref.kernel import Kernel
from kvm_ref.unwind import unchecked
from kvm_ref.vocabulary import kernel_function

# The maintenance interrupt's number on most machines.
MAINT_PPI = 25


def host_controller(k: Kernel) -> gic_kvm_info:
    """Return what the driver of this machine's interrupt controller tells KVM."""
    apple_aic = k.features["apple_aic"]
    # Apple's controller has one for a kernel that runs in EL2 only.
    maint_irq = k.features["maint_irq"] and (not apple_aic or is_kernel_in_hyp_mode(k))
    return gic_kvm_info(
        type=GIC_V2 if k.features["gicv2"] else GIC_V3,
        vcpu=k.features["gicv"] and not apple_aic,
        vcpu_aligned=k.features["gicv_aligned"],
        vctrl=k.features["gich"],
        maint_irq=MAINT_PPI if maint_irq else 0,
        no_maint_irq_mask=apple_aic,
        no_hw_deactivation=apple_aic,
    )


@kernel_function()
def do_initcall_level(k: Kernel) -> None:
    """Run the initcalls behind kvm_arm_init(); what they return, nobody asks (init/main.c)."""
    with unchecked:
        finalize_pkvm(k)


def boot(k: Kernel) -> None:
    """Run all four; finalize_pkvm() would find nothing to seal if kvm_arm_init() failed."""
    kvm_hyp_reserve(k)
    vgic_set_kvm_info(k, host_controller(k))
    kvm_arm_init(k)
    do_initcall_level(k)
