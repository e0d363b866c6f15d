# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors arch/s390/mm/gmap.c: being told when the host takes a page out of a guest's memory."""

from __future__ import annotations

from kvm_ref.kernel import Kernel
from kvm_ref.linux.notifier import notifier_block
from kvm_ref.vocabulary import kernel_function


@kernel_function(acquires="gmap_notifier", obj="nb")
def gmap_register_pte_notifier(k: Kernel, nb: notifier_block) -> None:
    """Put `nb` on the list of those that are told."""


@kernel_function(releases="gmap_notifier")
def gmap_unregister_pte_notifier(k: Kernel, nb: notifier_block) -> None:
    """Take `nb` off the list and wait until nobody calls it; it must be there."""
