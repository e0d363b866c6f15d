# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors include/linux/bitmap.h: bitmaps whose length is known at run time."""

from __future__ import annotations

from kvm_ref.kernel import Kernel, Resource
from kvm_ref.vocabulary import NULL, kernel_function


class bitmap(Resource):
    """A bitmap that was allocated."""

    __slots__ = ()


@kernel_function(fails=NULL, acquires="bitmap", args=("what",))
def bitmap_zalloc(k: Kernel, what: str) -> bitmap | None:
    """Allocate a bitmap of zeroes (lib/bitmap.c)."""
    return bitmap(k.new(what))


@kernel_function(releases="bitmap")
def bitmap_free(k: Kernel, bitmap: bitmap | None) -> None:
    """Free a bitmap; NULL is legal (lib/bitmap.c)."""
