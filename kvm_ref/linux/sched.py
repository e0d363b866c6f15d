# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors include/linux/sched.h: the number of the task that runs."""

from __future__ import annotations

from kvm_ref.kernel import Kernel

# Of the one process that creates VMs; nobody else is asked for.
VMM_PID = 1000


def task_pid_nr(k: Kernel) -> int:
    """Return the number of the task that runs (include/linux/pid.h)."""
    return VMM_PID
