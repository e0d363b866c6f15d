# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors arch/s390/kvm/pci.c: the list of a VM's PCI devices."""

from __future__ import annotations

from kvm_ref.kernel import Kernel
from kvm_ref.linux.printk import WARN_ON_ONCE
from kvm_ref.virt.kvm_host import kvm
from kvm_ref.vocabulary import kernel_function


@kernel_function()
def kvm_s390_pci_init_list(k: Kernel, kvm: kvm) -> None:
    """Begin the list."""
    kvm.arch.kzdev_list = []


@kernel_function()
def kvm_s390_pci_clear_list(k: Kernel, kvm: kvm) -> None:
    """Warn if the list is not empty, which a list that was never begun is not either."""
    empty = kvm.arch is not None and kvm.arch.kzdev_list == []
    WARN_ON_ONCE(k, not empty, "!list_empty(&kvm->arch.kzdev_list)")
