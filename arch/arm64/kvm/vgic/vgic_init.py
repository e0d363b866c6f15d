# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors arch/arm64/kvm/vgic/vgic-init.c: the host's interrupt controller, as KVM makes use of it."""

from __future__ import annotations

from arch.arm64.kvm.hyp.vgic_v3_sr import __vgic_v3_init_lrs
from arch.arm64.kvm.vgic.vgic_data import GIC_V2, Vgic, gic_kvm_info
from arch.arm64.kvm.vgic.vgic_v2 import vgic_v2_init_lrs, vgic_v2_probe
from arch.arm64.kvm.vgic.vgic_v3 import vgic_v3_probe
from kvm_ref.errno import ENODEV, ENXIO, KernelError
from kvm_ref.kernel import Kernel
from kvm_ref.linux.interrupt import disable_percpu_irq, enable_percpu_irq, request_percpu_irq
from kvm_ref.linux.jump_label import static_branch_enable
from kvm_ref.linux.printk import BUG_ON, pr_err, pr_info
from kvm_ref.linux.slab import kfree, kmalloc
from kvm_ref.vocabulary import kernel_function


@kernel_function()
def kvm_vgic_cpu_up(k: Kernel) -> None:
    """Enable the maintenance interrupt on this CPU; 0, which stands for none, is enabled in vain."""
    enable_percpu_irq(k, k[Vgic].maint_irq, 0)


@kernel_function()
def kvm_vgic_cpu_down(k: Kernel) -> None:
    """Disable the maintenance interrupt on this CPU."""
    disable_percpu_irq(k, k[Vgic].maint_irq)


@kernel_function()
def vgic_set_kvm_info(k: Kernel, info: gic_kvm_info) -> None:
    """Keep what the controller's driver says, until kvm_vgic_hyp_init() comes for it."""
    g = k[Vgic]
    BUG_ON(k, g.gic_kvm_info, "gic_kvm_info != NULL")
    g.gic_kvm_info = kmalloc(k, "gic_kvm_info")
    if g.gic_kvm_info:
        g.info = info


@kernel_function()
def kvm_vgic_init_cpu_hardware(k: Kernel) -> None:
    """Clear the list registers of this CPU."""
    if k[Vgic].type == GIC_V2:
        vgic_v2_init_lrs(k)
    else:
        __vgic_v3_init_lrs(k)


@kernel_function(fails=(ENODEV, ENXIO))
def kvm_vgic_hyp_init(k: Kernel) -> None:
    """Look at the host's controller, and take its maintenance interrupt.

    Raises:
        KernelError: ENODEV or ENXIO if there is none that KVM can use, which KVM can live with;
            another errno is the end of it.
    """
    g = k[Vgic]
    if not g.gic_kvm_info:
        raise KernelError(ENODEV)

    info = g.info
    assert info is not None
    has_mask = not info.no_maint_irq_mask

    if has_mask and not info.maint_irq:
        pr_err(k, "kvm: no vgic maintenance irq")
        raise KernelError(ENXIO)

    if info.no_hw_deactivation:
        pr_info(k, "kvm: non-architectural vgic, tainting kernel")
        g.no_hw_deactivation = True

    try:
        if info.type == GIC_V2:
            vgic_v2_probe(k, info)
        else:
            vgic_v3_probe(k, info)
            static_branch_enable(k, g.gicv3_cpuif)
            pr_info(k, "kvm: GIC system register CPU interface enabled")
    finally:
        g.maint_irq = info.maint_irq

        kfree(k, g.gic_kvm_info)
        g.gic_kvm_info = None

    if not has_mask and not g.maint_irq:
        return

    try:
        request_percpu_irq(k, g.maint_irq, "vgic")
    except KernelError:
        pr_err(k, f"kvm: cannot register interrupt {g.maint_irq}")
        raise

    pr_info(k, f"kvm: vgic interrupt IRQ{g.maint_irq}")
