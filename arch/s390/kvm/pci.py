# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors arch/s390/kvm/pci.c: PCI devices in guests, and forwarding of their interrupts.

Forwarding (AEN) needs a machine that interprets PCI instructions: the feature zpci_interp. What is
allocated when it is first set up stays with firmware until the next boot, by intent.
"""

from __future__ import annotations

from arch.s390.cio.airq import airq_iv, airq_iv_create, airq_iv_release
from arch.s390.pci.pci import Zpci, zpci_set_irq_ctrl, zpci_sic_iib
from kvm_ref.errno import EINVAL, EIO, ENOMEM, EPERM, KernelError
from kvm_ref.kernel import Kernel, Statics
from kvm_ref.linux.gfp import alloc_pages, free_pages, pages
from kvm_ref.linux.mutex import Mutex, lockdep_assert_held, mutex_lock, mutex_unlock
from kvm_ref.linux.slab import kcalloc, kfree, kmemory, kzalloc
from kvm_ref.unwind import ladder
from kvm_ref.vocabulary import kernel_function


class zpci_aift:
    """The table of forwarded interrupts, in `memory`."""

    __slots__ = ("aift_lock", "gait", "kzdev", "memory", "sbv")

    def __init__(self, memory: kmemory) -> None:
        self.memory = memory
        self.gait: pages | None = None
        self.sbv: airq_iv | None = None
        self.kzdev: kmemory | None = None
        self.aift_lock = Mutex("aift_lock")


class Pci(Statics):
    """The variables of arch/s390/kvm/pci.c."""

    __slots__ = ("aift",)
    module = "kvm"

    def __init__(self) -> None:
        self.aift: zpci_aift | None = None


def aift(k: Kernel) -> zpci_aift:
    """Return the table, which exists if forwarding does."""
    found = k[Pci].aift
    assert found is not None
    return found


def kvm_s390_pci_interp_allowed(k: Kernel) -> bool:
    """Say whether the machine interprets PCI instructions (arch/s390/kvm/pci.h)."""
    return k.features["zpci_interp"]


@kernel_function()
def kvm_s390_pci_aen_exit(k: Kernel) -> None:
    """Forget the tables; what firmware uses stays."""
    a = aift(k)
    lockdep_assert_held(k, a.aift_lock)

    gait_kzdev = a.kzdev
    a.gait = None
    a.sbv = None
    a.kzdev = None

    kfree(k, gait_kzdev)


@kernel_function(fails=(ENOMEM, EIO), translates=True)
def zpci_setup_aipb(k: Kernel, nisc: int) -> None:
    """Allocate the tables and tell firmware, the first time since boot."""
    z = k[Zpci]
    a = aift(k)
    memory = kzalloc(k, "zpci_sic_iib")
    if not memory:
        raise KernelError(ENOMEM)
    z.zpci_aipb = zpci_sic_iib(memory)

    with ladder(k) as goto:
        a.sbv = airq_iv_create(k, "aif_sbv")
        with goto("free_aipb"):
            if not a.sbv:
                raise KernelError(ENOMEM)
        z.zpci_aif_sbv = a.sbv
        page = alloc_pages(k, "gait")
        with goto("free_sbv"):
            if not page:
                raise KernelError(ENOMEM)
        a.gait = page

        z.zpci_aipb.gait = a.gait
        z.zpci_aipb.afi = nisc

        with goto("free_gait"):
            try:
                zpci_set_irq_ctrl(k, "SIC_SET_AENI_CONTROLS", 0)
            except KernelError:
                raise KernelError(EIO) from None

        return

    if goto.reached("free_gait"):
        free_pages(k, a.gait)
    if goto.reached("free_sbv"):
        assert a.sbv is not None
        airq_iv_release(k, a.sbv)
        z.zpci_aif_sbv = None
    if goto.reached("free_aipb"):
        kfree(k, z.zpci_aipb.memory)
        z.zpci_aipb = None
    raise goto.error


@kernel_function(fails=EINVAL)
def zpci_reset_aipb(k: Kernel, nisc: int) -> None:
    """Take up the tables that firmware has; -EINVAL if it has them for another subclass."""
    z = k[Zpci]
    assert z.zpci_aipb is not None
    if z.zpci_aipb.afi != nisc:
        raise KernelError(EINVAL)

    aift(k).sbv = z.zpci_aif_sbv
    aift(k).gait = z.zpci_aipb.gait


@kernel_function(fails=(ENOMEM, EPERM, EIO))
def kvm_s390_pci_aen_init(k: Kernel, nisc: int) -> None:
    """Set forwarding up; -EPERM if it is."""
    a = aift(k)
    if a.gait or a.sbv:
        raise KernelError(EPERM)

    mutex_lock(k, a.aift_lock)
    with ladder(k) as goto:
        a.kzdev = kcalloc(k, "kvm_zdev")
        with goto("unlock"):
            if not a.kzdev:
                raise KernelError(ENOMEM)

        with goto("free_zdev"):
            if not k[Zpci].zpci_aipb:
                zpci_setup_aipb(k, nisc)
            else:
                zpci_reset_aipb(k, nisc)

        with goto("unlock"):
            try:
                zpci_set_irq_ctrl(k, "SIC_IRQ_MODE_SINGLE", nisc)
            except KernelError:
                kvm_s390_pci_aen_exit(k)
                raise KernelError(EIO) from None

    if goto.reached("free_zdev"):
        kfree(k, a.kzdev)
    goto.reached("unlock")
    mutex_unlock(k, a.aift_lock)
    if goto.failed:
        raise goto.error


@kernel_function(fails=ENOMEM, config="VFIO_PCI_ZDEV_KVM")
def kvm_s390_pci_init(k: Kernel) -> None:
    """Let vfio reach KVM, and allocate the table if it will be needed."""
    k[Zpci].zpci_kvm_hook = True

    if not kvm_s390_pci_interp_allowed(k):
        return

    memory = kzalloc(k, "zpci_aift")
    if not memory:
        raise KernelError(ENOMEM)
    k[Pci].aift = zpci_aift(memory)


@kernel_function(config="VFIO_PCI_ZDEV_KVM")
def kvm_s390_pci_exit(k: Kernel) -> None:
    """Undo kvm_s390_pci_init()."""
    k[Zpci].zpci_kvm_hook = False

    if not kvm_s390_pci_interp_allowed(k):
        return

    kfree(k, aift(k).memory)
