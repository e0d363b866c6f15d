# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors arch/x86/events/intel/pt.c: Processor Trace makes room for VMX.

On a CPU that cannot trace while VMX is on, perf must know that VMX is on, or it would try.
"""

from __future__ import annotations

from kvm_ref.kernel import Kernel, Statics
from kvm_ref.linux.percpu import PerCpu
from kvm_ref.vocabulary import kernel_function


class Pt(Statics):
    """The static variables of arch/x86/events/intel/pt.c."""

    __slots__ = ("vmx_on",)

    def __init__(self) -> None:
        # per_cpu(pt_ctx, cpu).vmx_on
        self.vmx_on = PerCpu(0)


@kernel_function(args=("on",))
def intel_pt_handle_vmx(k: Kernel, on: int) -> None:
    """Tell perf that VMX goes on (1) or is off again (0) on the CPU that runs."""
    k[Pt].vmx_on[k.cpu] = on
