# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors arch/arm64/kvm/hyp/nvhe/mem_protect.c: pages that protected EL2 and the host both see.

EL2 looks into no other page of the host's.
"""

from __future__ import annotations

from kvm_ref.errno import EPERM
from kvm_ref.kernel import Kernel
from kvm_ref.vocabulary import kernel_function


@kernel_function(fails=EPERM, acquires="hyp_share", obj="pfn")
def __pkvm_host_share_hyp(k: Kernel, pfn: str) -> None:
    """Share a page of the host's with EL2.

    Raises:
        KernelError: EPERM, the page is not the host's alone. Without a page for a table EL2 panics.
    """


@kernel_function(fails=EPERM, releases="hyp_share")
def __pkvm_host_unshare_hyp(k: Kernel, pfn: str) -> None:
    """Take a page back from EL2.

    Raises:
        KernelError: EPERM, the page is not shared.
    """
