# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors arch/x86/kernel/smp.c: how the other CPUs are stopped before the machine ends."""

from __future__ import annotations

from arch.x86.kernel.reboot import cpu_emergency_disable_virtualization
from kvm_ref.kernel import Kernel
from kvm_ref.linux.smp import interrupt_others
from kvm_ref.vocabulary import kernel_function


@kernel_function()
def sysvec_reboot(k: Kernel) -> None:
    """Leave VMX or SVM on this CPU, if KVM is still there, and stop it (stop_this_cpu())."""
    cpu_emergency_disable_virtualization(k)
    k.online.discard(k.cpu)


@kernel_function()
def native_stop_other_cpus(k: Kernel, wait: int) -> None:
    """Send every other online CPU the reboot vector, and wait until it stands still."""
    interrupt_others(k, sysvec_reboot)
