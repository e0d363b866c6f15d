# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors arch/mips/include/asm/mipsregs.h: the registers of coprocessor 0 that VZ is run with.

A name with ``c0`` is the host's own register, one with ``gc0`` the guest's, which the host reaches
from outside. Values are those of a 32-bit register except for Octeon's, which has 64.
"""

from __future__ import annotations

from kvm_ref.kernel import Kernel

C0_WIRED = "c0_wired"
C0_GUESTCTL0 = "c0_guestctl0"
C0_GUESTCTL0EXT = "c0_guestctl0ext"
C0_GUESTCTL1 = "c0_guestctl1"
C0_GUESTCTL2 = "c0_guestctl2"
C0_CVMVMCONFIG = "c0_cvmvmconfig"
GC0_CONFIG1 = "gc0_config1"
GC0_CONFIG4 = "gc0_config4"
GC0_CVMCTL = "gc0_cvmctl"

MIPS_CONF1_TLBS_SHIFT = 25
MIPS_CONF1_TLBS_SIZE = 6
MIPS_CONF1_TLBS = 63 << MIPS_CONF1_TLBS_SHIFT
MIPS_CONF4_MMUEXTDEF_VTLBSIZEEXT = 3 << 14
MIPS_CONF4_VTLBSIZEEXT_SHIFT = 24
MIPS_CONF4_VTLBSIZEEXT = 15 << MIPS_CONF4_VTLBSIZEEXT_SHIFT

MIPS_GCTL0_CP0 = 1 << 28
MIPS_GCTL0_AT_SHIFT = 26
MIPS_GCTL0_AT_GUEST = 3
MIPS_GCTL0_CG = 1 << 24
MIPS_GCTL0_CF = 1 << 23
MIPS_GCTL0EXT_CGI = 1 << 4

CVMCTL_IPPCI_SHIFT = 7
CVMCTL_IPPCI = 7 << CVMCTL_IPPCI_SHIFT
CVMCTL_IPTI_SHIFT = 4
CVMCTL_IPTI = 7 << CVMCTL_IPTI_SHIFT
CVMVMCONF_DGHT = 1 << 60
CVMVMCONF_MMUSIZEM1_S = 12
CVMVMCONF_MMUSIZEM1 = 0xFF << CVMVMCONF_MMUSIZEM1_S
CVMVMCONF_RMMUSIZEM1 = 0xFF


def set_bits(k: Kernel, register: str, mask: int) -> None:
    """Set bits of a register, as set_c0_<register>() does."""
    k.write(register, k.read(register) | mask)


def clear_bits(k: Kernel, register: str, mask: int) -> None:
    """Clear bits of a register, as clear_c0_<register>() does."""
    k.write(register, k.read(register) & ~mask)


def change_bits(k: Kernel, register: str, mask: int, value: int) -> None:
    """Replace the bits of `mask` by those of `value`, as change_gc0_<register>() does."""
    k.write(register, (k.read(register) & ~mask) | (value & mask))
