# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors arch/arm64/kvm/pkvm.c: its variables."""

from __future__ import annotations

from kvm_ref.kernel import Statics
from kvm_ref.linux.jump_label import static_key


class Pkvm(Statics):
    """The static variables of arch/arm64/kvm/pkvm.c."""

    __slots__ = ("hyp_mem_base", "hyp_mem_size", "kvm_protected_mode_initialized")
    module = "kvm"

    def __init__(self) -> None:
        self.kvm_protected_mode_initialized = static_key("kvm_protected_mode_initialized")
        self.hyp_mem_base = 0
        self.hyp_mem_size = 0
