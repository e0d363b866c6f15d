# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors arch/arm64/kernel/hyp-stub.S: the calls that set and reset the vectors of EL2.

Both are hypercalls: whose vectors VBAR_EL2 holds decides who answers. The stub that the boot
leaves there takes new vectors from anybody. KVM's own vectors take none, and hand EL2 back to the
stub on request, unless KVM is protected.
"""

from __future__ import annotations

from arch.arm64.kernel.sysreg import HYP_STUB_VECTORS, VBAR_EL2
from arch.arm64.kernel.virt import is_protected_kvm_enabled
from arch.arm64.kvm.hyp.nvhe.hyp_init import __kvm_handle_stub_hvc
from kvm_ref.kernel import Kernel
from kvm_ref.vocabulary import kernel_function


@kernel_function()
def __hyp_set_vectors(k: Kernel, phys_vector_base: int) -> None:
    """Put new vectors into EL2 of this CPU, if the stub is there."""
    if k.read(VBAR_EL2) == HYP_STUB_VECTORS:
        k.write(VBAR_EL2, phys_vector_base)


@kernel_function()
def __hyp_reset_vectors(k: Kernel) -> None:
    """Put the stub back into EL2 of this CPU; protected KVM does not listen."""
    if k.read(VBAR_EL2) == HYP_STUB_VECTORS:
        return

    if not is_protected_kvm_enabled(k):
        __kvm_handle_stub_hvc(k)
