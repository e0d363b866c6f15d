# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors include/linux/notifier.h: chains of callbacks.

Registering a block that is on the chain already gives -EEXIST; taking one off that is not there
gives -ENOENT (kernel/notifier.c).
"""

from __future__ import annotations

from kvm_ref.errno import EEXIST, ENOENT, KernelError
from kvm_ref.kernel import Kernel, Statics
from kvm_ref.vocabulary import kernel_function


class notifier_block:
    """A callback on a chain; `name` is the C variable."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name


class Notifiers(Statics):
    """The chains of the kernel, by name."""

    __slots__ = ("chains",)

    def __init__(self) -> None:
        self.chains: dict[str, list[notifier_block]] = {}


def notifier_chain_register(k: Kernel, chain: str, nb: notifier_block) -> None:
    """Add `nb` to `chain`; -EEXIST if it is there (kernel/notifier.c)."""
    blocks = k[Notifiers].chains.setdefault(chain, [])
    if any(b.name == nb.name for b in blocks):
        raise KernelError(EEXIST)
    blocks.append(nb)


def notifier_chain_unregister(k: Kernel, chain: str, nb: notifier_block) -> None:
    """Take `nb` off `chain`; -ENOENT if it is not there (kernel/notifier.c)."""
    blocks = k[Notifiers].chains.setdefault(chain, [])
    kept = [b for b in blocks if b.name != nb.name]
    if len(kept) == len(blocks):
        raise KernelError(ENOENT)
    k[Notifiers].chains[chain] = kept


@kernel_function(fails=EEXIST, acquires="notifier", obj="nb", args=("nh",))
def atomic_notifier_chain_register(k: Kernel, nh: str, nb: notifier_block) -> None:
    """Add `nb` to a chain that may be called with interrupts off (kernel/notifier.c)."""
    notifier_chain_register(k, nh, nb)


@kernel_function(fails=ENOENT, releases="notifier", obj="nb", args=("nh",), idempotent=True)
def atomic_notifier_chain_unregister(k: Kernel, nh: str, nb: notifier_block) -> None:
    """Take `nb` off the chain; -ENOENT if it is not there (kernel/notifier.c)."""
    notifier_chain_unregister(k, nh, nb)


@kernel_function(fails=EEXIST, acquires="notifier", obj="nb")
def register_pm_notifier(k: Kernel, nb: notifier_block) -> None:
    """Add `nb` to the chain that is called before and after the system sleeps (kernel/power/main.c)."""
    notifier_chain_register(k, "pm_chain_head", nb)


@kernel_function(fails=ENOENT, releases="notifier", obj="nb", idempotent=True)
def unregister_pm_notifier(k: Kernel, nb: notifier_block) -> None:
    """Take `nb` off the chain; -ENOENT if it is not there (kernel/power/main.c)."""
    notifier_chain_unregister(k, "pm_chain_head", nb)
