# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors include/linux/perf_event.h: how perf asks a hypervisor whether a sample hit a guest."""

from __future__ import annotations

from kvm_ref.kernel import Kernel
from kvm_ref.vocabulary import kernel_function


@kernel_function(acquires="perf_callbacks", obj="cbs")
def perf_register_guest_info_callbacks(k: Kernel, cbs: str) -> None:
    """Let perf ask (kernel/events/core.c)."""


@kernel_function(releases="perf_callbacks")
def perf_unregister_guest_info_callbacks(k: Kernel, cbs: str) -> None:
    """Undo perf_register_guest_info_callbacks() (kernel/events/core.c)."""
