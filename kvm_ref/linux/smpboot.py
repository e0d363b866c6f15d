# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors kernel/smpboot.c: the idle task that a CPU is brought up on."""

from __future__ import annotations

from kvm_ref.errno import ENOMEM, ErrPtr
from kvm_ref.kernel import Kernel
from kvm_ref.vocabulary import kernel_function


@kernel_function(fails=ErrPtr(ENOMEM), args=("cpu",))
def idle_thread_get(k: Kernel, cpu: int) -> str | ErrPtr:
    """Return the idle task of a CPU, by name; ERR_PTR(-ENOMEM) if none could be made at boot."""
    return f"swapper/{cpu}"
