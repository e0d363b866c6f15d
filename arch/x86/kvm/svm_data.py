# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors arch/x86/kvm/svm/svm.h: the variables that svm.c and sev.c share."""

from __future__ import annotations

from kvm_ref.kernel import Resource, Statics
from kvm_ref.linux.gfp import pages
from kvm_ref.linux.percpu import PerCpu
from kvm_ref.linux.slab import kmemory


class bitmap(Resource):
    """A bitmap on the heap."""

    __slots__ = ()


class svm_cpu_data:
    """One CPU's part: the page that the CPU saves the host's state in, and SEV's table."""

    __slots__ = ("save_area", "save_area_pa", "sev_vmcbs")

    def __init__(self) -> None:
        self.save_area: pages | None = None
        self.save_area_pa = 0
        self.sev_vmcbs: kmemory | None = None


class Svm(Statics):
    """The static variables of arch/x86/kvm/svm/svm.c and sev.c."""

    __slots__ = (
        "avic", "current_tsc_ratio", "erratum_383_found", "iopm_base", "lbrv", "max_sev_asid",
        "min_sev_asid", "nested", "npt_enabled", "osvw_len", "osvw_status", "sev_asid_bitmap",
        "sev_enabled", "sev_es_enabled", "sev_reclaim_asid_bitmap", "sev_snp_enabled", "svm_data",
        "tsc_aux_uret_slot", "tsc_scaling",
    )  # fmt: skip
    module = "kvm_amd"

    def __init__(self) -> None:
        self.nested = True
        self.avic = False
        self.tsc_scaling = True
        self.npt_enabled = True
        self.lbrv = True
        self.osvw_len = 4
        self.osvw_status = 0
        self.erratum_383_found = False
        self.sev_enabled = True
        self.sev_es_enabled = True
        self.sev_snp_enabled = True
        self.min_sev_asid = 0
        self.max_sev_asid = 0
        self.sev_asid_bitmap: bitmap | None = None
        self.sev_reclaim_asid_bitmap: bitmap | None = None
        self.svm_data: PerCpu[svm_cpu_data | None] = PerCpu(None)
        self.current_tsc_ratio = PerCpu(0)
        self.iopm_base: pages | None = None
        self.tsc_aux_uret_slot = -1
