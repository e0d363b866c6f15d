# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors include/linux/string.h: comparing memory."""

from __future__ import annotations

from kvm_ref.kernel import Kernel
from kvm_ref.vocabulary import kernel_function


@kernel_function(fails=True)
def memcmp(k: Kernel, cs: object, ct: object) -> int:
    """Return 0 if both hold the same; a fault makes them differ (lib/string.c)."""
    return int(cs != ct)
