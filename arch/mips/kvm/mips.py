# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors arch/mips/kvm/mips.c: the module kvm.ko of MIPS, from module_init to module_exit."""

from __future__ import annotations

from arch.mips.kernel.cpu import cpu_has_mmid
from arch.mips.kvm.entry import kvm_mips_entry_setup
from arch.mips.kvm.vz import kvm_mips_emulation_init, kvm_vz_callbacks
from kvm_ref.errno import EINVAL, EOPNOTSUPP, KernelError
from kvm_ref.kernel import Kernel, Statics
from kvm_ref.linux.kdebug import register_die_notifier, unregister_die_notifier
from kvm_ref.linux.notifier import notifier_block
from kvm_ref.linux.printk import pr_warn
from kvm_ref.unwind import unchecked
from kvm_ref.virt.kvm_main import kvm_exit, kvm_init
from kvm_ref.vocabulary import kernel_function


class KvmMips(Statics):
    """The static variables of arch/mips/kvm/mips.c."""

    __slots__ = ("kvm_mips_csr_die_notifier",)
    module = "kvm"

    def __init__(self) -> None:
        self.kvm_mips_csr_die_notifier = notifier_block("kvm_mips_csr_die_notifier")


@kernel_function(fails=EINVAL)
def kvm_arch_enable_virtualization_cpu(k: Kernel) -> None:
    """Enable virtualization on this CPU."""
    kvm_vz_callbacks.enable_virtualization_cpu(k)


@kernel_function()
def kvm_arch_disable_virtualization_cpu(k: Kernel) -> None:
    """Disable virtualization on this CPU."""
    kvm_vz_callbacks.disable_virtualization_cpu(k)


@kernel_function(fails=EOPNOTSUPP)
def kvm_mips_init(k: Kernel) -> None:
    """Run when kvm.ko is loaded.

    Raises:
        KernelError: EOPNOTSUPP if the CPU uses memory map IDs, ENODEV if it has no VZ, or what
            kvm_mips_entry_setup() or kvm_init() gives.
    """
    g = k[KvmMips]
    if cpu_has_mmid(k):
        pr_warn(k, "kvm: MMIDs are not supported")
        raise KernelError(EOPNOTSUPP)

    kvm_mips_entry_setup(k)

    kvm_mips_emulation_init(k)

    with unchecked:
        register_die_notifier(k, g.kvm_mips_csr_die_notifier)

    try:
        kvm_init(k, "kvm")
    except KernelError:
        with unchecked:
            unregister_die_notifier(k, g.kvm_mips_csr_die_notifier)
        raise


@kernel_function()
def kvm_mips_exit(k: Kernel) -> None:
    """Run when kvm.ko is unloaded."""
    kvm_exit(k)

    with unchecked:
        unregister_die_notifier(k, k[KvmMips].kvm_mips_csr_die_notifier)
