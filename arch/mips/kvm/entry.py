# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors arch/mips/kvm/entry.c: the generator of the code that enters and leaves guests."""

from __future__ import annotations

from kvm_ref.errno import EIO
from kvm_ref.kernel import Kernel
from kvm_ref.vocabulary import kernel_function


# It returns 0 whatever happens, but to a caller that is ready for an error: one can be put in.
@kernel_function(fails=EIO)
def kvm_mips_entry_setup(k: Kernel) -> None:
    """Choose the scratch registers of the entry code; it always finds some."""
