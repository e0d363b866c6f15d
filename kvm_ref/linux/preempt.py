# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors include/linux/preempt.h: the switch of the preemption notifiers, which counts its users."""

from __future__ import annotations

from kvm_ref.kernel import Kernel
from kvm_ref.vocabulary import kernel_function


@kernel_function(acquires="static_key", obj="'preempt_notifier_key'")
def preempt_notifier_inc(k: Kernel) -> None:
    """Count one user more (kernel/sched/core.c)."""


@kernel_function(releases="static_key", obj="'preempt_notifier_key'")
def preempt_notifier_dec(k: Kernel) -> None:
    """Count one user less (kernel/sched/core.c)."""
