# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors arch/s390/kvm/kvm-s390.c: what a VM has of its own on s390.

The kernel is one without VMs that user space controls (CONFIG_KVM_S390_UCONTROL), and no VM is
protected or has a vCPU.
"""

from __future__ import annotations

from arch.s390.kernel.debug import debug_register, debug_register_view, debug_unregister
from arch.s390.kvm.interrupt_vm import (
    kvm_s390_clear_float_irqs,
    kvm_s390_destroy_adapters,
    kvm_s390_gisa_destroy,
    kvm_s390_gisa_init,
)
from arch.s390.kvm.pci import kvm_s390_pci_interp_allowed
from arch.s390.kvm.pci_vm import kvm_s390_pci_clear_list, kvm_s390_pci_init_list
from arch.s390.kvm.pv_vm import kvm_s390_pv_deinit_cleanup_all
from arch.s390.kvm.vm_data import kvm_arch
from arch.s390.kvm.vsie import kvm_s390_vsie_destroy, kvm_s390_vsie_init
from arch.s390.mm.gmap_vm import gmap_create, gmap_remove, s390_enable_sie
from kvm_ref.errno import EINVAL, ENOMEM, KernelError
from kvm_ref.kernel import Kernel, Statics
from kvm_ref.linux.gfp import free_page, get_zeroed_page
from kvm_ref.linux.module import Param
from kvm_ref.linux.mutex import lockdep_assert_held, mutex_lock, mutex_unlock
from kvm_ref.unwind import ladder, unchecked
from kvm_ref.virt.kvm_host import __kvm_arch_free_vm, kvm
from kvm_ref.virt.kvm_vm import KvmVm
from kvm_ref.vocabulary import kernel_function

PAGE_SIZE = 4096
# sizeof(struct bsca_block).
BSCA_SIZE = 2112


class KvmS390Vm(Statics):
    """The static variables of arch/s390/kvm/kvm-s390.c that have to do with VMs."""

    __slots__ = ("sca_offset", "use_gisa")
    module = "kvm"

    def __init__(self) -> None:
        self.sca_offset = 0
        self.use_gisa = True


PARAMS = (Param("use_gisa", KvmS390Vm, perm=0o644),)


@kernel_function()
def kvm_s390_vcpu_pci_enable_interp(k: Kernel, kvm: kvm) -> None:
    """Let a VM's PCI instructions be interpreted, if the machine can."""
    lockdep_assert_held(k, kvm.arch.lock)

    if not kvm_s390_pci_interp_allowed(k):
        return

    kvm.arch.use_zpci_interp = True


@kernel_function()
def kvm_s390_crypto_init(k: Kernel, kvm: kvm) -> None:
    """Make a VM's crypto control block, in its SIE page, with keys of its own."""


@kernel_function()
def sca_dispose(k: Kernel, kvm: kvm) -> None:
    """Free the system control area, which is a basic one."""
    free_page(k, kvm.arch.sca)
    kvm.arch.sca = None


@kernel_function()
def kvm_arch_free_vm(k: Kernel, kvm: kvm) -> None:
    """Free a VM, after a look at its list of PCI devices; it may have got none yet."""
    if "VFIO_PCI_ZDEV_KVM" in k.arch.config:
        kvm_s390_pci_clear_list(k, kvm)

    __kvm_arch_free_vm(k, kvm)


@kernel_function(fails=(ENOMEM, EINVAL), args=("type",))
def kvm_arch_init_vm(k: Kernel, kvm: kvm, type: int) -> None:
    """Give a VM its control blocks, a log, and a guest address space.

    Raises:
        KernelError: EINVAL, the type is not 0, or the process cannot have guests; ENOMEM, there is
            no memory for one of them.
    """
    g = k[KvmS390Vm]
    kvm.arch = kvm_arch()
    with ladder(k) as goto:
        with goto("out_err"):
            if type:
                raise KernelError(EINVAL)

        with goto("out_err"):
            s390_enable_sie(k)

        kvm.arch.sca = get_zeroed_page(k, "bsca_block")
        with goto("out_err"):
            if not kvm.arch.sca:
                raise KernelError(ENOMEM)
        # Each VM has its block at another place in the page than the VM before.
        mutex_lock(k, k[KvmVm].kvm_lock)
        g.sca_offset += 16
        if g.sca_offset + BSCA_SIZE > PAGE_SIZE:
            g.sca_offset = 0
        kvm.arch.sca_offset = g.sca_offset
        mutex_unlock(k, k[KvmVm].kvm_lock)

        kvm.arch.dbf = debug_register(k, f"kvm-{k.at.task}")
        with goto("out_err"):
            if not kvm.arch.dbf:
                raise KernelError(ENOMEM)

        kvm.arch.sie_page2 = get_zeroed_page(k, "sie_page2")
        with goto("out_err"):
            if not kvm.arch.sie_page2:
                raise KernelError(ENOMEM)

        kvm_s390_crypto_init(k, kvm)

        if "VFIO_PCI_ZDEV_KVM" in k.arch.config:
            mutex_lock(k, kvm.arch.lock)
            kvm_s390_pci_init_list(k, kvm)
            kvm_s390_vcpu_pci_enable_interp(k, kvm)
            mutex_unlock(k, kvm.arch.lock)

        with unchecked:
            debug_register_view(k, kvm.arch.dbf, "sprintf")

        kvm.arch.gmap = gmap_create(k)
        with goto("out_err"):
            if not kvm.arch.gmap:
                raise KernelError(ENOMEM)

        kvm_s390_vsie_init(k, kvm)
        if g.use_gisa:
            kvm_s390_gisa_init(k, kvm)

        return

    if goto.reached("out_err"):
        free_page(k, kvm.arch.sie_page2)
        debug_unregister(k, kvm.arch.dbf)
        sca_dispose(k, kvm)
    raise goto.error


@kernel_function()
def kvm_arch_destroy_vm(k: Kernel, kvm: kvm) -> None:
    """Undo kvm_arch_init_vm(); not in the reverse order."""
    sca_dispose(k, kvm)
    kvm_s390_gisa_destroy(k, kvm)
    with unchecked:
        kvm_s390_pv_deinit_cleanup_all(k, kvm)

    debug_unregister(k, kvm.arch.dbf)
    free_page(k, kvm.arch.sie_page2)
    gmap_remove(k, kvm.arch.gmap)
    kvm_s390_destroy_adapters(k, kvm)
    kvm_s390_clear_float_irqs(k, kvm)
    kvm_s390_vsie_destroy(k, kvm)
