# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors virt/kvm/kvm_main.c: what perf may ask KVM, where the architecture lets it ask."""

from __future__ import annotations

from collections.abc import Callable

from kvm_ref.kernel import Kernel
from kvm_ref.linux.perf_event import (
    perf_register_guest_info_callbacks,
    perf_unregister_guest_info_callbacks,
)
from kvm_ref.vocabulary import kernel_function


@kernel_function(args=("pt_intr_handler",))
def kvm_register_perf_callbacks(k: Kernel, pt_intr_handler: Callable[[Kernel], int] | None) -> None:
    """Let perf ask whether a sample hit a guest; `pt_intr_handler` is Intel's alone."""
    perf_register_guest_info_callbacks(k, "kvm_guest_cbs")


@kernel_function()
def kvm_unregister_perf_callbacks(k: Kernel) -> None:
    """Undo kvm_register_perf_callbacks()."""
    perf_unregister_guest_info_callbacks(k, "kvm_guest_cbs")
