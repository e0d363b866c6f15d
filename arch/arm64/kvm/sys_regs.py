# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors arch/arm64/kvm/sys_regs.c: the tables of system registers, checked when KVM comes up."""

from __future__ import annotations

from arch.arm64.kvm.emulate_nested import populate_nv_trap_config, populate_sysreg_config
from kvm_ref.errno import EINVAL, KernelError
from kvm_ref.kernel import Kernel
from kvm_ref.vocabulary import kernel_function


@kernel_function(fails=False, args=("table",))
def check_sysreg_table(k: Kernel, table: str) -> bool:
    """Say whether a table is in order, without a register twice."""
    return True


@kernel_function(fails=EINVAL)
def kvm_sys_reg_table_init(k: Kernel) -> None:
    """Check the tables, and enter their registers where traps are looked up."""
    valid = True
    valid &= check_sysreg_table(k, "sys_reg_descs")
    valid &= check_sysreg_table(k, "cp14_regs")
    valid &= check_sysreg_table(k, "cp14_64_regs")
    valid &= check_sysreg_table(k, "cp15_regs")
    valid &= check_sysreg_table(k, "cp15_64_regs")
    valid &= check_sysreg_table(k, "invariant_sys_regs")
    valid &= check_sysreg_table(k, "sys_insn_descs")

    if not valid:
        raise KernelError(EINVAL)

    populate_nv_trap_config(k)

    populate_sysreg_config(k, "sys_reg_descs")

    populate_sysreg_config(k, "sys_insn_descs")
