# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors arch/x86/kvm/mmu/page_track.c: telling others, such as i915's GVT, of writes by a guest."""

from __future__ import annotations

from kvm_ref.errno import ENOMEM
from kvm_ref.kernel import Kernel
from kvm_ref.linux.srcu import cleanup_srcu_struct, init_srcu_struct
from kvm_ref.virt.kvm_host import kvm
from kvm_ref.vocabulary import kernel_function


@kernel_function(config="KVM_EXTERNAL_WRITE_TRACKING")
def kvm_page_track_cleanup(k: Kernel, kvm: kvm) -> None:
    """Undo kvm_page_track_init()."""
    cleanup_srcu_struct(k, kvm.arch.track_srcu)


@kernel_function(config="KVM_EXTERNAL_WRITE_TRACKING", fails=ENOMEM)
def kvm_page_track_init(k: Kernel, kvm: kvm) -> None:
    """Give a VM an empty list of those who want to be told.

    Raises:
        KernelError: what init_srcu_struct() gives.
    """
    init_srcu_struct(k, kvm.arch.track_srcu)
