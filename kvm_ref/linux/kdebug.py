# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors include/linux/kdebug.h: being told when the kernel is about to die."""

from __future__ import annotations

from kvm_ref.errno import EEXIST, ENOENT
from kvm_ref.kernel import Kernel
from kvm_ref.linux.notifier import (
    atomic_notifier_chain_register,
    atomic_notifier_chain_unregister,
    notifier_block,
)
from kvm_ref.vocabulary import kernel_function


@kernel_function(fails=EEXIST, acquires="die_notifier", obj="nb")
def register_die_notifier(k: Kernel, nb: notifier_block) -> None:
    """Ask to be told of traps and crashes; -EEXIST if `nb` is told already (kernel/notifier.c)."""
    atomic_notifier_chain_register(k, "die_chain", nb)


@kernel_function(fails=ENOENT, releases="die_notifier", idempotent=True)
def unregister_die_notifier(k: Kernel, nb: notifier_block) -> None:
    """Undo register_die_notifier(); -ENOENT if it was not done (kernel/notifier.c)."""
    atomic_notifier_chain_unregister(k, "die_chain", nb)
