# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors arch/x86/hyperv/hv_init.c: what KVM asks of Hyper-V when it runs on it."""

from __future__ import annotations

from collections.abc import Callable

from kvm_ref.kernel import Kernel, Resource, Statics
from kvm_ref.vocabulary import NULL, kernel_function


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

    __slots__ = ("hv_reenlightenment_cb", "hv_vp_assist_page")

    def __init__(self) -> None:
        self.hv_vp_assist_page: dict[int, hv_vp_assist_page] = {}
        self.hv_reenlightenment_cb: Callable[[Kernel], None] | None = None


@kernel_function(fails=NULL, args=("cpu",))
def hv_get_vp_assist_page(k: Kernel, cpu: int) -> hv_vp_assist_page | None:
    """Return a CPU's page, or NULL: it was not allocated when the CPU came up (asm/mshyperv.h)."""
    return k[HvInit].hv_vp_assist_page.setdefault(cpu, hv_vp_assist_page(f"hv_vp_assist_page/{cpu}"))


@kernel_function(acquires="hv_tscchange_cb", obj="cb")
def set_hv_tscchange_cb(k: Kernel, cb: Callable[[Kernel], None]) -> None:
    """Ask to be told when the TSC's rate changes because the machine moved."""
    k[HvInit].hv_reenlightenment_cb = cb


@kernel_function(releases="hv_tscchange_cb", obj="'kvm_hyperv_tsc_notifier'")
def clear_hv_tscchange_cb(k: Kernel) -> None:
    """Undo set_hv_tscchange_cb()."""
    k[HvInit].hv_reenlightenment_cb = None
