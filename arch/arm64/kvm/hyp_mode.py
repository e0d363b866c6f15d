# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors arch/arm64/kvm/arm.c: memory and mappings for EL2, where the kernel itself runs in EL1."""

from __future__ import annotations

from arch.arm64.kernel.cpufeature import system_supports_sve
from arch.arm64.kernel.sysreg import HCR_HOST_NVHE_FLAGS, HCR_HOST_NVHE_PROTECTED_FLAGS
from arch.arm64.kernel.virt import is_protected_kvm_enabled
from arch.arm64.kvm.arm_data import Arm, per_cpu_ptr_nvhe_sym
from arch.arm64.kvm.cpu import KEEP_PAGES_IN_USE, cpu_hyp_init_context, cpu_hyp_init_features
from arch.arm64.kvm.hyp.nvhe.hyp_main import __pkvm_init
from arch.arm64.kvm.mmu import (
    PAGE_HYP,
    PAGE_HYP_EXEC,
    PAGE_HYP_RO,
    create_hyp_mappings,
    create_hyp_stack,
    free_hyp_pgds,
    kvm_mmu_init,
)
from arch.arm64.kvm.pkvm_data import Pkvm
from kvm_ref.errno import ENODEV, ENOMEM, KernelError
from kvm_ref.kernel import Commit, Kernel
from kvm_ref.linux.cpumask import for_each_online_cpu, for_each_possible_cpu
from kvm_ref.linux.gfp import __get_free_page, alloc_pages, free_page, free_pages
from kvm_ref.linux.printk import BUG_ON, pr_err
from kvm_ref.unwind import ladder
from kvm_ref.vocabulary import kernel_function

FREE_PERCPU_LAST = Commit("9a2b9416fd1d", "KVM: arm64: Fix error path in init_hyp_mode()", default=False)


@kernel_function()
def teardown_hyp_mode(k: Kernel) -> None:
    """Free what init_hyp_mode() allocated, as far as it came.

    EL2 is not asked what is in use: KEEP_PAGES_IN_USE goes by what the host noted of each CPU.
    """
    g = k[Arm]
    free_sve = system_supports_sve(k) and is_protected_kvm_enabled(k)

    free_hyp_pgds(k)
    for cpu in for_each_possible_cpu(k):
        if k.has(KEEP_PAGES_IN_USE) and g.kvm_hyp_initialized[cpu]:
            continue

        free_page(k, g.kvm_arm_hyp_stack_page[cpu])
        if k.has(FREE_PERCPU_LAST):
            if not g.kvm_arm_hyp_percpu_base[cpu]:
                continue
        else:
            free_pages(k, g.kvm_arm_hyp_percpu_base[cpu])

        if free_sve:
            # Without FREE_PERCPU_LAST the pages that the pointer is read from are free, or were never there.
            host_data = per_cpu_ptr_nvhe_sym(k, "kvm_host_data", g.kvm_arm_hyp_percpu_base, cpu)
            BUG_ON(k, not host_data, "NULL pointer dereference in teardown_hyp_mode()")
            free_pages(k, g.sve_state[cpu])

        if k.has(FREE_PERCPU_LAST):
            free_pages(k, g.kvm_arm_hyp_percpu_base[cpu])


@kernel_function(args=("cpu",))
def cpu_prepare_hyp_mode(k: Kernel, cpu: int) -> None:
    """Leave the values that a CPU's EL2 registers are to have where EL2 finds them."""
    g = k[Arm]
    per_cpu_ptr_nvhe_sym(k, "kvm_init_params", g.kvm_arm_hyp_percpu_base, cpu)
    per_cpu_ptr_nvhe_sym(k, "__per_cpu_start", g.kvm_arm_hyp_percpu_base, cpu)
    if is_protected_kvm_enabled(k):
        g.hcr_el2[cpu] = HCR_HOST_NVHE_PROTECTED_FLAGS
    else:
        g.hcr_el2[cpu] = HCR_HOST_NVHE_FLAGS


@kernel_function()
def kvm_hyp_init_symbols(k: Kernel) -> None:
    """Copy what EL2 must know of the CPU's features."""


@kernel_function()
def init_cpu_logical_map(k: Kernel) -> None:
    """Tell EL2 which CPUs there are: those that run now, and no others later."""
    k[Arm].hyp_cpu_logical_map = list(for_each_online_cpu(k))


@kernel_function(fails=False)
def init_psci_relay(k: Kernel) -> bool:
    """Let EL2 see every CPU that is started; False without the firmware interface for that."""
    if not k.features["psci"]:
        pr_err(k, "kvm: cannot initialize protected mode without PSCI")
        return False

    return True


@kernel_function(fails=ENOMEM)
def init_pkvm_host_sve_state(k: Kernel) -> None:
    """Allocate room for each CPU's vectors, which EL2 saves there for the host."""
    g = k[Arm]
    if not system_supports_sve(k):
        return

    for cpu in for_each_possible_cpu(k):
        page = alloc_pages(k, "sve_state")

        if not page:
            raise KernelError(ENOMEM)

        per_cpu_ptr_nvhe_sym(k, "kvm_host_data", g.kvm_arm_hyp_percpu_base, cpu)
        g.sve_state[cpu] = page


@kernel_function()
def finalize_init_hyp_mode(k: Kernel) -> None:
    """Turn the pointers to that room into addresses of EL2, now that nothing can fail."""
    if system_supports_sve(k) and is_protected_kvm_enabled(k):
        for cpu in for_each_possible_cpu(k):
            # Read the kernel's address, then write EL2's.
            per_cpu_ptr_nvhe_sym(k, "kvm_host_data", k[Arm].kvm_arm_hyp_percpu_base, cpu)
            per_cpu_ptr_nvhe_sym(k, "kvm_host_data", k[Arm].kvm_arm_hyp_percpu_base, cpu)


@kernel_function(fails=ENOMEM)
def do_pkvm_init(k: Kernel) -> None:
    """Take EL2 of this CPU and let it build its own page tables; taken it stays, even if that fails."""
    cpu_hyp_init_context(k)
    try:
        __pkvm_init(k)
    finally:
        cpu_hyp_init_features(k)

        # The stub's hypercalls are gone: kvm_arch_enable_virtualization_cpu() must not come again.
        k[Arm].kvm_hyp_initialized[k.cpu] = 1


@kernel_function(fails=ENOMEM)
def kvm_hyp_init_protection(k: Kernel) -> None:
    """Hand the reserved memory to EL2, which from then on maps what it sees itself."""
    create_hyp_mappings(k, "hyp_mem_base", PAGE_HYP)

    do_pkvm_init(k)

    free_hyp_pgds(k)


@kernel_function(fails=(ENOMEM, ENODEV))
def init_hyp_mode(k: Kernel) -> None:
    """Make page tables, stacks and per-CPU pages for EL2, and map them; no CPU is touched yet.

    Protected KVM takes EL2 of the CPU that runs, at the end.
    """
    g = k[Arm]
    with ladder(k) as goto:
        with goto("out_err"):
            if is_protected_kvm_enabled(k) and not k[Pkvm].hyp_mem_base:
                raise KernelError(ENOMEM)

        with goto("out_err"):
            kvm_mmu_init(k)

        for cpu in for_each_possible_cpu(k):
            stack_page = __get_free_page(k, "kvm_arm_hyp_stack_page")
            with goto("out_err"):
                if not stack_page:
                    raise KernelError(ENOMEM)

            g.kvm_arm_hyp_stack_page[cpu] = stack_page

        for cpu in for_each_possible_cpu(k):
            page = alloc_pages(k, "kvm_arm_hyp_percpu_base")
            with goto("out_err"):
                if not page:
                    raise KernelError(ENOMEM)

            g.kvm_arm_hyp_percpu_base[cpu] = page

        with goto("out_err"):
            try:
                create_hyp_mappings(k, "__hyp_text_start", PAGE_HYP_EXEC)
            except KernelError:
                pr_err(k, "kvm: cannot map world-switch code")
                raise

        with goto("out_err"):
            try:
                create_hyp_mappings(k, "__hyp_rodata_start", PAGE_HYP_RO)
            except KernelError:
                pr_err(k, "kvm: cannot map .hyp.rodata section")
                raise

        with goto("out_err"):
            try:
                create_hyp_mappings(k, "__start_rodata", PAGE_HYP_RO)
            except KernelError:
                pr_err(k, "kvm: cannot map rodata section")
                raise

        with goto("out_err"):
            try:
                create_hyp_mappings(k, "__hyp_bss_start", PAGE_HYP)
            except KernelError:
                pr_err(k, "kvm: cannot map hyp bss section")
                raise

        with goto("out_err"):
            try:
                create_hyp_mappings(k, "__hyp_bss_end", PAGE_HYP_RO)
            except KernelError:
                pr_err(k, "kvm: cannot map bss section")
                raise

        for cpu in for_each_possible_cpu(k):
            per_cpu_ptr_nvhe_sym(k, "kvm_init_params", g.kvm_arm_hyp_percpu_base, cpu)
            with goto("out_err"):
                try:
                    create_hyp_stack(k, str(g.kvm_arm_hyp_stack_page[cpu]))
                except KernelError:
                    pr_err(k, "kvm: cannot map hyp stack")
                    raise

        for cpu in for_each_possible_cpu(k):
            with goto("out_err"):
                try:
                    create_hyp_mappings(k, str(g.kvm_arm_hyp_percpu_base[cpu]), PAGE_HYP)
                except KernelError:
                    pr_err(k, "kvm: cannot map hyp percpu region")
                    raise

            cpu_prepare_hyp_mode(k, cpu)

        kvm_hyp_init_symbols(k)

        if is_protected_kvm_enabled(k):
            init_cpu_logical_map(k)

            with goto("out_err"):
                if not init_psci_relay(k):
                    raise KernelError(ENODEV)

            with goto("out_err"):
                init_pkvm_host_sve_state(k)

            with goto("out_err"):
                try:
                    kvm_hyp_init_protection(k)
                except KernelError:
                    pr_err(k, "kvm: failed to init hyp memory protection")
                    raise

        return

    if goto.reached("out_err"):
        teardown_hyp_mode(k)
        pr_err(k, "kvm: error initializing Hyp mode")
    raise goto.error
