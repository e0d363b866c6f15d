# SPDX-License-Identifier: GPL-2.0-only
"""The backend s390."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from arch.s390.cio.chsc import GIB_ORIGIN
from arch.s390.kvm import kvm_s390, vm
from arch.s390.pci.pci import Zpci
from kvm_ref.backend import Backend
from kvm_ref.kernel import Kernel
from kvm_ref.linux.module import Module


class S390(Backend):
    """IBM Z with the instruction SIE: kvm.ko."""

    name = "s390"
    arch_suspend_possible = False
    summary = "IBM Z with SIE (kvm.ko)"
    packages = ("arch.s390",)
    config = frozenset(
        {"HAVE_KVM_IRQCHIP", "HAVE_KVM_IRQ_ROUTING", "KVM_ASYNC_PF", "KVM_VFIO", "VFIO_PCI_ZDEV_KVM"}
    )
    # Without interpretation, a clean life leaves no memory behind: see arch/s390/kvm/pci.py.
    features: ClassVar[Mapping[str, bool]] = {"aiv": True, "zpci_interp": False}
    modules = (
        Module(
            "kvm",
            kvm_s390.kvm_s390_init,
            kvm_s390.kvm_s390_exit,
            params=(*kvm_s390.PARAMS, *vm.PARAMS),
        ),
    )

    kvm_arch_init_vm = staticmethod(vm.kvm_arch_init_vm)
    kvm_arch_destroy_vm = staticmethod(vm.kvm_arch_destroy_vm)
    kvm_arch_free_vm = staticmethod(vm.kvm_arch_free_vm)

    def arch_cpu_is_hotpluggable(self, k: Kernel, cpu: int) -> bool:
        """Say whether a CPU can be taken down: any but the one that booted (arch/s390/kernel/smp.c)."""
        return cpu > 0

    def after(self, k: Kernel) -> dict[str, Any]:
        """Return what firmware knows of the GIB, and whether vfio has a way into KVM."""
        gib = k.registers.get((k.possible[0], GIB_ORIGIN), 0)
        return {"gib_origin": gib, "zpci_kvm_hook": k[Zpci].zpci_kvm_hook}
