# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors arch/arm64/kvm/arm.c: its variables, and the parameter kvm-arm.mode."""

from __future__ import annotations

from kvm_ref.errno import EINVAL, KernelError
from kvm_ref.kernel import Kernel, Statics
from kvm_ref.linux.gfp import pages
from kvm_ref.linux.notifier import notifier_block
from kvm_ref.linux.percpu import PerCpu
from kvm_ref.vocabulary import kernel_function

# enum kvm_mode, by what the user writes.
KVM_MODE_DEFAULT = "nvhe"
KVM_MODE_PROTECTED = "protected"
KVM_MODE_NONE = "none"
# No value of the kernel's: the mode is the default one, and the CPU has VHE.
KVM_MODE_VHE = "vhe"


class Arm(Statics):
    """The static variables of arch/arm64/kvm/arm.c.

    Those from kvm_arm_hyp_stack_page on belong to the code that runs in EL2 without VHE;
    `hcr_el2` and `sve_state` lie in the pages of kvm_arm_hyp_percpu_base.
    """

    __slots__ = (
        "hcr_el2", "hyp_cpu_logical_map", "hyp_init_cpu_pm_nb", "hyp_spectre_vector_selector",
        "kvm_arm_hyp_percpu_base", "kvm_arm_hyp_stack_page", "kvm_arm_initialised",
        "kvm_hyp_initialized", "kvm_hyp_vector", "kvm_mode", "sve_state", "vgic_present",
    )  # fmt: skip
    module = "kvm"

    def __init__(self) -> None:
        self.kvm_mode = KVM_MODE_DEFAULT
        self.vgic_present = False
        self.kvm_arm_initialised = False
        self.kvm_hyp_initialized = PerCpu(0)
        self.hyp_init_cpu_pm_nb = notifier_block("hyp_init_cpu_pm_nb")
        self.hyp_spectre_vector_selector: dict[str, str] = {}
        self.kvm_hyp_vector = PerCpu("")
        self.kvm_arm_hyp_stack_page: PerCpu[pages | None] = PerCpu(None)
        self.kvm_arm_hyp_percpu_base: PerCpu[pages | None] = PerCpu(None)
        self.hcr_el2 = PerCpu(0)
        self.sve_state: PerCpu[pages | None] = PerCpu(None)
        self.hyp_cpu_logical_map: list[int] = []


@kernel_function(uses="pages", obj="base[cpu]", args=("sym", "cpu"))
def per_cpu_ptr_nvhe_sym(k: Kernel, sym: str, base: PerCpu[pages | None], cpu: int) -> pages | None:
    """Return where EL2 has a CPU's variable; NULL without pages (arch/arm64/include/asm/kvm_asm.h)."""
    return base[cpu]


def early_kvm_mode_cfg(arg: str) -> str:
    """Read the parameter kvm-arm.mode.

    Raises:
        KernelError: EINVAL, it is no mode.
    """
    if arg not in (KVM_MODE_DEFAULT, KVM_MODE_VHE, KVM_MODE_PROTECTED, KVM_MODE_NONE):
        raise KernelError(EINVAL)
    return arg


def kvm_get_mode(k: Kernel) -> str:
    """Return the mode that was asked for."""
    return k[Arm].kvm_mode
