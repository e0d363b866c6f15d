# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors virt/kvm/guest_memfd.c: memory that only the guest can reach."""

from __future__ import annotations

from kvm_ref.kernel import Kernel
from kvm_ref.vocabulary import kernel_function


@kernel_function(config="KVM_PRIVATE_MEM")
def kvm_gmem_init(k: Kernel, module: str | None) -> None:
    """Let the files of guest memory hold a reference to `module`. It cannot fail in 6.12."""
