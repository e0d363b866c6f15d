# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors include/linux/cpu_pm.h: being told when a CPU loses its state in a low-power mode."""

from __future__ import annotations

from kvm_ref.errno import EEXIST, ENOENT
from kvm_ref.kernel import Kernel
from kvm_ref.linux.notifier import (
    notifier_block,
    notifier_chain_register,
    notifier_chain_unregister,
)
from kvm_ref.vocabulary import kernel_function


@kernel_function(fails=EEXIST, acquires="cpu_pm_notifier", obj="nb")
def cpu_pm_register_notifier(k: Kernel, nb: notifier_block) -> None:
    """Ask to be told; -EEXIST if `nb` is told already (kernel/cpu_pm.c)."""
    notifier_chain_register(k, "cpu_pm_notifier", nb)


@kernel_function(fails=ENOENT, releases="cpu_pm_notifier", idempotent=True)
def cpu_pm_unregister_notifier(k: Kernel, nb: notifier_block) -> None:
    """Undo cpu_pm_register_notifier(); -ENOENT if it was not done (kernel/cpu_pm.c)."""
    notifier_chain_unregister(k, "cpu_pm_notifier", nb)
