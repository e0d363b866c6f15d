# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors include/linux/notifier.h: chains of callbacks.

Registering a block that is on the chain already gives -EEXIST; taking one off that is not there
gives -ENOENT (kernel/notifier.c).
"""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum

from kvm_ref.errno import EEXIST, ENOENT, EPERM, KernelError
from kvm_ref.kernel import Kernel, Statics
from kvm_ref.unwind import unchecked
from kvm_ref.vocabulary import kernel_function


class PmEvent(IntEnum):
    """What the chain of power management is told (include/linux/suspend.h)."""

    PM_SUSPEND_PREPARE = 3
    PM_POST_SUSPEND = 4


class notifier_block:
    """A callback on a chain.

    Attributes:
        name: the C variable.
        notifier_call: the callback, where it is called here; a failure is NOTIFY_BAD.
        container: what the block lies in.
    """

    __slots__ = ("container", "name", "notifier_call")

    def __init__(self, name: str, container: object = None) -> None:
        self.name = name
        self.container = container
        self.notifier_call: Callable[[Kernel, notifier_block, PmEvent], None] | None = None


class Notifiers(Statics):
    """The chains of the kernel, by name; one that is empty is not among them."""

    __slots__ = ("chains",)

    def __init__(self) -> None:
        self.chains: dict[str, list[notifier_block]] = {}


def notifier_chain_register(k: Kernel, chain: str, nb: notifier_block) -> None:
    """Add `nb` to `chain`; -EEXIST if it is there (kernel/notifier.c)."""
    chains = k[Notifiers].chains
    blocks = chains.get(chain, [])
    if any(b.name == nb.name for b in blocks):
        raise KernelError(EEXIST)
    chains[chain] = [*blocks, nb]


def notifier_chain_unregister(k: Kernel, chain: str, nb: notifier_block) -> None:
    """Take `nb` off `chain`; -ENOENT if it is not there (kernel/notifier.c)."""
    chains = k[Notifiers].chains
    blocks = chains.get(chain, [])
    kept = [b for b in blocks if b.name != nb.name]
    if len(kept) == len(blocks):
        raise KernelError(ENOENT)
    if kept:
        chains[chain] = kept
    else:
        del chains[chain]


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


@kernel_function()
def pm_notifier_call_chain(k: Kernel, val: PmEvent) -> None:
    """Tell everybody on the chain; who objects ends it, but nobody asks why (kernel/power/main.c)."""
    with unchecked:
        _call(k, val, len(k[Notifiers].chains.get("pm_chain_head", ())))


@kernel_function(fails=EPERM, translates=True)
def pm_notifier_call_chain_robust(k: Kernel, val_up: PmEvent, val_down: PmEvent) -> None:
    """Tell everybody on the chain; if one objects, tell those before it that it is off.

    Source: kernel/power/main.c, kernel/notifier.c.

    Raises:
        KernelError: EPERM, somebody objected.
    """
    for n, nb in enumerate(k[Notifiers].chains.get("pm_chain_head", ())):
        try:
            if nb.notifier_call:
                nb.notifier_call(k, nb, val_up)
        except KernelError:
            with unchecked:
                _call(k, val_down, n)
            raise KernelError(EPERM) from None


def _call(k: Kernel, val: PmEvent, count: int) -> None:
    for nb in k[Notifiers].chains.get("pm_chain_head", ())[:count]:
        if nb.notifier_call:
            nb.notifier_call(k, nb, val)
