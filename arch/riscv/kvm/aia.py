# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors arch/riscv/kvm/aia.c: interrupts of guests that the hart delivers itself.

Harts without the advanced interrupt architecture do without: kvm_riscv_aia_init() then fails with
ENODEV, which its caller forgives, and the static key `kvm_riscv_aia_available` stays off, which
makes the other functions empty.
"""

from __future__ import annotations

from arch.riscv.kernel.cpufeature import (
    RISCV_ISA_EXT_SSCOFPMF,
    SxAIA,
    __riscv_isa_extension_available,
    riscv_isa_extension_available,
)
from arch.riscv.kernel.csr import (
    ALL_ONES,
    BIT,
    CSR_HGEIE,
    CSR_HIE,
    CSR_HVICTL,
    CSR_HVIEN,
    CSR_HVIPRIO1,
    CSR_HVIPRIO2,
    HVICTL_IID,
    HVICTL_IID_SHIFT,
    IRQ_PMU_OVF,
    IRQ_S_EXT,
    IRQ_S_GEXT,
    csr_clear,
    csr_read,
    csr_set,
    csr_write,
    fls_long,
)
from kvm_ref.errno import EBUSY, EINVAL, ENODEV, ENOENT, ENOMEM, KernelError
from kvm_ref.kernel import Kernel, Statics
from kvm_ref.linux.cpumask import for_each_possible_cpu
from kvm_ref.linux.interrupt import (
    disable_percpu_irq,
    enable_percpu_irq,
    free_percpu_irq,
    irq_get_trigger_type,
    request_percpu_irq,
)
from kvm_ref.linux.irqdomain import irq_create_mapping, irq_find_matching_fwnode
from kvm_ref.linux.jump_label import static_branch_enable, static_branch_unlikely, static_key
from kvm_ref.linux.percpu import PerCpu
from kvm_ref.linux.printk import pr_err
from kvm_ref.virt.device_ops import (
    KVM_DEV_TYPE_RISCV_AIA,
    kvm_register_device_ops,
    kvm_unregister_device_ops,
)
from kvm_ref.vocabulary import kernel_function

IMSIC_MAX_ID = 2048


class imsic_global_config:
    """What firmware says of the IMSICs (include/linux/irqchip/riscv-imsic.h)."""

    __slots__ = ("guest_index_bits", "nr_guest_ids")

    def __init__(self, guest_index_bits: int, nr_guest_ids: int) -> None:
        self.guest_index_bits = guest_index_bits
        self.nr_guest_ids = nr_guest_ids


class Aia(Statics):
    """The static variables of arch/riscv/kvm/aia.c."""

    __slots__ = (
        "free_bitmap", "hgei_parent_irq", "kvm_riscv_aia_available", "kvm_riscv_aia_max_ids",
        "kvm_riscv_aia_nr_hgei",
    )  # fmt: skip
    module = "kvm"

    def __init__(self) -> None:
        # The lines that no vCPU has, of the per-CPU struct aia_hgei_control.
        self.free_bitmap = PerCpu(0)
        self.hgei_parent_irq = 0
        self.kvm_riscv_aia_nr_hgei = 0
        self.kvm_riscv_aia_max_ids = 0
        self.kvm_riscv_aia_available = static_key("kvm_riscv_aia_available")


def kvm_riscv_aia_available(k: Kernel) -> bool:
    """Say whether KVM uses the AIA (arch/riscv/include/asm/kvm_aia.h)."""
    return static_branch_unlikely(k[Aia].kvm_riscv_aia_available)


def imsic_get_global_config(k: Kernel) -> imsic_global_config | None:
    """Return the configuration of the IMSICs, or None if there are none (drivers/irqchip)."""
    return imsic_global_config(3, 255) if k.features["imsic"] else None


def aia_set_hvictl(k: Kernel, ext_irq_pending: bool) -> None:
    """Tell the hart which interrupt the guest has; number 9 with priority 0 stands for none."""
    hvictl = IRQ_S_EXT << HVICTL_IID_SHIFT & HVICTL_IID
    hvictl |= ext_irq_pending
    csr_write(k, CSR_HVICTL, hvictl)


@kernel_function(fails=(ENOENT, ENOMEM, EBUSY, EINVAL))
def aia_hgei_init(k: Kernel) -> None:
    """Note which lines are free, and request the interrupt that they raise.

    Raises:
        KernelError: ENOENT if the harts' interrupt controller is not found, ENOMEM if its
            interrupt cannot be mapped, or what request_percpu_irq() gives.
    """
    g = k[Aia]
    for cpu in for_each_possible_cpu(k):
        if g.kvm_riscv_aia_nr_hgei:
            g.free_bitmap[cpu] = BIT(g.kvm_riscv_aia_nr_hgei + 1) - 1
            g.free_bitmap[cpu] &= ~BIT(0)
        else:
            g.free_bitmap[cpu] = 0

    domain = irq_find_matching_fwnode(k, "riscv,cpu-intc")
    if not domain:
        pr_err(k, "kvm: no INTC domain")
        raise KernelError(ENOENT)

    # The mapping stays when the module goes.
    g.hgei_parent_irq = irq_create_mapping(k, domain, IRQ_S_GEXT)
    if not g.hgei_parent_irq:
        pr_err(k, "kvm: SGEI IRQ not mapped")
        raise KernelError(ENOMEM)

    try:
        request_percpu_irq(k, g.hgei_parent_irq, "riscv-kvm")
    except KernelError:
        pr_err(k, "kvm: SGEI IRQ not to be had")
        raise


@kernel_function()
def aia_hgei_exit(k: Kernel) -> None:
    """Free the interrupt."""
    free_percpu_irq(k, k[Aia].hgei_parent_irq)


@kernel_function()
def kvm_riscv_aia_enable(k: Kernel) -> None:
    """Let guests on this CPU have interrupts, and let them wake vCPUs."""
    if not kvm_riscv_aia_available(k):
        return

    aia_set_hvictl(k, False)
    csr_write(k, CSR_HVIPRIO1, 0)
    csr_write(k, CSR_HVIPRIO2, 0)

    irq = k[Aia].hgei_parent_irq
    enable_percpu_irq(k, irq, irq_get_trigger_type(k, irq))
    csr_set(k, CSR_HIE, BIT(IRQ_S_GEXT))
    if __riscv_isa_extension_available(k, RISCV_ISA_EXT_SSCOFPMF):
        csr_set(k, CSR_HVIEN, BIT(IRQ_PMU_OVF))


@kernel_function()
def kvm_riscv_aia_disable(k: Kernel) -> None:
    """Undo kvm_riscv_aia_enable() on this CPU, whose lines no vCPU has here."""
    if not kvm_riscv_aia_available(k):
        return

    if __riscv_isa_extension_available(k, RISCV_ISA_EXT_SSCOFPMF):
        csr_clear(k, CSR_HVIEN, BIT(IRQ_PMU_OVF))
    csr_clear(k, CSR_HIE, BIT(IRQ_S_GEXT))
    disable_percpu_irq(k, k[Aia].hgei_parent_irq)

    # As kvm_riscv_aia_enable() left it: what it held before the first time does not come back.
    aia_set_hvictl(k, False)


@kernel_function(fails=ENODEV)
def kvm_riscv_aia_init(k: Kernel) -> None:
    """Count the lines, get their interrupt, and offer the device to VMs.

    Raises:
        KernelError: ENODEV without the AIA, or what aia_hgei_init() or kvm_register_device_ops()
            gives.
    """
    g = k[Aia]
    if not riscv_isa_extension_available(k, SxAIA):
        raise KernelError(ENODEV)
    gc = imsic_get_global_config(k)

    csr_write(k, CSR_HGEIE, ALL_ONES)
    g.kvm_riscv_aia_nr_hgei = fls_long(csr_read(k, CSR_HGEIE))
    csr_write(k, CSR_HGEIE, 0)
    if g.kvm_riscv_aia_nr_hgei:
        g.kvm_riscv_aia_nr_hgei -= 1

    if gc:
        g.kvm_riscv_aia_nr_hgei = min(g.kvm_riscv_aia_nr_hgei, BIT(gc.guest_index_bits) - 1)
    else:
        g.kvm_riscv_aia_nr_hgei = 0

    g.kvm_riscv_aia_max_ids = IMSIC_MAX_ID
    if gc and g.kvm_riscv_aia_nr_hgei:
        g.kvm_riscv_aia_max_ids = gc.nr_guest_ids + 1

    aia_hgei_init(k)

    try:
        kvm_register_device_ops(k, "kvm_riscv_aia_device_ops", KVM_DEV_TYPE_RISCV_AIA)
    except KernelError:
        aia_hgei_exit(k)
        raise

    static_branch_enable(k, g.kvm_riscv_aia_available)


@kernel_function()
def kvm_riscv_aia_exit(k: Kernel) -> None:
    """Undo kvm_riscv_aia_init(), if it succeeded."""
    if not kvm_riscv_aia_available(k):
        return

    kvm_unregister_device_ops(k, KVM_DEV_TYPE_RISCV_AIA)

    aia_hgei_exit(k)
