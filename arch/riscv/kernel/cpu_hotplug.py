# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors arch/riscv/kernel/cpu-hotplug.c: a hart that is taken out of service."""

from __future__ import annotations

from kvm_ref.errno import EOPNOTSUPP
from kvm_ref.kernel import Kernel
from kvm_ref.vocabulary import kernel_function


@kernel_function(fails=EOPNOTSUPP)
def __cpu_disable(k: Kernel) -> int:
    """Take the hart that runs out of service; -EOPNOTSUPP if firmware cannot stop it, which it can here."""
    k.online.discard(k.cpu)
    return 0
