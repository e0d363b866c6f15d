# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors arch/s390/kvm/pv.c: what is left of a VM that was protected; here none ever is."""

from __future__ import annotations

from kvm_ref.errno import EIO
from kvm_ref.kernel import Kernel
from kvm_ref.virt.kvm_host import kvm
from kvm_ref.vocabulary import kernel_function


@kernel_function(fails=EIO)
def kvm_s390_pv_deinit_cleanup_all(k: Kernel, kvm: kvm) -> None:
    """Have the ultravisor destroy what it holds of a VM, which is nothing if the process has no protected one.

    Raises:
        KernelError: EIO, the ultravisor refuses.
    """
