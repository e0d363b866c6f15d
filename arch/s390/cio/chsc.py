# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors drivers/s390/cio/chsc.c: commands to the channel subsystem.

What the channel subsystem keeps belongs to the whole machine. It is written as a register of the
first CPU by the task ``css``, wherever the command came from.
"""

from __future__ import annotations

from kvm_ref.errno import EIO
from kvm_ref.kernel import Kernel
from kvm_ref.vocabulary import kernel_function

GIB_ORIGIN = "GIB_ORIGIN"


@kernel_function(fails=EIO, args=("origin",))
def chsc_sgib(k: Kernel, origin: int) -> None:
    """Tell firmware the address of the guest information block; 0 means there is none."""
    k.run_on("css", k.possible[0], _set_gib, origin)


def _set_gib(k: Kernel, origin: int) -> None:
    k.write(GIB_ORIGIN, origin)
