# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors arch/x86/hyperv/hv_init.c: what KVM asks of Hyper-V when it runs on it."""

from __future__ import annotations

from collections.abc import Callable

from arch.x86.kernel.msr import rdmsrl, wrmsrl
from kvm_ref.kernel import Kernel, Resource, Statics
from kvm_ref.linux.printk import pr_warn
from kvm_ref.vocabulary import NULL, kernel_function

tscchange_cb = Callable[[Kernel], None]

HV_X64_MSR_REENLIGHTENMENT_CONTROL = "HV_X64_MSR_REENLIGHTENMENT_CONTROL"
HV_X64_MSR_TSC_EMULATION_CONTROL = "HV_X64_MSR_TSC_EMULATION_CONTROL"
# HYPERV_REENLIGHTENMENT_VECTOR (asm/irq_vectors.h) and the bit `enabled` of struct hv_reenlightenment_control.
RE_VECTOR = 0xEE
RE_ENABLED = 1 << 16


class hv_vp_assist_page(Resource):
    """A page that Hyper-V and one CPU share; the fields that KVM sets."""

    __slots__ = ("current_nested_vmcs", "directhypercall", "enlighten_vmentry")

    def __init__(self, id: str) -> None:
        super().__init__(id)
        self.directhypercall = 0
        self.current_nested_vmcs = 0
        self.enlighten_vmentry = 0


class HvInit(Statics):
    """The static variables of arch/x86/hyperv/hv_init.c."""

    __slots__ = ("hv_reenlightenment_cb", "hv_vp_assist_page", "hv_vp_index")

    def __init__(self) -> None:
        self.hv_vp_assist_page: dict[int, hv_vp_assist_page] = {}
        # By CPU; NULL if Hyper-V could not be set up at boot.
        self.hv_vp_index: list[int] | None = None
        self.hv_reenlightenment_cb: tscchange_cb | None = None

    def at_boot(self, k: Kernel) -> None:
        """Give each CPU the number that Hyper-V knows it by, which is the same."""
        self.hv_vp_index = list(range(max(k.possible) + 1))


@kernel_function(fails=NULL, args=("cpu",))
def hv_get_vp_assist_page(k: Kernel, cpu: int) -> hv_vp_assist_page | None:
    """Return a CPU's page, or NULL: it was not allocated when the CPU came up (asm/mshyperv.h)."""
    return k[HvInit].hv_vp_assist_page.setdefault(cpu, hv_vp_assist_page(f"hv_vp_assist_page/{cpu}"))


def hv_reenlightenment_available(k: Kernel) -> bool:
    """Say whether Hyper-V tells when it has moved the machine."""
    return k.features["hv_reenlightenment"]


@kernel_function(acquires="hv_tscchange_cb", obj="'kvm_hyperv_tsc_notifier'")
def set_hv_tscchange_cb(k: Kernel, cb: tscchange_cb) -> tscchange_cb | None:
    """Ask to be told when the TSC's rate changes because the machine moved.

    Returns:
        `cb` if it is set now, else NULL, where the C returns nothing.
    """
    g = k[HvInit]
    if not hv_reenlightenment_available(k):
        pr_warn(k, "Hyper-V: reenlightenment support is unavailable")
        return None

    if g.hv_vp_index is None:
        return None

    g.hv_reenlightenment_cb = cb

    target_vp = g.hv_vp_index[k.cpu]

    wrmsrl(k, HV_X64_MSR_REENLIGHTENMENT_CONTROL, target_vp << 32 | RE_ENABLED | RE_VECTOR)
    wrmsrl(k, HV_X64_MSR_TSC_EMULATION_CONTROL, 1)
    return cb


@kernel_function(releases="hv_tscchange_cb", obj="'kvm_hyperv_tsc_notifier'", idempotent=True)
def clear_hv_tscchange_cb(k: Kernel) -> None:
    """Undo set_hv_tscchange_cb(), but for the vector and for what emulates the TSC."""
    if not hv_reenlightenment_available(k):
        return

    re_ctrl = rdmsrl(k, HV_X64_MSR_REENLIGHTENMENT_CONTROL)
    wrmsrl(k, HV_X64_MSR_REENLIGHTENMENT_CONTROL, re_ctrl & ~RE_ENABLED)

    k[HvInit].hv_reenlightenment_cb = None
