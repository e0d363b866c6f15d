# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors include/linux/cpumask.h: a mask of CPUs that belongs to no CPU in particular."""

from __future__ import annotations

from kvm_ref.kernel import Kernel
from kvm_ref.linux.cpumask import cpumask_var_t
from kvm_ref.linux.percpu import PerCpu
from kvm_ref.vocabulary import kernel_function


@kernel_function(fails=False, acquires="cpumask", obj="mask[0]", symbol="alloc_cpumask_var_node")
def zalloc_cpumask_var(k: Kernel, mask: PerCpu[cpumask_var_t | None]) -> bool:
    """Allocate an empty mask, and let ``*mask`` point to it; free_cpumask_var() knows it as ``mask[0]``."""
    mask[0] = cpumask_var_t(k.new("cpumask"))
    return True
