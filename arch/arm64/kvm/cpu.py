# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors arch/arm64/kvm/arm.c: EL2 of one CPU, taken and handed back.

`kvm_hyp_initialized` says whether KVM has EL2 of a CPU. All of it happens twice on the way up:
init_subsystems() needs EL2 for a moment, then the CPU hotplug state takes it for good. Protected
KVM takes it once; neither the stub's hypercalls nor the hotplug state get it back.
"""

from __future__ import annotations

from arch.arm64.kernel.hyp_stub import __hyp_reset_vectors, __hyp_set_vectors
from arch.arm64.kernel.sysreg import KVM_HYP_INIT_VECTORS
from arch.arm64.kernel.virt import is_kernel_in_hyp_mode, is_protected_kvm_enabled
from arch.arm64.kvm.arch_timer import kvm_timer_cpu_down, kvm_timer_cpu_up, kvm_timer_init_vhe
from arch.arm64.kvm.arm_data import Arm, per_cpu_ptr_nvhe_sym
from arch.arm64.kvm.hyp.nvhe.hyp_init import SMCCC_RET_SUCCESS, __kvm_hyp_init
from arch.arm64.kvm.hyp.nvhe.hyp_main import __kvm_get_mdcr_el2
from arch.arm64.kvm.vectors import cpu_set_hyp_vector
from arch.arm64.kvm.vgic.vgic_init import (
    kvm_vgic_cpu_down,
    kvm_vgic_cpu_up,
    kvm_vgic_init_cpu_hardware,
)
from kvm_ref.errno import EIO
from kvm_ref.kernel import Commit, Kernel
from kvm_ref.linux.cpu_pm import cpu_pm_register_notifier, cpu_pm_unregister_notifier
from kvm_ref.linux.printk import WARN_ON
from kvm_ref.unwind import unchecked
from kvm_ref.vocabulary import kernel_function

KEEP_PAGES_IN_USE = Commit(
    "0e02219f9cf4", "KVM: arm64: Don't free hyp pages with pKVM on GICv2", default=False
)


@kernel_function()
def hyp_install_host_vector(k: Kernel) -> None:
    """Go from the stub's vectors over those of the identity map to KVM's."""
    __hyp_set_vectors(k, KVM_HYP_INIT_VECTORS)

    per_cpu_ptr_nvhe_sym(k, "kvm_init_params", k[Arm].kvm_arm_hyp_percpu_base, k.cpu)
    WARN_ON(k, __kvm_hyp_init(k) != SMCCC_RET_SUCCESS, "res.a0 != SMCCC_RET_SUCCESS")


@kernel_function()
def cpu_init_hyp_mode(k: Kernel) -> None:
    """Take EL2 of this CPU."""
    hyp_install_host_vector(k)


@kernel_function()
def cpu_hyp_reset(k: Kernel) -> None:
    """Hand EL2 of this CPU back to the stub; with VHE there is none."""
    if not is_kernel_in_hyp_mode(k):
        __hyp_reset_vectors(k)


@kernel_function()
def cpu_hyp_init_context(k: Kernel) -> None:
    """Take EL2 of this CPU, unless the kernel runs there."""
    if not is_kernel_in_hyp_mode(k):
        cpu_init_hyp_mode(k)


@kernel_function()
def kvm_arm_init_debug(k: Kernel) -> None:
    """Note what the boot left in MDCR_EL2 (arch/arm64/kvm/debug.c)."""
    __kvm_get_mdcr_el2(k)


@kernel_function()
def cpu_hyp_init_features(k: Kernel) -> None:
    """Set up what needs EL2: vectors, debug, timer, and the controller once it is known."""
    cpu_set_hyp_vector(k)
    kvm_arm_init_debug(k)

    if is_kernel_in_hyp_mode(k):
        kvm_timer_init_vhe(k)

    if k[Arm].vgic_present:
        kvm_vgic_init_cpu_hardware(k)


@kernel_function()
def cpu_hyp_reinit(k: Kernel) -> None:
    """Take EL2 of this CPU from whatever state it is in."""
    cpu_hyp_reset(k)
    cpu_hyp_init_context(k)
    cpu_hyp_init_features(k)


@kernel_function()
def cpu_hyp_init(k: Kernel, discard: object) -> None:
    """Take EL2 of this CPU unless KVM has it."""
    initialized = k[Arm].kvm_hyp_initialized
    if not initialized[k.cpu]:
        cpu_hyp_reinit(k)
        initialized[k.cpu] = 1


@kernel_function()
def cpu_hyp_uninit(k: Kernel, discard: object) -> None:
    """Hand EL2 of this CPU back if KVM has it."""
    initialized = k[Arm].kvm_hyp_initialized
    # Protected KVM does not hear the stub: with the commit nobody asks, and the note stays.
    keep = k.has(KEEP_PAGES_IN_USE) and is_protected_kvm_enabled(k)
    if not keep and initialized[k.cpu]:
        cpu_hyp_reset(k)
        initialized[k.cpu] = 0


# It returns 0 whatever happens, but to a caller that is ready for an error: one can be put in.
@kernel_function(fails=EIO)
def kvm_arch_enable_virtualization_cpu(k: Kernel) -> None:
    """Take EL2 of this CPU, and enable its interrupts."""
    cpu_hyp_init(k, None)

    kvm_vgic_cpu_up(k)
    kvm_timer_cpu_up(k)


@kernel_function()
def kvm_arch_disable_virtualization_cpu(k: Kernel) -> None:
    """Disable this CPU's interrupts, and hand EL2 back unless KVM is protected."""
    kvm_timer_cpu_down(k)
    kvm_vgic_cpu_down(k)

    if not is_protected_kvm_enabled(k):
        cpu_hyp_uninit(k, None)


@kernel_function()
def hyp_cpu_pm_init(k: Kernel) -> None:
    """Ask to be told when a CPU loses EL2 in a low-power mode; nobody asks whether that worked."""
    if not is_protected_kvm_enabled(k):
        with unchecked:
            cpu_pm_register_notifier(k, k[Arm].hyp_init_cpu_pm_nb)


@kernel_function()
def hyp_cpu_pm_exit(k: Kernel) -> None:
    """Undo hyp_cpu_pm_init()."""
    if not is_protected_kvm_enabled(k):
        with unchecked:
            cpu_pm_unregister_notifier(k, k[Arm].hyp_init_cpu_pm_nb)
