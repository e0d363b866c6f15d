# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors arch/arm64/kvm/hyp/nvhe/psci-relay.c: what protected EL2 makes of the host's calls to start CPUs."""

from __future__ import annotations

from arch.arm64.kvm.arm_data import Arm
from kvm_ref.kernel import Kernel
from kvm_ref.vocabulary import kernel_function

# include/uapi/linux/psci.h.
PSCI_RET_SUCCESS = 0
PSCI_RET_INVALID_PARAMS = -2


@kernel_function(args=("cpu",))
def psci_cpu_on(k: Kernel, cpu: int) -> int:
    """Start a CPU in EL2 first, if it ran when KVM was initialized: nobody has compared the others since.

    Returns:
        PSCI_RET_INVALID_PARAMS for a CPU that did not run then.
    """
    if cpu not in k[Arm].hyp_cpu_logical_map:
        return PSCI_RET_INVALID_PARAMS

    return PSCI_RET_SUCCESS
