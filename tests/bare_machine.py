# SPDX-License-Identifier: GPL-2.0-only
"""A bare machine for tests: a backend with nothing in it, and the errno that a call gives."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from kvm_ref.backend import Backend
from kvm_ref.errno import Errno, KernelError
from kvm_ref.kernel import Kernel
from kvm_ref.linux.module import Module
from kvm_ref.virt.kvm_host import kvm


def nothing(k: Kernel, *more: object) -> None:
    """Do nothing, as an init function or a hook."""


class Bare(Backend):
    """A backend whose hooks do nothing."""

    name = "bare"
    summary = "nothing"
    packages: ClassVar[tuple[str, ...]] = ()
    # As on x86, whose kernels the traces in tests/data are of.
    config = Backend.config | {"HOTPLUG_SPLIT_STARTUP"}
    modules: ClassVar[tuple[Module, ...]] = (Module("bare", nothing, nothing),)
    kvm_arch_enable_virtualization_cpu: Callable[[Kernel], None] = staticmethod(nothing)
    kvm_arch_disable_virtualization_cpu: Callable[[Kernel], None] = staticmethod(nothing)
    kvm_arch_init_vm: Callable[[Kernel, kvm, int], None] = staticmethod(nothing)
    kvm_arch_destroy_vm: Callable[[Kernel, kvm], None] = staticmethod(nothing)


def bare(cpus: int = 3, online: tuple[int, ...] | None = None) -> Kernel:
    """Return a machine on which nothing has run."""
    return Kernel(Bare(), possible=range(cpus), online=online)


def errno_of(function: Callable[[], object]) -> Errno | None:
    """Return the errno that a call fails with, or None."""
    try:
        function()
    except KernelError as error:
        return Errno(error.errno or 0)
    return None


def seen(k: Kernel) -> list[str]:
    """Return the machine's events as short words: ``cpu function value``, locks and writes too."""
    out = []
    for kind, at, function, _, value in k.events:
        mark = {"enter": ">", "exit": "<", "lock": "+", "unlock": "-"}.get(kind, f"{kind} ")
        out.append(f"{at.task} {mark}{function}" + ("" if value is None else f" {value}"))
    return out
