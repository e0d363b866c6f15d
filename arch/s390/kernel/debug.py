# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors arch/s390/kernel/debug.c: the debug feature, logs in memory that debugfs shows."""

from __future__ import annotations

from kvm_ref.errno import EPERM
from kvm_ref.kernel import Kernel, Resource
from kvm_ref.vocabulary import NULL, kernel_function


class debug_info_t(Resource):
    """A log."""

    __slots__ = ()


@kernel_function(fails=NULL, acquires="debug_info", args=("name",))
def debug_register(k: Kernel, name: str) -> debug_info_t | None:
    """Make a log."""
    return debug_info_t(k.new(name))


@kernel_function(fails=EPERM, uses="debug_info", args=("view",))
def debug_register_view(k: Kernel, id: debug_info_t, view: str) -> None:
    """Add a way to read a log; -1, which is -EPERM, if it has as many as there is room for."""


@kernel_function(releases="debug_info")
def debug_unregister(k: Kernel, id: debug_info_t | None) -> None:
    """Give a log back with all its views; NULL is legal."""
