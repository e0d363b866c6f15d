# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors include/linux/mm.h: pages that are freed with their last reference."""

from __future__ import annotations

from kvm_ref.kernel import Kernel
from kvm_ref.linux.gfp import pages
from kvm_ref.vocabulary import kernel_function


@kernel_function(releases="pages")
def put_page(k: Kernel, page: pages) -> None:
    """Drop the last reference to a page, which frees it."""


def current_mm(k: Kernel) -> str:
    """Return the memory description of the present task's process, by its name: ``current->mm``."""
    return k.at.task


@kernel_function(acquires="mm", obj="mm")
def mmgrab(k: Kernel, mm: str) -> None:
    """Keep the memory description of a process (include/linux/sched/mm.h)."""


@kernel_function(releases="mm")
def mmdrop(k: Kernel, mm: str) -> None:
    """Give up what mmgrab() kept (include/linux/sched/mm.h)."""
