# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors arch/loongarch/include/asm/kvm_csr.h and cpu-features.h: registers and features of a CPU.

Fields that tell what the CPU can do cannot be written. What the trace shows of a write is what the
register then holds, those fields included.
"""

from __future__ import annotations

from kvm_ref.kernel import Kernel
from kvm_ref.vocabulary import kernel_function

LOONGARCH_CSR_GTLBC = "GTLBC"
LOONGARCH_CSR_GSTAT = "GSTAT"
LOONGARCH_CSR_GCFG = "GCFG"
LOONGARCH_CSR_GINTC = "GINTC"

CSR_GTLBC_TOTI = 1 << 13
CSR_GTLBC_USETGID = 1 << 12

CSR_GSTAT_GIDBIT_SHIFT = 4
CSR_GSTAT_GIDBIT = 0x3F << CSR_GSTAT_GIDBIT_SHIFT

CSR_GCFG_GCI_SECURE = 2 << 20
CSR_GCFG_GCIP = 0xF << 16
CSR_GCFG_GCIP_SECURE = 1 << 18
CSR_GCFG_MATC_ROOT = 1 << 4
CSR_GCFG_MATP = 7
CSR_GCFG_MATP_ROOT = 1 << 1

_READ_ONLY = {
    LOONGARCH_CSR_GCFG: CSR_GCFG_GCIP | CSR_GCFG_MATP,
    LOONGARCH_CSR_GSTAT: CSR_GSTAT_GIDBIT,
}


def csr_read64(k: Kernel, csr: str) -> int:
    """Read a register."""
    return k.read(csr)


def csr_write64(k: Kernel, csr: str, value: int) -> None:
    """Write a register."""
    fixed = _READ_ONLY.get(csr, 0)
    k.write(csr, value & ~fixed | k.read(csr) & fixed)


def set_csr_gtlbc(k: Kernel, mask: int) -> None:
    """Set bits of GTLBC."""
    csr_write64(k, LOONGARCH_CSR_GTLBC, csr_read64(k, LOONGARCH_CSR_GTLBC) | mask)


def clear_csr_gtlbc(k: Kernel, mask: int) -> None:
    """Clear bits of GTLBC."""
    csr_write64(k, LOONGARCH_CSR_GTLBC, csr_read64(k, LOONGARCH_CSR_GTLBC) & ~mask)


@kernel_function(fails=False, inlined_into=("kvm_loongarch_init",))
def cpu_has_lvz(k: Kernel) -> bool:
    """Say whether the CPU has the virtualization extension."""
    return True
