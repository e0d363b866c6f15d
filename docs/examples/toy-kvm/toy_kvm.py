# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors arch/toy/kvm/main.c: KVM on a processor that does not exist."""

from __future__ import annotations

from kvm_ref.backend import Backend
from kvm_ref.errno import EBUSY, ENOMEM, KernelError
from kvm_ref.kernel import Kernel, Statics
from kvm_ref.linux.module import Module
from kvm_ref.linux.slab import kfree, kmemory, kzalloc
from kvm_ref.unwind import ladder
from kvm_ref.virt import kvm_main
from kvm_ref.virt.kvm_host import kvm
from kvm_ref.vocabulary import kernel_function


class ToyKvm(Statics):
    """The static variables of this file, which is linked into kvm.ko."""

    module = "kvm"

    def __init__(self) -> None:
        self.toy_table: kmemory | None = None


@kernel_function(fails=EBUSY)
def kvm_arch_enable_virtualization_cpu(k: Kernel) -> None:
    """Set the bit of this CPU; EBUSY if it is set already."""
    if k.read("TOYCTL"):
        raise KernelError(EBUSY)
    k.write("TOYCTL", 1)


@kernel_function()
def kvm_arch_disable_virtualization_cpu(k: Kernel) -> None:
    """Clear the bit of this CPU."""
    k.write("TOYCTL", 0)


@kernel_function(fails=ENOMEM)
def kvm_arch_init_vm(k: Kernel, kvm: kvm, type: int) -> None:
    """Allocate what a VM has more on this architecture."""
    kvm.arch = kzalloc(k, "toy_vm")
    if not kvm.arch:
        raise KernelError(ENOMEM)


@kernel_function()
def kvm_arch_destroy_vm(k: Kernel, kvm: kvm) -> None:
    """Free it."""
    kfree(k, kvm.arch)


# Loading and unloading.


@kernel_function(fails=ENOMEM)
def toy_init(k: Kernel) -> None:
    """Come up: the table, then all that KVM has in common."""
    toy = k[ToyKvm]
    toy.toy_table = kzalloc(k, "toy_table")
    if not toy.toy_table:
        raise KernelError(ENOMEM)
    with ladder(k) as goto:
        with goto("err_kvm_init"):
            kvm_main.kvm_init(k, "kvm")
        return

    if goto.reached("err_kvm_init"):
        kfree(k, toy.toy_table)
    raise goto.error


@kernel_function()
def toy_exit(k: Kernel) -> None:
    """Go down."""
    kvm_main.kvm_exit(k)
    kfree(k, k[ToyKvm].toy_table)


class Toy(Backend):
    """What kvm-ref is told of this architecture."""

    name = "toy"
    summary = "a processor that does not exist (kvm.ko)"
    packages = ("toy_kvm",)
    modules = (Module("kvm", toy_init, toy_exit, params=kvm_main.PARAMS),)
    kvm_arch_enable_virtualization_cpu = staticmethod(kvm_arch_enable_virtualization_cpu)
    kvm_arch_disable_virtualization_cpu = staticmethod(kvm_arch_disable_virtualization_cpu)
    kvm_arch_init_vm = staticmethod(kvm_arch_init_vm)
    kvm_arch_destroy_vm = staticmethod(kvm_arch_destroy_vm)
