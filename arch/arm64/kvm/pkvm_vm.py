# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors arch/arm64/kvm/pkvm.c: a VM as protected EL2 knows it, which is from its first run on."""

from __future__ import annotations

from kvm_ref.errno import ENOMEM
from kvm_ref.kernel import Kernel
from kvm_ref.linux.mutex import guard
from kvm_ref.virt.kvm_host import kvm
from kvm_ref.vocabulary import kernel_function


# It returns 0 whatever happens, but to a caller that is ready for an error: one can be put in.
@kernel_function(fails=ENOMEM)
def pkvm_init_host_vm(k: Kernel, host_kvm: kvm) -> None:
    """Do what EL2 needs for a new VM, which is nothing."""


@kernel_function()
def __pkvm_destroy_hyp_vm(k: Kernel, host_kvm: kvm) -> None:
    """Let EL2 forget a VM; one that never ran it has not heard of."""


@kernel_function()
def pkvm_destroy_hyp_vm(k: Kernel, host_kvm: kvm) -> None:
    """Let EL2 forget a VM."""
    with guard(k, host_kvm.arch.config_lock):
        __pkvm_destroy_hyp_vm(k, host_kvm)
