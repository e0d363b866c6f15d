# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors arch/s390/kvm/kvm-s390.c: the module kvm.ko of s390, from module_init to module_exit.

Every CPU can run guests at any time (the instruction SIE), so there is nothing to enable.
"""

from __future__ import annotations

from arch.s390.kernel.debug import debug_info_t, debug_register, debug_register_view, debug_unregister
from arch.s390.kvm.interrupt import GAL_ISC, kvm_s390_gib_destroy, kvm_s390_gib_init
from arch.s390.kvm.pci import kvm_s390_pci_exit, kvm_s390_pci_init
from arch.s390.mm.gmap import gmap_register_pte_notifier, gmap_unregister_pte_notifier
from kvm_ref.errno import EINVAL, ENODEV, ENOMEM, KernelError
from kvm_ref.kernel import Kernel, Statics
from kvm_ref.linux.module import Param, param_set_int
from kvm_ref.linux.notifier import (
    atomic_notifier_chain_register,
    atomic_notifier_chain_unregister,
    notifier_block,
)
from kvm_ref.linux.printk import pr_err, pr_info
from kvm_ref.unwind import ladder, unchecked
from kvm_ref.virt.device_ops import KVM_DEV_TYPE_FLIC, kvm_register_device_ops
from kvm_ref.virt.kvm_main import kvm_exit, kvm_init
from kvm_ref.vocabulary import kernel_function


class KvmS390(Statics):
    """The static variables of arch/s390/kvm/kvm-s390.c."""

    __slots__ = (
        "gmap_notifier", "hpage", "kvm_clock_notifier", "kvm_s390_dbf", "kvm_s390_dbf_uv", "nested",
        "vsie_gmap_notifier",
    )  # fmt: skip
    module = "kvm"

    def __init__(self) -> None:
        self.nested = 0
        self.hpage = 0
        self.kvm_s390_dbf: debug_info_t | None = None
        self.kvm_s390_dbf_uv: debug_info_t | None = None
        self.gmap_notifier = notifier_block("gmap_notifier")
        self.vsie_gmap_notifier = notifier_block("vsie_gmap_notifier")
        self.kvm_clock_notifier = notifier_block("kvm_clock_notifier")


PARAMS = tuple(Param(name, KvmS390, param_set_int, "a number") for name in ("nested", "hpage"))


@kernel_function(fails=False)
def sclp_has_sief2(k: Kernel) -> bool:
    """Say whether the machine can run guests: the bit sclp.has_sief2 (asm/sclp.h)."""
    return True


@kernel_function()
def kvm_s390_cpu_feat_init(k: Kernel) -> None:
    """Note which features and subfunctions a guest may be given."""


@kernel_function(fails=ENOMEM)
def __kvm_s390_init(k: Kernel) -> None:
    """Bring up what is s390's own, before kvm_init().

    Raises:
        KernelError: with the errno of the step that failed. The floating interrupt controller
            stays registered then, as it does after __kvm_s390_exit().
    """
    g = k[KvmS390]
    g.kvm_s390_dbf = debug_register(k, "kvm-trace")
    if not g.kvm_s390_dbf:
        raise KernelError(ENOMEM)

    with ladder(k) as goto:
        g.kvm_s390_dbf_uv = debug_register(k, "kvm-uv")
        with goto("err_kvm_uv"):
            if not g.kvm_s390_dbf_uv:
                raise KernelError(ENOMEM)

        with goto("err_debug_view"):
            try:
                debug_register_view(k, g.kvm_s390_dbf, "sprintf")
                debug_register_view(k, g.kvm_s390_dbf_uv, "sprintf")
            except KernelError:
                raise KernelError(ENOMEM) from None

        kvm_s390_cpu_feat_init(k)

        with goto("err_flic"):
            try:
                kvm_register_device_ops(k, "kvm_flic_ops", KVM_DEV_TYPE_FLIC)
            except KernelError:
                pr_err(k, "kvm: FLIC registration failed")
                raise

        with goto("err_pci"):
            try:
                kvm_s390_pci_init(k)
            except KernelError:
                pr_err(k, "kvm: no AIFT for PCI")
                raise

        with goto("err_gib"):
            kvm_s390_gib_init(k, GAL_ISC)

        gmap_register_pte_notifier(k, g.gmap_notifier)
        gmap_register_pte_notifier(k, g.vsie_gmap_notifier)
        with unchecked:
            atomic_notifier_chain_register(k, "s390_epoch_delta_notifier", g.kvm_clock_notifier)

        return

    if goto.reached("err_gib"):
        kvm_s390_pci_exit(k)
    goto.reached("err_pci")
    goto.reached("err_flic")
    if goto.reached("err_debug_view"):
        debug_unregister(k, g.kvm_s390_dbf_uv)
    if goto.reached("err_kvm_uv"):
        debug_unregister(k, g.kvm_s390_dbf)
    raise goto.error


@kernel_function()
def __kvm_s390_exit(k: Kernel) -> None:
    """Undo __kvm_s390_init(), but for the floating interrupt controller."""
    g = k[KvmS390]
    gmap_unregister_pte_notifier(k, g.gmap_notifier)
    gmap_unregister_pte_notifier(k, g.vsie_gmap_notifier)
    with unchecked:
        atomic_notifier_chain_unregister(k, "s390_epoch_delta_notifier", g.kvm_clock_notifier)

    kvm_s390_gib_destroy(k)
    kvm_s390_pci_exit(k)
    debug_unregister(k, g.kvm_s390_dbf)
    debug_unregister(k, g.kvm_s390_dbf_uv)


@kernel_function(fails=(ENODEV, EINVAL))
def kvm_s390_init(k: Kernel) -> None:
    """Run when kvm.ko is loaded.

    Raises:
        KernelError: ENODEV if the machine cannot run guests, EINVAL if both nesting and huge
            pages are wanted, or what __kvm_s390_init() or kvm_init() gives.
    """
    g = k[KvmS390]
    if not sclp_has_sief2(k):
        pr_info(k, "kvm: SIE is not available")
        raise KernelError(ENODEV)

    if g.nested and g.hpage:
        pr_info(k, "kvm: huge pages cannot back guests of a host that supports nesting")
        raise KernelError(EINVAL)

    __kvm_s390_init(k)

    try:
        kvm_init(k, "kvm")
    except KernelError:
        __kvm_s390_exit(k)
        raise


@kernel_function()
def kvm_s390_exit(k: Kernel) -> None:
    """Run when kvm.ko is unloaded."""
    kvm_exit(k)

    __kvm_s390_exit(k)
