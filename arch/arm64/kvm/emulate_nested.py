# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors arch/arm64/kvm/emulate-nested.c: what to do with each register that a guest may trap on.

The array has an entry for every trapping register, whether nested virtualization is in use or not.
Nobody empties it when kvm_arm_init() fails later on.
"""

from __future__ import annotations

from kvm_ref.errno import EINVAL, ENOMEM, IS_ERR, Errno, KernelError
from kvm_ref.kernel import Kernel, Statics
from kvm_ref.linux.printk import pr_err, pr_info
from kvm_ref.linux.xarray import xa_destroy, xa_store, xarray
from kvm_ref.vocabulary import kernel_function


class EmulateNested(Statics):
    """The static variables of arch/arm64/kvm/emulate-nested.c."""

    __slots__ = ("sr_forward_xa",)
    module = "kvm"

    def __init__(self) -> None:
        self.sr_forward_xa = xarray("sr_forward_xa")


@kernel_function(fails=(ENOMEM, EINVAL))
def populate_nv_trap_config(k: Kernel) -> None:
    """Enter the coarse and the fine traps; a failure is noted, and the rest is tried all the same."""
    g = k[EmulateNested]
    ret: Errno | None = None
    prev = xa_store(k, g.sr_forward_xa, "encoding_to_cgt")
    if IS_ERR(prev):
        ret = prev.error
        pr_err(k, "kvm: failed CGT insertion")

    pr_info(k, "kvm: nv: coarse grained trap handlers")

    prev = xa_store(k, g.sr_forward_xa, "encoding_to_fgt")
    if IS_ERR(prev):
        ret = prev.error
        pr_err(k, "kvm: failed FGT insertion")

    pr_info(k, "kvm: nv: fine grained trap handlers")

    if ret:
        xa_destroy(k, g.sr_forward_xa)
        raise KernelError(ret)


@kernel_function(fails=(ENOMEM, EINVAL), args=("table",))
def populate_sysreg_config(k: Kernel, table: str) -> None:
    """Enter the registers of a table; one call here stands for a call for each."""
    ret = xa_store(k, k[EmulateNested].sr_forward_xa, table)

    if IS_ERR(ret):
        raise KernelError(ret.error)
