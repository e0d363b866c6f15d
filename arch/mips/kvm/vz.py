# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors arch/mips/kvm/vz.c: the virtualization extension VZ, which gives a guest its own CP0.

The modelled CPU is of release 5 and not Loongson's; its guest has Config1 and Config4. A CPU's
TLB may be shared between host and guests: the guest part must have one size on all CPUs. Turning VZ
off leaves GuestCtl0, GuestCtl0Ext and the guest's Config registers as they are.
"""

from __future__ import annotations

from collections.abc import Callable

import attrs

from arch.mips.kernel.cpu import cpu_has_vz, current_cpu_data, num_wired_entries
from arch.mips.kernel.mipsregs import (
    C0_CVMVMCONFIG,
    C0_GUESTCTL0,
    C0_GUESTCTL0EXT,
    C0_GUESTCTL1,
    C0_GUESTCTL2,
    CVMCTL_IPPCI,
    CVMCTL_IPPCI_SHIFT,
    CVMCTL_IPTI,
    CVMCTL_IPTI_SHIFT,
    CVMVMCONF_DGHT,
    CVMVMCONF_MMUSIZEM1,
    CVMVMCONF_MMUSIZEM1_S,
    CVMVMCONF_RMMUSIZEM1,
    GC0_CONFIG1,
    GC0_CONFIG4,
    GC0_CVMCTL,
    MIPS_CONF1_TLBS,
    MIPS_CONF1_TLBS_SHIFT,
    MIPS_CONF1_TLBS_SIZE,
    MIPS_CONF4_VTLBSIZEEXT,
    MIPS_CONF4_VTLBSIZEEXT_SHIFT,
    MIPS_GCTL0_AT_GUEST,
    MIPS_GCTL0_AT_SHIFT,
    MIPS_GCTL0_CF,
    MIPS_GCTL0_CG,
    MIPS_GCTL0_CP0,
    MIPS_GCTL0EXT_CGI,
    change_bits,
    clear_bits,
    set_bits,
)
from arch.mips.kvm.tlb import kvm_vz_local_flush_guesttlb_all, kvm_vz_local_flush_roottlb_all_guests
from arch.mips.mm.tlb_r4k import local_flush_tlb_all
from kvm_ref.errno import EINVAL, ENODEV, KernelError
from kvm_ref.kernel import Kernel, Operations, Statics
from kvm_ref.linux.printk import WARN_ON, pr_info
from kvm_ref.vocabulary import kernel_function


@attrs.frozen
class kvm_mips_callbacks(Operations):
    """The operations that loading and unloading call (asm/kvm_host.h)."""

    enable_virtualization_cpu: Callable[[Kernel], None]
    disable_virtualization_cpu: Callable[[Kernel], None]


class Vz(Statics):
    """The static variables of arch/mips/kvm/vz.c."""

    __slots__ = ("kvm_vz_guest_vtlb_size",)
    module = "kvm"

    def __init__(self) -> None:
        self.kvm_vz_guest_vtlb_size = 0


@kernel_function(args=("size",))
def kvm_vz_resize_guest_vtlb(k: Kernel, size: int) -> int:
    """Ask for a guest TLB of `size` variable entries, and return how many there are now."""
    change_bits(k, GC0_CONFIG1, MIPS_CONF1_TLBS, (size - 1) << MIPS_CONF1_TLBS_SHIFT)
    config4 = k.read(GC0_CONFIG4) & ~MIPS_CONF4_VTLBSIZEEXT
    config4 |= ((size - 1) >> MIPS_CONF1_TLBS_SIZE) << MIPS_CONF4_VTLBSIZEEXT_SHIFT
    k.write(GC0_CONFIG4, config4)

    ret = (k.read(GC0_CONFIG1) & MIPS_CONF1_TLBS) >> MIPS_CONF1_TLBS_SHIFT
    ret |= (config4 & MIPS_CONF4_VTLBSIZEEXT) >> MIPS_CONF4_VTLBSIZEEXT_SHIFT << MIPS_CONF1_TLBS_SIZE
    return ret + 1


@kernel_function(fails=EINVAL)
def kvm_vz_enable_virtualization_cpu(k: Kernel) -> None:
    """Give guests their part of this CPU's TLB, and let them use CP0.

    Raises:
        KernelError: EINVAL if the guest part has another size than on a CPU that came before.
    """
    g = k[Vz]
    cpu = current_cpu_data(k)
    if k.features["octeon3"]:
        guest_cvmctl = k.read(GC0_CVMCTL) & ~CVMCTL_IPTI
        guest_cvmctl |= 7 << CVMCTL_IPTI_SHIFT
        guest_cvmctl &= ~CVMCTL_IPPCI
        guest_cvmctl |= 6 << CVMCTL_IPPCI_SHIFT
        k.write(GC0_CVMCTL, guest_cvmctl)

        cvmvmconfig = k.read(C0_CVMVMCONFIG) | CVMVMCONF_DGHT
        mmu_size = ((cvmvmconfig & CVMVMCONF_MMUSIZEM1) >> CVMVMCONF_MMUSIZEM1_S) + 1
        guest_mmu_size = mmu_size // 2
        mmu_size -= guest_mmu_size
        k.write(C0_CVMVMCONFIG, (cvmvmconfig & ~CVMVMCONF_RMMUSIZEM1) | (mmu_size - 1))

        cpu.tlbsize = cpu.tlbsizevtlb = mmu_size
        cpu.guest_tlbsize = guest_mmu_size

        kvm_vz_local_flush_guesttlb_all(k)
    else:
        mmu_size = cpu.tlbsizevtlb
        ftlb_size = cpu.tlbsize - mmu_size

        # As large as it gets first, so that the flush reaches every entry.
        guest_mmu_size = kvm_vz_resize_guest_vtlb(k, mmu_size)
        cpu.guest_tlbsize = guest_mmu_size + ftlb_size
        kvm_vz_local_flush_guesttlb_all(k)

        # The host keeps its wired entries and two more.
        guest_mmu_size = mmu_size - num_wired_entries(k) - 2
        guest_mmu_size = kvm_vz_resize_guest_vtlb(k, guest_mmu_size)
        cpu.guest_tlbsize = guest_mmu_size + ftlb_size

        if not g.kvm_vz_guest_vtlb_size:
            g.kvm_vz_guest_vtlb_size = guest_mmu_size
        elif WARN_ON(
            k, guest_mmu_size != g.kvm_vz_guest_vtlb_size, "guest_mmu_size != kvm_vz_guest_vtlb_size"
        ):
            raise KernelError(EINVAL)

    k.write(
        C0_GUESTCTL0,
        MIPS_GCTL0_CP0 | (MIPS_GCTL0_AT_GUEST << MIPS_GCTL0_AT_SHIFT) | MIPS_GCTL0_CG | MIPS_GCTL0_CF,
    )
    set_bits(k, C0_GUESTCTL0EXT, MIPS_GCTL0EXT_CGI)

    if k.features["guestid"]:
        k.write(C0_GUESTCTL1, 0)
        kvm_vz_local_flush_roottlb_all_guests(k)

    # Interrupts that were injected into a guest and still wait.
    clear_bits(k, C0_GUESTCTL2, 0x3F << 10)


@kernel_function()
def kvm_vz_disable_virtualization_cpu(k: Kernel) -> None:
    """Take the guest part of this CPU's TLB back."""
    cpu = current_cpu_data(k)
    kvm_vz_local_flush_guesttlb_all(k)

    if k.features["octeon3"]:
        cvmvmconfig = k.read(C0_CVMVMCONFIG)
        mmu_size = ((cvmvmconfig & CVMVMCONF_MMUSIZEM1) >> CVMVMCONF_MMUSIZEM1_S) + 1
        k.write(C0_CVMVMCONFIG, (cvmvmconfig & ~CVMVMCONF_RMMUSIZEM1) | (mmu_size - 1))

        cpu.tlbsize = cpu.tlbsizevtlb = mmu_size
        cpu.guest_tlbsize = 0

        local_flush_tlb_all(k)

    if k.features["guestid"]:
        k.write(C0_GUESTCTL1, 0)
        kvm_vz_local_flush_roottlb_all_guests(k)


kvm_vz_callbacks = kvm_mips_callbacks(
    enable_virtualization_cpu=kvm_vz_enable_virtualization_cpu,
    disable_virtualization_cpu=kvm_vz_disable_virtualization_cpu,
)


@kernel_function(fails=ENODEV)
def kvm_mips_emulation_init(k: Kernel) -> None:
    """Refuse a CPU without VZ, or without the scratch register that VZ implies."""
    if not cpu_has_vz(k):
        raise KernelError(ENODEV)

    if WARN_ON(k, not k.features["pgd_reg"], "pgd_reg == -1"):
        raise KernelError(ENODEV)

    pr_info(k, "kvm: MIPS VZ extensions")
