# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors arch/x86/include/asm/msr.h and cpufeature.h: registers and features of an x86 CPU.

A feature test is a call of its own in the trace only where an error exit depends on it, so that
a fault plan can take the feature away.
"""

from __future__ import annotations

from kvm_ref.errno import EIO
from kvm_ref.kernel import Kernel
from kvm_ref.vocabulary import kernel_function

MSR_IA32_FEAT_CTL = "IA32_FEAT_CTL"
MSR_EFER = "MSR_EFER"
MSR_IA32_CR_PAT = "MSR_IA32_CR_PAT"
MSR_TSC_AUX = "MSR_TSC_AUX"
EFER_SVME = 1 << 12
CR4 = "CR4"
X86_CR4_VMXE = 1 << 13
CPUID_1_ECX_VMX = 1 << 5
X86_VENDOR_AMD = 2
X86_VENDOR_HYGON = 9


@kernel_function(fails=EIO, args=("msr",))
def rdmsrl_safe(k: Kernel, msr: str, p: list[int]) -> None:
    """Read a model-specific register into ``p[0]``; -EIO if the CPU does not have it."""
    p[0] = k.read(msr)


@kernel_function(fails=EIO, args=("msr",))
def rdmsr_safe(k: Kernel, msr: str, low: list[int], high: list[int]) -> None:
    """Read a model-specific register into two halves; -EIO, and 0 in both, if the CPU does not have it."""
    val = k.read(msr)
    low[0] = val & 0xFFFFFFFF
    high[0] = val >> 32


@kernel_function(fails=EIO, args=("msr",))
def native_read_msr_safe(k: Kernel, msr: str) -> int:
    """Return a model-specific register; -EIO, in C by a pointer, if the CPU does not have it."""
    return k.read(msr)


@kernel_function(fails=EIO, args=("msr",))
def native_write_msr_safe(k: Kernel, msr: str, value: int) -> None:
    """Write a model-specific register, in C its two halves; -EIO if the CPU refuses."""
    k.write(msr, value)


@kernel_function(fails=EIO, args=("msr",))
def wrmsrl_safe(k: Kernel, msr: str, value: int) -> None:
    """Write a model-specific register; -EIO if the CPU refuses."""
    k.write(msr, value)


def rdmsrl(k: Kernel, msr: str) -> int:
    """Read a model-specific register that is known to exist."""
    return k.read(msr)


def wrmsrl(k: Kernel, msr: str, value: int) -> None:
    """Write a model-specific register that is known to exist."""
    k.write(msr, value)


@kernel_function(fails=False, args=("cpu",))
def cpu_data(k: Kernel, cpu: int) -> int:
    """Return what is known of a CPU (asm/processor.h); of that only who made it, x86_vendor: a fault makes it Intel."""
    return X86_VENDOR_AMD


@kernel_function(fails=False, args=("feature",))
def boot_cpu_has(k: Kernel, feature: str) -> bool:
    """Say whether the boot CPU has a feature that KVM cannot do without."""
    return True


@kernel_function(fails=False, args=("feature",))
def cpu_has(k: Kernel, feature: str) -> bool:
    """Say whether the CPU that runs has a feature that KVM cannot do without."""
    return True


@kernel_function(fails=False, args=("feature",))
def this_cpu_has(k: Kernel, feature: str) -> bool:
    """Say whether the CPU that runs has a feature, and firmware left it on."""
    return True


@kernel_function(fails=True, args=("attr",))
def cc_platform_has(k: Kernel, attr: str) -> bool:
    """Say whether this machine is itself a confidential guest (arch/x86/coco/core.c)."""
    return False


@kernel_function(fails=False, args=("op",))
def cpuid_ecx(k: Kernel, op: int) -> int:
    """Return ECX of CPUID leaf `op`, all bits that KVM asks for set; a fault clears them."""
    return CPUID_1_ECX_VMX


def _cr4_update(k: Kernel, set: int, clear: int) -> None:
    # cr4_update_irqsoff() of arch/x86/kernel/cpu/common.c: what would not change is not written.
    cr4 = k.read(CR4)
    newval = (cr4 & ~clear) | set
    if newval != cr4:
        k.write(CR4, newval)


@kernel_function(args=("mask",))
def cr4_set_bits(k: Kernel, mask: int) -> None:
    """Set bits in CR4 of the CPU that runs (arch/x86/include/asm/tlbflush.h)."""
    _cr4_update(k, mask, 0)


@kernel_function(args=("mask",))
def cr4_clear_bits(k: Kernel, mask: int) -> None:
    """Clear bits in CR4 of the CPU that runs (arch/x86/include/asm/tlbflush.h)."""
    _cr4_update(k, 0, mask)


def cr4_read_shadow(k: Kernel) -> int:
    """Return CR4 of the CPU that runs (arch/x86/include/asm/tlbflush.h)."""
    return k.read(CR4)


def __read_cr4(k: Kernel) -> int:
    """Return CR4 of the CPU that runs, from the register itself (asm/special_insns.h)."""
    return k.read(CR4)
