# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors arch/mips/kernel/smp-cps.c: a CPU that is taken out of service, on the platform that has these files."""

from __future__ import annotations

from kvm_ref.errno import EINVAL
from kvm_ref.kernel import Kernel
from kvm_ref.vocabulary import kernel_function


@kernel_function(fails=EINVAL)
def __cpu_disable(k: Kernel) -> int:
    """Take the CPU that runs out of service (cps_cpu_disable()); -EINVAL if its power cannot be gated."""
    k.online.discard(k.cpu)
    return 0
