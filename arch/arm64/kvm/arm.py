# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors arch/arm64/kvm/arm.c: kvm_arm_init(), which runs at boot and is never undone.

KVM is built into the kernel, so there is no exit function. Where kvm_arm_init() fails, what it
leaves behind stays for good: no label frees the interrupts of the timers and of the controller.
"""

from __future__ import annotations

from arch.arm64.kernel.virt import (
    is_hyp_mode_available,
    is_kernel_in_hyp_mode,
    is_protected_kvm_enabled,
)
from arch.arm64.kvm.arch_timer import kvm_timer_hyp_init
from arch.arm64.kvm.arm_data import KVM_MODE_NONE, Arm, kvm_get_mode
from arch.arm64.kvm.cpu import cpu_hyp_init, cpu_hyp_uninit, hyp_cpu_pm_exit, hyp_cpu_pm_init
from arch.arm64.kvm.hyp_mode import finalize_init_hyp_mode, init_hyp_mode, teardown_hyp_mode
from arch.arm64.kvm.reset import kvm_arm_init_sve, kvm_set_ipa_limit
from arch.arm64.kvm.sys_regs import kvm_sys_reg_table_init
from arch.arm64.kvm.vectors import kvm_init_vector_slots
from arch.arm64.kvm.vgic.vgic_init import kvm_vgic_hyp_init
from arch.arm64.kvm.vmid import kvm_arm_vmid_alloc_free, kvm_arm_vmid_alloc_init
from kvm_ref.errno import EBUSY, ENODEV, ENXIO, KernelError
from kvm_ref.kernel import Kernel
from kvm_ref.linux.printk import pr_err, pr_info
from kvm_ref.linux.smp import on_each_cpu
from kvm_ref.unwind import ladder
from kvm_ref.virt.kvm_main import kvm_init
from kvm_ref.virt.perf_callbacks import kvm_register_perf_callbacks, kvm_unregister_perf_callbacks
from kvm_ref.vocabulary import kernel_function


@kernel_function(fails=EBUSY)
def init_subsystems(k: Kernel) -> None:
    """Bring up controller and timer, with EL2 taken meanwhile; protected KVM keeps it.

    KVM can do without a controller (ENODEV, ENXIO), but not with one that fails otherwise.
    """
    g = k[Arm]
    with ladder(k) as goto:
        on_each_cpu(k, cpu_hyp_init, None)

        hyp_cpu_pm_init(k)

        with goto("out"):
            try:
                kvm_vgic_hyp_init(k)
                g.vgic_present = True
            except KernelError as error:
                if error.errno not in (ENODEV, ENXIO):
                    raise
                g.vgic_present = False

        with goto("out"):
            kvm_timer_hyp_init(k, g.vgic_present)

        kvm_register_perf_callbacks(k, None)

    goto.reached("out")
    if goto.failed:
        hyp_cpu_pm_exit(k)

    if goto.failed or not is_protected_kvm_enabled(k):
        on_each_cpu(k, cpu_hyp_uninit, None)

    if goto.failed:
        raise goto.error


@kernel_function()
def teardown_subsystems(k: Kernel) -> None:
    """Undo what init_subsystems() tells others; interrupts and devices stay."""
    kvm_unregister_perf_callbacks(k)
    hyp_cpu_pm_exit(k)


@kernel_function(fails=ENODEV)
def kvm_arm_init(k: Kernel) -> None:
    """Run at boot.

    Raises:
        KernelError: ENODEV if EL2 is not there or not wanted, or what the failing step gives.
            Protected KVM does not let go of EL2 then.
    """
    g = k[Arm]
    if not is_hyp_mode_available(k):
        pr_info(k, "kvm: HYP mode not available")
        raise KernelError(ENODEV)

    if kvm_get_mode(k) == KVM_MODE_NONE:
        pr_info(k, "kvm: disabled from command line")
        raise KernelError(ENODEV)

    try:
        kvm_sys_reg_table_init(k)
    except KernelError:
        pr_info(k, "kvm: error initializing system register tables")
        raise

    in_hyp_mode = is_kernel_in_hyp_mode(k)

    kvm_set_ipa_limit(k)

    kvm_arm_init_sve(k)

    try:
        kvm_arm_vmid_alloc_init(k)
    except KernelError:
        pr_err(k, "kvm: failed to initialize VMID allocator")
        raise

    with ladder(k) as goto:
        if not in_hyp_mode:
            with goto("out_err"):
                init_hyp_mode(k)

        with goto("out_hyp"):
            try:
                kvm_init_vector_slots(k)
            except KernelError:
                pr_err(k, "kvm: cannot initialise vector slots")
                raise

        with goto("out_hyp"):
            init_subsystems(k)

        mode = "VHE" if in_hyp_mode else "Protected nVHE" if is_protected_kvm_enabled(k) else "Hyp nVHE"
        pr_info(k, f"kvm: {mode} mode initialized")

        with goto("out_subs"):
            kvm_init(k, None)

        if not in_hyp_mode:
            finalize_init_hyp_mode(k)

        g.kvm_arm_initialised = True

        return

    if goto.reached("out_subs"):
        teardown_subsystems(k)
    if goto.reached("out_hyp"):
        if not in_hyp_mode:
            teardown_hyp_mode(k)
    if goto.reached("out_err"):
        kvm_arm_vmid_alloc_free(k)
    raise goto.error
