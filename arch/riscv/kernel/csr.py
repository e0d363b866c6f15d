# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors arch/riscv/include/asm/csr.h: control and status registers of a 64-bit hart.

A field takes only values that the hart implements, and drivers find out which by writing one and
reading it back. What the trace shows of a write is what the register then holds.
"""

from __future__ import annotations

from kvm_ref.kernel import Kernel

CSR_HEDELEG = "HEDELEG"
CSR_HIDELEG = "HIDELEG"
CSR_HIE = "HIE"
CSR_HCOUNTEREN = "HCOUNTEREN"
CSR_HGEIE = "HGEIE"
CSR_HVIEN = "HVIEN"
CSR_HVICTL = "HVICTL"
CSR_HVIP = "HVIP"
CSR_HVIPRIO1 = "HVIPRIO1"
CSR_HVIPRIO2 = "HVIPRIO2"
CSR_HGATP = "HGATP"
CSR_VSIE = "VSIE"

IRQ_VS_SOFT = 2
IRQ_VS_TIMER = 6
IRQ_S_EXT = 9
IRQ_VS_EXT = 10
IRQ_S_GEXT = 12
IRQ_PMU_OVF = 13

EXC_INST_MISALIGNED = 0
EXC_BREAKPOINT = 3
EXC_SYSCALL = 8
EXC_INST_PAGE_FAULT = 12
EXC_LOAD_PAGE_FAULT = 13
EXC_STORE_PAGE_FAULT = 15

HGATP_MODE_SV32X4 = 1
HGATP_MODE_SV39X4 = 8
HGATP_MODE_SV48X4 = 9
HGATP_MODE_SV57X4 = 10
HGATP_MODE_SHIFT = 60
HGATP_VMID_SHIFT = 44
HGATP_VMID = 0x3FFF << HGATP_VMID_SHIFT

HVICTL_IID_SHIFT = 16
HVICTL_IID = 0xFFF << HVICTL_IID_SHIFT

ALL_ONES = (1 << 64) - 1
# What the harts of this machine have: guest external interrupts, and bits of a VMID.
GEILEN = 7
VMIDLEN = 14


def BIT(n: int) -> int:
    """Return the number whose only bit is bit `n` (include/vdso/bits.h)."""
    return 1 << n


def fls_long(word: int) -> int:
    """Return the position of the highest bit, counted from 1; 0 if there is none (linux/bitops.h)."""
    return word.bit_length()


def _legal(k: Kernel, csr: str, value: int) -> int:
    # What the hart makes of a value: the privileged and the AIA specification.
    if csr == CSR_HGATP:
        modes = {0, HGATP_MODE_SV39X4}
        modes |= {HGATP_MODE_SV48X4} if k.features["sv48x4"] else set()
        modes |= {HGATP_MODE_SV48X4, HGATP_MODE_SV57X4} if k.features["sv57x4"] else set()
        if value >> HGATP_MODE_SHIFT not in modes:
            value &= BIT(HGATP_MODE_SHIFT) - 1
        value &= ~HGATP_VMID | BIT(HGATP_VMID_SHIFT + VMIDLEN) - 1
    if csr == CSR_HGEIE:
        # Bit 0 is always 0: the lines count from 1.
        value &= BIT(GEILEN + 1) - 2
    return value


def csr_read(k: Kernel, csr: str) -> int:
    """Read a register."""
    return k.read(csr)


def csr_write(k: Kernel, csr: str, value: int) -> None:
    """Write a register."""
    k.write(csr, _legal(k, csr, value))


def csr_set(k: Kernel, csr: str, mask: int) -> None:
    """Set bits of a register."""
    csr_write(k, csr, csr_read(k, csr) | mask)


def csr_clear(k: Kernel, csr: str, mask: int) -> None:
    """Clear bits of a register."""
    csr_write(k, csr, csr_read(k, csr) & ~mask)
