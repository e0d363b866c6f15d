# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors include/linux/io.h: registers of devices, mapped into the kernel's address space."""

from __future__ import annotations

from kvm_ref.kernel import Kernel, Resource
from kvm_ref.vocabulary import NULL, kernel_function


class iomem(Resource):
    """A mapping of a device's registers."""

    __slots__ = ()


@kernel_function(fails=NULL, acquires="ioremap", args=("phys_addr",))
def ioremap(k: Kernel, phys_addr: str) -> iomem | None:
    """Map registers; `phys_addr` says whose (mm/ioremap.c)."""
    return iomem(k.new(phys_addr))


@kernel_function(releases="ioremap")
def iounmap(k: Kernel, addr: iomem) -> None:
    """Undo ioremap() (mm/ioremap.c)."""
