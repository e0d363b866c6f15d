# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors drivers/s390/cio/airq.c: interrupts of adapters, and bit vectors that hold them."""

from __future__ import annotations

from kvm_ref.errno import EINVAL, ENOMEM
from kvm_ref.kernel import Kernel, Resource
from kvm_ref.vocabulary import NULL, kernel_function


class airq_struct:
    """A handler of one interruption subclass; `name` is the C variable."""

    __slots__ = ("isc", "name")

    def __init__(self, name: str) -> None:
        self.name = name
        self.isc = 0


class airq_iv(Resource):
    """A vector with a bit for each source of interrupts."""

    __slots__ = ()


@kernel_function(fails=(ENOMEM, EINVAL), acquires="adapter_interrupt", obj="airq")
def register_adapter_interrupt(k: Kernel, airq: airq_struct) -> None:
    """Have a handler called; -EINVAL if there is no such subclass."""


@kernel_function(releases="adapter_interrupt", idempotent=True)
def unregister_adapter_interrupt(k: Kernel, airq: airq_struct) -> None:
    """Have a handler called no more, and wait until it has returned."""


@kernel_function(fails=NULL, acquires="airq_iv", args=("what",))
def airq_iv_create(k: Kernel, what: str) -> airq_iv | None:
    """Allocate a vector."""
    return airq_iv(k.new(what))


@kernel_function(releases="airq_iv")
def airq_iv_release(k: Kernel, iv: airq_iv) -> None:
    """Free a vector; NULL is not legal."""
