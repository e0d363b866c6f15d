# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors arch/arm64/kvm/arch_timer.c: the timers that guests use, and their interrupts.

The kernel keeps the physical timer to itself unless it runs in EL2, which has a timer of its own:
so only with VHE is there a second interrupt to take.
"""

from __future__ import annotations

import attrs

from arch.arm64.kernel.sysreg import CNTHCTL_ECV, CNTHCTL_EL2
from arch.arm64.kernel.virt import has_vhe, is_kernel_in_hyp_mode
from arch.arm64.kvm.vgic.vgic_data import Vgic
from kvm_ref.errno import ENODEV, ENOMEM, KernelError
from kvm_ref.kernel import Kernel, Statics
from kvm_ref.linux.interrupt import (
    disable_percpu_irq,
    enable_percpu_irq,
    free_percpu_irq,
    irq_set_vcpu_affinity,
    request_percpu_irq,
)
from kvm_ref.linux.irqdomain import (
    irq_domain,
    irq_domain_alloc_named_fwnode,
    irq_domain_create_hierarchy,
    irq_domain_free_fwnode,
    irq_domain_push_irq,
)
from kvm_ref.linux.jump_label import static_branch_enable, static_key
from kvm_ref.linux.printk import WARN_ON, pr_err
from kvm_ref.unwind import ladder
from kvm_ref.vocabulary import kernel_function

# The interrupts' numbers on most machines, and how they are triggered (linux/interrupt.h).
VIRT_PPI = 27
PHYS_NONSECURE_PPI = 30
IRQF_TRIGGER_LOW = 8


@attrs.frozen
class arch_timer_kvm_info:
    """What the timer's driver tells KVM (clocksource/arm_arch_timer.h)."""

    cc: bool
    virtual_irq: int
    physical_irq: int


class ArchTimer(Statics):
    """The static variables of arch/arm64/kvm/arch_timer.c."""

    __slots__ = ("has_gic_active_state", "host_ptimer_irq", "host_vtimer_irq")
    module = "kvm"

    def __init__(self) -> None:
        self.host_vtimer_irq = 0
        self.host_ptimer_irq = 0
        self.has_gic_active_state = static_key("has_gic_active_state")


@kernel_function()
def arch_timer_get_kvm_info(k: Kernel) -> arch_timer_kvm_info:
    """Return what the timer's driver found (drivers/clocksource/arm_arch_timer.c)."""
    ptimer = is_kernel_in_hyp_mode(k) and k.features["ptimer_irq"]
    return arch_timer_kvm_info(
        cc=k.features["arch_timer"],
        virtual_irq=VIRT_PPI if k.features["vtimer_irq"] else 0,
        physical_irq=PHYS_NONSECURE_PPI if ptimer else 0,
    )


@kernel_function()
def kvm_timer_cpu_up(k: Kernel) -> None:
    """Enable the timers' interrupts on this CPU."""
    g = k[ArchTimer]
    enable_percpu_irq(k, g.host_vtimer_irq, IRQF_TRIGGER_LOW)
    if g.host_ptimer_irq:
        enable_percpu_irq(k, g.host_ptimer_irq, IRQF_TRIGGER_LOW)


@kernel_function()
def kvm_timer_cpu_down(k: Kernel) -> None:
    """Disable the timers' interrupts on this CPU."""
    g = k[ArchTimer]
    disable_percpu_irq(k, g.host_vtimer_irq)
    if g.host_ptimer_irq:
        disable_percpu_irq(k, g.host_ptimer_irq)


@kernel_function()
def kvm_timer_init_vhe(k: Kernel) -> None:
    """Let guests have an offset of the physical counter, for good."""
    if k.features["ecv_cntpoff"]:
        k.write(CNTHCTL_EL2, k.read(CNTHCTL_EL2) | CNTHCTL_ECV)


@kernel_function(fails=(ENODEV, ENOMEM))
def kvm_irq_init(k: Kernel, info: arch_timer_kvm_info) -> None:
    """Note the interrupts; without hardware deactivation, put a controller of KVM's own in between."""
    g = k[ArchTimer]
    domain: irq_domain | None = None

    if info.virtual_irq <= 0:
        pr_err(k, f"kvm: arch_timer: invalid virtual timer IRQ: {info.virtual_irq}")
        raise KernelError(ENODEV)

    g.host_vtimer_irq = info.virtual_irq

    if k[Vgic].no_hw_deactivation:
        fwnode = irq_domain_alloc_named_fwnode(k, "kvm-timer")
        if not fwnode:
            raise KernelError(ENOMEM)

        domain = irq_domain_create_hierarchy(k, fwnode)
        if not domain:
            irq_domain_free_fwnode(k, fwnode)
            raise KernelError(ENOMEM)

        try:
            irq_domain_push_irq(k, domain, g.host_vtimer_irq)
        except KernelError:
            WARN_ON(k, True, "irq_domain_push_irq(domain, host_vtimer_irq)")

    if info.physical_irq > 0:
        g.host_ptimer_irq = info.physical_irq

        if domain:
            try:
                irq_domain_push_irq(k, domain, g.host_ptimer_irq)
            except KernelError:
                WARN_ON(k, True, "irq_domain_push_irq(domain, host_ptimer_irq)")


@kernel_function(fails=ENODEV)
def kvm_timer_hyp_init(k: Kernel, has_gic: bool) -> None:
    """Take the timers' interrupts, and let them go to VCPUs if there is a controller that can."""
    g = k[ArchTimer]
    info = arch_timer_get_kvm_info(k)

    if not info.cc:
        pr_err(k, "kvm: arch_timer: uninitialized timecounter")
        raise KernelError(ENODEV)

    kvm_irq_init(k, info)

    try:
        request_percpu_irq(k, g.host_vtimer_irq, "kvm guest vtimer")
    except KernelError:
        pr_err(k, f"kvm: arch_timer: can't request vtimer interrupt {g.host_vtimer_irq}")
        raise

    with ladder(k) as goto:
        if has_gic:
            with goto("out_free_vtimer_irq"):
                try:
                    irq_set_vcpu_affinity(k, g.host_vtimer_irq)
                except KernelError:
                    pr_err(k, "kvm: arch_timer: error setting vcpu affinity")
                    raise

            static_branch_enable(k, g.has_gic_active_state)

        if info.physical_irq > 0:
            with goto("out_free_vtimer_irq"):
                try:
                    request_percpu_irq(k, g.host_ptimer_irq, "kvm guest ptimer")
                except KernelError:
                    pr_err(k, f"kvm: arch_timer: can't request ptimer interrupt {g.host_ptimer_irq}")
                    raise

            if has_gic:
                with goto("out_free_ptimer_irq"):
                    try:
                        irq_set_vcpu_affinity(k, g.host_ptimer_irq)
                    except KernelError:
                        pr_err(k, "kvm: arch_timer: error setting vcpu affinity")
                        raise
        elif has_vhe(k):
            with goto("out_free_vtimer_irq"):
                pr_err(k, f"kvm: arch_timer: invalid physical timer IRQ: {info.physical_irq}")
                raise KernelError(ENODEV)

        return

    if goto.reached("out_free_ptimer_irq"):
        # The C asks, though only a machine with this interrupt comes here.
        if info.physical_irq > 0:  # pragma: no branch
            free_percpu_irq(k, g.host_ptimer_irq)
    if goto.reached("out_free_vtimer_irq"):
        free_percpu_irq(k, g.host_vtimer_irq)
    raise goto.error
