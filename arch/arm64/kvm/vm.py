# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors arch/arm64/kvm/arm.c: what makes a VM an Arm VM, and takes that from it again.

VCPUs are not modelled, nor is what only they bring: a VM is closed as it was made.
"""

from __future__ import annotations

from arch.arm64.kernel.virt import has_vhe, is_protected_kvm_enabled
from arch.arm64.kvm.hyp_share import kvm_share_hyp, kvm_unshare_hyp
from arch.arm64.kvm.nested import kvm_destroy_nested, kvm_init_nested
from arch.arm64.kvm.pkvm_vm import pkvm_destroy_hyp_vm, pkvm_init_host_vm
from arch.arm64.kvm.stage2 import kvm_init_stage2_mmu, kvm_uninit_stage2_mmu
from arch.arm64.kvm.vgic.vgic_vm import kvm_vgic_destroy, kvm_vgic_early_init
from arch.arm64.kvm.vm_data import kvm_arch
from arch.arm64.linux.cpumask import zalloc_cpumask_var
from kvm_ref.errno import EINVAL, ENOMEM, EPERM, KernelError
from kvm_ref.kernel import Commit, Kernel
from kvm_ref.linux.bitmap import bitmap_free
from kvm_ref.linux.cpumask import free_cpumask_var
from kvm_ref.linux.debugfs import debugfs_create_file
from kvm_ref.linux.mutex import mutex_lock, mutex_unlock
from kvm_ref.linux.slab import __vmalloc, kfree, kzalloc
from kvm_ref.unwind import ladder
from kvm_ref.virt import kvm_host
from kvm_ref.virt.kvm_host import kvm
from kvm_ref.vocabulary import NULL, kernel_function

DESTROY_STAGE2 = Commit(
    "a3ca3bfd01b7", "KVM: arm64: Destroy stage-2 page-table in kvm_arch_destroy_vm()", default=False
)


@kernel_function(fails=NULL)
def kvm_arch_alloc_vm(k: Kernel) -> kvm | None:
    """Allocate a VM; only a kernel in EL2 need not have its pages together."""
    memory = __vmalloc(k, "struct kvm") if has_vhe(k) else kzalloc(k, "struct kvm")
    return kvm_host.kvm(memory) if memory else None


@kernel_function(fails=(ENOMEM, EINVAL, EPERM), args=("type",))
def kvm_arch_init_vm(k: Kernel, kvm: kvm, type: int) -> None:
    """Show a VM to EL2, and give it a stage 2; the low byte of its type is the number of address bits.

    Raises:
        KernelError: EINVAL, the type is none; ENOMEM; or what protected EL2 answers.
    """
    kvm.arch = kvm_arch()

    kvm_share_hyp(k, kvm)

    with ladder(k) as goto:
        with goto("err_unshare_kvm"):
            pkvm_init_host_vm(k, kvm)

        with goto("err_unshare_kvm"):
            if not zalloc_cpumask_var(k, kvm.arch.supported_cpus):
                raise KernelError(ENOMEM)

        with goto("err_free_cpumask"):
            kvm_init_stage2_mmu(k, kvm, kvm.arch.mmu, type)

        with goto("err_uninit_mmu"):
            kvm_init_nested(k, kvm)

        kvm_vgic_early_init(k, kvm)

        return

    if goto.reached("err_uninit_mmu"):
        kvm_uninit_stage2_mmu(k, kvm)
        kvm_destroy_nested(k, kvm)
    if goto.reached("err_free_cpumask"):
        free_cpumask_var(k, kvm.arch.supported_cpus, 0)
    if goto.reached("err_unshare_kvm"):
        kvm_unshare_hyp(k, kvm)
    raise goto.error


@kernel_function()
def kvm_sys_regs_create_debugfs(k: Kernel, kvm: kvm) -> None:
    """Make the file that lists the ID registers (arch/arm64/kvm/sys_regs.c)."""
    debugfs_create_file(k, "idregs", kvm.debugfs_dentry)


@kernel_function()
def kvm_arch_create_vm_debugfs(k: Kernel, kvm: kvm) -> None:
    """Make a VM's debugfs files; those of its stage 2 are for CONFIG_PTDUMP_STAGE2_DEBUGFS only."""
    kvm_sys_regs_create_debugfs(k, kvm)


@kernel_function()
def kvm_destroy_mpidr_data(k: Kernel, kvm: kvm) -> None:
    """Free the table of the VCPUs' names, which comes with the first run."""
    mutex_lock(k, kvm.arch.config_lock)
    mutex_unlock(k, kvm.arch.config_lock)


@kernel_function()
def kvm_arch_destroy_vm(k: Kernel, kvm: kvm) -> None:
    """Undo kvm_arch_init_vm(), but for the stage 2 without the commit: who calls has seen to that, or not."""
    bitmap_free(k, kvm.arch.pmu_filter)
    free_cpumask_var(k, kvm.arch.supported_cpus, 0)

    kvm_vgic_destroy(k, kvm)

    if is_protected_kvm_enabled(k):
        pkvm_destroy_hyp_vm(k, kvm)

    if k.has(DESTROY_STAGE2):
        kvm_uninit_stage2_mmu(k, kvm)
    kvm_destroy_mpidr_data(k, kvm)

    kfree(k, kvm.arch.sysreg_masks)

    kvm_unshare_hyp(k, kvm)

    kvm_destroy_nested(k, kvm)
