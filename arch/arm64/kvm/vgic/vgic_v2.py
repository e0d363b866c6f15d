# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors arch/arm64/kvm/vgic/vgic-v2.c: hosts with a GICv2."""

from __future__ import annotations

from arch.arm64.kernel.virt import is_protected_kvm_enabled
from arch.arm64.kvm.mmu import create_hyp_io_mappings
from arch.arm64.kvm.vgic.vgic_data import GIC_V2, Vgic, gic_kvm_info
from arch.arm64.kvm.vgic.vgic_kvm_device import kvm_register_vgic_device
from kvm_ref.errno import ENXIO, KernelError
from kvm_ref.kernel import Kernel
from kvm_ref.linux.io import iomem, iounmap
from kvm_ref.linux.jump_label import static_branch_enable
from kvm_ref.linux.printk import pr_err, pr_info
from kvm_ref.unwind import ladder
from kvm_ref.virt.device_ops import KVM_DEV_TYPE_ARM_VGIC_V2
from kvm_ref.vocabulary import kernel_function


@kernel_function()
def vgic_v2_init_lrs(k: Kernel) -> None:
    """Clear the list registers of this CPU."""


@kernel_function(fails=ENXIO)
def vgic_v2_probe(k: Kernel, info: gic_kvm_info) -> None:
    """Map the controller's registers, and let VMs have one like it."""
    g = k[Vgic]
    if is_protected_kvm_enabled(k):
        pr_err(k, "kvm: GICv2 not supported in protected mode")
        raise KernelError(ENXIO)

    if not info.vctrl:
        pr_err(k, "kvm: GICH not present in the firmware table")
        raise KernelError(ENXIO)

    vcpu_base_va: list[iomem | None] = [g.vcpu_base_va]
    vctrl_base: list[iomem | None] = [g.vctrl_base]
    with ladder(k) as goto:
        if not info.vcpu_aligned:
            pr_info(k, "kvm: GICV region size/alignment is unsafe, using trapping")

            with goto("out"):
                try:
                    create_hyp_io_mappings(k, "GICV", vcpu_base_va)
                except KernelError:
                    pr_err(k, "kvm: cannot map GICV into hyp")
                    raise
                finally:
                    g.vcpu_base_va = vcpu_base_va[0]

            static_branch_enable(k, g.vgic_v2_cpuif_trap)

        with goto("out"):
            try:
                create_hyp_io_mappings(k, "GICH", vctrl_base)
            except KernelError:
                pr_err(k, "kvm: cannot map VCTRL into hyp")
                raise
            finally:
                g.vctrl_base = vctrl_base[0]

        g.nr_lr = 4

        with goto("out"):
            try:
                kvm_register_vgic_device(k, KVM_DEV_TYPE_ARM_VGIC_V2)
            except KernelError:
                pr_err(k, "kvm: cannot register GICv2 KVM device")
                raise

        g.type = GIC_V2
        return

    if goto.reached("out"):
        if g.vctrl_base:
            iounmap(k, g.vctrl_base)
        if g.vcpu_base_va:
            iounmap(k, g.vcpu_base_va)

    raise goto.error
