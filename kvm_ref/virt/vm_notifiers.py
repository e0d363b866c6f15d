# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors virt/kvm/kvm_main.c: of what a VM is told: that its process's memory goes, that the system sleeps."""

from __future__ import annotations

from kvm_ref.errno import ENOMEM
from kvm_ref.kernel import Kernel
from kvm_ref.linux.mmu_notifier import mmu_notifier, mmu_notifier_register
from kvm_ref.linux.notifier import PmEvent, notifier_block, register_pm_notifier, unregister_pm_notifier
from kvm_ref.unwind import unchecked
from kvm_ref.virt import kvm_host
from kvm_ref.virt.kvm_host import kvm
from kvm_ref.vocabulary import kernel_function


@kernel_function()
def kvm_flush_remote_tlbs(k: Kernel, kvm: kvm) -> None:
    """Have every vCPU drop its translations; here a VM has none."""


@kernel_function()
def kvm_flush_shadow_all(k: Kernel, kvm: kvm) -> None:
    """Drop all that maps the VM's memory."""
    if k.arch.kvm_arch_flush_shadow_all:
        k.arch.kvm_arch_flush_shadow_all(k, kvm)


@kernel_function(config="KVM_GENERIC_MMU_NOTIFIER")
def kvm_mmu_notifier_release(k: Kernel, mn: mmu_notifier) -> None:
    """Run when the process's memory goes, or the subscription is given up."""
    kvm = mn.container
    assert isinstance(kvm, kvm_host.kvm)
    kvm_flush_shadow_all(k, kvm)


@kernel_function(config="KVM_GENERIC_MMU_NOTIFIER", fails=ENOMEM)
def kvm_init_mmu_notifier(k: Kernel, kvm: kvm) -> None:
    """Be told of changes to the process's memory."""
    kvm.mmu_notifier.release = kvm_mmu_notifier_release
    mmu_notifier_register(k, kvm.mmu_notifier)


@kernel_function(config="HAVE_KVM_PM_NOTIFIER")
def kvm_pm_notifier_call(k: Kernel, bl: notifier_block, state: PmEvent) -> None:
    """Let the architecture know that the system goes to sleep, or that it is awake."""
    kvm = bl.container
    assert isinstance(kvm, kvm_host.kvm)
    if k.arch.kvm_arch_pm_notifier:
        k.arch.kvm_arch_pm_notifier(k, kvm, state)


@kernel_function(config="HAVE_KVM_PM_NOTIFIER")
def kvm_init_pm_notifier(k: Kernel, kvm: kvm) -> None:
    """Be told before the system sleeps; nobody asks whether that worked."""
    kvm.pm_notifier.notifier_call = kvm_pm_notifier_call
    with unchecked:
        register_pm_notifier(k, kvm.pm_notifier)


@kernel_function(config="HAVE_KVM_PM_NOTIFIER")
def kvm_destroy_pm_notifier(k: Kernel, kvm: kvm) -> None:
    """Undo kvm_init_pm_notifier()."""
    with unchecked:
        unregister_pm_notifier(k, kvm.pm_notifier)
