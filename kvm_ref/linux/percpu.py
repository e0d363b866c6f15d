# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors include/linux/percpu.h: variables of which each CPU has its own, static and allocated."""

from __future__ import annotations

from typing import Generic, TypeVar

from kvm_ref.kernel import Kernel, Resource
from kvm_ref.vocabulary import NULL, kernel_function

T = TypeVar("T")


class PerCpu(dict[int, T], Generic[T]):
    """A per-CPU variable; a CPU that never wrote its own reads the initial value."""

    __slots__ = ("initial",)

    def __init__(self, initial: T) -> None:
        self.initial = initial

    def __missing__(self, cpu: int) -> T:
        return self.initial

    def __reduce__(self) -> tuple[object, ...]:
        made = (type(self), (self.initial,))
        if not self:
            return made
        own = [(cpu, value) for cpu, value in sorted(self.items()) if value != self.initial]
        return (*made, None, None, iter(own))


class percpu_memory(Resource, Generic[T]):
    """Memory of which each possible CPU has its own copy."""

    __slots__ = ("cpu",)

    def __init__(self, id: str, initial: T) -> None:
        super().__init__(id)
        self.cpu: PerCpu[T] = PerCpu(initial)


@kernel_function(fails=NULL, acquires="percpu", args=("type",))
def alloc_percpu(k: Kernel, type: str, initial: T) -> percpu_memory[T] | None:
    """Allocate a `type` for each possible CPU, as a macro of that name does."""
    return percpu_memory(k.new(f"percpu:{type}"), initial)


@kernel_function(releases="percpu")
def free_percpu(k: Kernel, memory: percpu_memory[T] | None) -> None:
    """Free per-CPU memory; NULL is legal (mm/percpu.c)."""
    if memory:
        memory.cpu.clear()
