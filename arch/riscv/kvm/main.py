# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors arch/riscv/kvm/main.c: loading and unloading kvm.ko, and the registers of each hart.

There is no goto: each failing step returns, after undoing what must be undone.
"""

from __future__ import annotations

from arch.riscv.kernel.cpufeature import h, riscv_isa_extension_available
from arch.riscv.kernel.csr import (
    BIT,
    CSR_HCOUNTEREN,
    CSR_HEDELEG,
    CSR_HIDELEG,
    CSR_HVIP,
    CSR_VSIE,
    EXC_BREAKPOINT,
    EXC_INST_MISALIGNED,
    EXC_INST_PAGE_FAULT,
    EXC_LOAD_PAGE_FAULT,
    EXC_STORE_PAGE_FAULT,
    EXC_SYSCALL,
    HGATP_MODE_SV32X4,
    HGATP_MODE_SV39X4,
    HGATP_MODE_SV48X4,
    HGATP_MODE_SV57X4,
    IRQ_VS_EXT,
    IRQ_VS_SOFT,
    IRQ_VS_TIMER,
    csr_write,
)
from arch.riscv.kernel.sbi import SBI_EXT_RFENCE, sbi_probe_extension, sbi_spec_is_0_1
from arch.riscv.kvm.aia import (
    Aia,
    kvm_riscv_aia_available,
    kvm_riscv_aia_disable,
    kvm_riscv_aia_enable,
    kvm_riscv_aia_exit,
    kvm_riscv_aia_init,
)
from arch.riscv.kvm.mmu import kvm_riscv_gstage_mode, kvm_riscv_gstage_mode_detect
from arch.riscv.kvm.vmid import kvm_riscv_gstage_vmid_bits, kvm_riscv_gstage_vmid_detect
from kvm_ref.errno import EIO, ENODEV, KernelError
from kvm_ref.kernel import Kernel
from kvm_ref.linux.printk import pr_info
from kvm_ref.virt.kvm_main import kvm_exit, kvm_init
from kvm_ref.vocabulary import kernel_function

# What a guest takes without KVM's help (arch/riscv/include/asm/kvm_host.h).
KVM_HEDELEG_DEFAULT = (
    BIT(EXC_INST_MISALIGNED)
    | BIT(EXC_BREAKPOINT)
    | BIT(EXC_SYSCALL)
    | BIT(EXC_INST_PAGE_FAULT)
    | BIT(EXC_LOAD_PAGE_FAULT)
    | BIT(EXC_STORE_PAGE_FAULT)
)
KVM_HIDELEG_DEFAULT = BIT(IRQ_VS_SOFT) | BIT(IRQ_VS_TIMER) | BIT(IRQ_VS_EXT)

_FORMATS = {
    HGATP_MODE_SV32X4: "Sv32x4",
    HGATP_MODE_SV39X4: "Sv39x4",
    HGATP_MODE_SV48X4: "Sv48x4",
    HGATP_MODE_SV57X4: "Sv57x4",
}


# It returns 0 whatever happens, but to a caller that is ready for an error: one can be put in.
@kernel_function(fails=EIO)
def kvm_arch_enable_virtualization_cpu(k: Kernel) -> None:
    """Set up this CPU for guests."""
    csr_write(k, CSR_HEDELEG, KVM_HEDELEG_DEFAULT)
    csr_write(k, CSR_HIDELEG, KVM_HIDELEG_DEFAULT)

    # The time counter and no other; nobody takes this back.
    csr_write(k, CSR_HCOUNTEREN, 0x02)

    csr_write(k, CSR_HVIP, 0)

    kvm_riscv_aia_enable(k)


@kernel_function()
def kvm_arch_disable_virtualization_cpu(k: Kernel) -> None:
    """Undo kvm_arch_enable_virtualization_cpu() on this CPU, all but HCOUNTEREN."""
    kvm_riscv_aia_disable(k)

    # Before HIDELEG: a guest's interrupt that is still pending would come to the host.
    csr_write(k, CSR_VSIE, 0)
    csr_write(k, CSR_HVIP, 0)
    csr_write(k, CSR_HEDELEG, 0)
    csr_write(k, CSR_HIDELEG, 0)


@kernel_function(fails=ENODEV)
def riscv_kvm_init(k: Kernel) -> None:
    """Run when kvm.ko is loaded.

    Raises:
        KernelError: ENODEV if the machine will not do, or what kvm_riscv_aia_init() (but for
            ENODEV) or kvm_init() gives.
    """
    if not riscv_isa_extension_available(k, h):
        pr_info(k, "kvm: the harts have no hypervisor extension")
        raise KernelError(ENODEV)

    if sbi_spec_is_0_1(k):
        pr_info(k, "kvm: SBI v0.1 is too old")
        raise KernelError(ENODEV)

    if not sbi_probe_extension(k, SBI_EXT_RFENCE):
        pr_info(k, "kvm: SBI has no RFENCE extension")
        raise KernelError(ENODEV)

    kvm_riscv_gstage_mode_detect(k)

    kvm_riscv_gstage_vmid_detect(k)

    try:
        kvm_riscv_aia_init(k)
    except KernelError as error:
        if error.errno != ENODEV:
            raise

    pr_info(k, "kvm: the harts have the hypervisor extension")

    str = _FORMATS.get(kvm_riscv_gstage_mode(k))
    if str is None:
        # What kvm_riscv_aia_init() acquired stays behind.
        raise KernelError(ENODEV)
    pr_info(k, f"kvm: {str} page tables")

    pr_info(k, f"kvm: VMIDs of {kvm_riscv_gstage_vmid_bits(k)} bits")

    if kvm_riscv_aia_available(k):
        pr_info(k, f"kvm: AIA with {k[Aia].kvm_riscv_aia_nr_hgei} guest external interrupts")

    try:
        kvm_init(k, "kvm")
    except KernelError:
        kvm_riscv_aia_exit(k)
        raise


@kernel_function()
def riscv_kvm_exit(k: Kernel) -> None:
    """Run when kvm.ko is unloaded."""
    kvm_exit(k)

    kvm_riscv_aia_exit(k)
