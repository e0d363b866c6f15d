# SPDX-License-Identifier: GPL-2.0-only
"""What an architecture must bring: the hooks that the common code calls, and its modules.

A backend is an object under an entry point of the group ``kvm_ref.backends``. The common code
reaches it as ``k.arch`` and calls its hooks by their kernel names, where the C code is linked with
the one architecture it was built for.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from kvm_ref.kernel import Kernel
from kvm_ref.linux.module import Module
from kvm_ref.misuse import Misuse, nearest, told

if TYPE_CHECKING:
    from kvm_ref.linux.notifier import PmEvent
    from kvm_ref.virt.kvm_host import kvm

GROUP = "kvm_ref.backends"


class Backend:
    """The base of every backend; a subclass sets what is marked as required.

    Attributes:
        name: required; what the user calls it ("x86-svm").
        summary: required; one line.
        packages: required; the modules or packages that hold its functions, for the vocabulary.
        modules: required; its kernel modules, each after those it depends on.
        features: what its CPUs have, with the default of each; a user may set them.
        reset: what a register holds before KVM writes it, where that is not 0 and does not depend on features.
        config: Kconfig options without ``CONFIG_`` that its kernels set, of those that matter here.
        kvm_arch_enable_virtualization_cpu, kvm_arch_disable_virtualization_cpu: required where
            "KVM_GENERIC_HARDWARE_ENABLING" is set (include/linux/kvm_host.h).
        kvm_arch_enable_virtualization, kvm_arch_disable_virtualization: optional, as the weak
            functions of the same name in virt/kvm/kvm_main.c; None means the weak one.
        kvm_arch_init_vm, kvm_arch_destroy_vm: required; what makes a VM this architecture's, and undoes it.
        kvm_arch_alloc_vm, kvm_arch_free_vm, kvm_arch_post_init_vm, kvm_arch_pre_destroy_vm,
            kvm_arch_create_vm_debugfs, kvm_arch_flush_shadow_all, kvm_arch_pm_notifier,
            kvm_arch_sync_events: optional; None means the function of
            include/linux/kvm_host.h, the weak one, or an empty one.
        machine_restart, machine_halt, machine_power_off, machine_shutdown: optional; what the architecture
            does last of all, on the CPU that is left to do it (include/linux/reboot.h); None means nothing
            that matters here. The last one comes before another kernel is started.
        kvm_arch_nr_memslot_as_ids: how many address spaces a VM has (include/linux/kvm_host.h).
        irqchip_pins: how many pins the interrupt controllers of a VM have, where "HAVE_KVM_IRQ_ROUTING" is set
            (KVM_NR_IRQCHIPS times KVM_IRQCHIP_NUM_PINS).
        boot_secondary: optional; what the architecture does to start a CPU, or to refuse it: what its
            __cpu_up() calls, or on x86 arch_cpuhp_kick_ap_alive(). None: every CPU starts.
        arch_cpuhp_cleanup_dead_cpu: optional; what is done when a CPU is dead (include/linux/cpuhotplug.h).
        cpu_disable: optional; its __cpu_disable(): what takes the CPU that runs out of service, or refuses. None:
            one that never refuses.
        arch_suspend_possible: the machine can sleep (CONFIG_SUSPEND); if not, it has no file to ask for that.
        kvm_vm_stats_desc, kvm_vcpu_stats_desc: the names of the statistics of a VM and of its
            CPUs; one of each kind stands for all.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    packages: ClassVar[tuple[str, ...]]
    modules: ClassVar[tuple[Module, ...]]
    features: ClassVar[Mapping[str, bool]] = {}
    reset: ClassVar[Mapping[str, int]] = {}
    config: ClassVar[frozenset[str]] = frozenset({"KVM_GENERIC_HARDWARE_ENABLING"})

    # A subclass sets these to staticmethod(function).
    kvm_arch_enable_virtualization_cpu: Callable[[Kernel], None]
    kvm_arch_disable_virtualization_cpu: Callable[[Kernel], None]
    kvm_arch_enable_virtualization: Callable[[Kernel], None] | None = None
    kvm_arch_disable_virtualization: Callable[[Kernel], None] | None = None

    kvm_arch_init_vm: Callable[[Kernel, kvm, int], None]
    kvm_arch_destroy_vm: Callable[[Kernel, kvm], None]
    kvm_arch_alloc_vm: Callable[[Kernel], kvm | None] | None = None
    kvm_arch_free_vm: Callable[[Kernel, kvm], None] | None = None
    kvm_arch_post_init_vm: Callable[[Kernel, kvm], None] | None = None
    kvm_arch_pre_destroy_vm: Callable[[Kernel, kvm], None] | None = None
    kvm_arch_create_vm_debugfs: Callable[[Kernel, kvm], None] | None = None
    kvm_arch_flush_shadow_all: Callable[[Kernel, kvm], None] | None = None
    kvm_arch_pm_notifier: Callable[[Kernel, kvm, PmEvent], None] | None = None
    kvm_arch_sync_events: Callable[[Kernel, kvm], None] | None = None
    machine_restart: Callable[[Kernel], None] | None = None
    machine_halt: Callable[[Kernel], None] | None = None
    machine_power_off: Callable[[Kernel], None] | None = None
    machine_shutdown: Callable[[Kernel], None] | None = None
    kvm_arch_nr_memslot_as_ids: ClassVar[int] = 1
    irqchip_pins: ClassVar[int] = 1
    boot_secondary: Callable[[Kernel, int], None] | None = None
    arch_cpuhp_cleanup_dead_cpu: Callable[[Kernel, int], None] | None = None
    cpu_disable: Callable[[Kernel], int] | None = None
    arch_suspend_possible: ClassVar[bool] = True
    kvm_vm_stats_desc: ClassVar[tuple[str, ...]] = ("remote_tlb_flush",)
    kvm_vcpu_stats_desc: ClassVar[tuple[str, ...]] = ("halt_successful_poll",)

    def arch_cpu_is_hotpluggable(self, k: Kernel, cpu: int) -> bool:
        """Say whether a CPU has a file ``online`` (include/linux/cpu.h); each has, unless this is overridden."""
        return True

    def machine_kexec_prepare(self, k: Kernel) -> bool:
        """Say whether another kernel can be loaded, to be started later (include/linux/kexec.h)."""
        return True

    def suspend_to_ram(self, k: Kernel) -> bool:
        """Say whether the platform can sleep deeply (include/linux/suspend.h: suspend_set_ops()).

        Otherwise it idles until it is woken, and no CPU goes down.
        """
        return True

    def at_reset(self, features: Mapping[str, bool]) -> Mapping[str, int]:
        """Return what registers hold before KVM writes them, on CPUs with these features."""
        return self.reset

    def foreign_on(self, k: Kernel) -> None:
        """Let another hypervisor take the CPU that runs.

        Raises:
            KernelError: EBUSY, virtualization is on there.
            Misuse: no hypervisor can do so on this architecture.
        """
        self.check_foreign()

    def foreign_off(self, k: Kernel) -> None:
        """Let the other hypervisor give back the CPU that runs."""
        self.foreign_on(k)

    def check_foreign(self) -> None:
        """Refuse another hypervisor where there can be none.

        Raises:
            Misuse: none can take a CPU on this architecture.
        """
        if type(self).foreign_on is Backend.foreign_on:
            raise Misuse(
                f"backend {self.name!r} knows no other hypervisor that takes a CPU: foreign-on is for x86"
            )

    def after(self, k: Kernel) -> dict[str, Any]:
        """Return what else can be seen of the machine between two verbs."""
        return {}


@functools.cache
def available() -> Mapping[str, Any]:
    """Return the entry points of all installed backends by name, sorted."""
    # Who brings a backend along need not wait for a module that reads mail headers; and what is
    # installed stays so while a process runs.
    from importlib.metadata import entry_points

    return {e.name: e for e in sorted(entry_points(group=GROUP), key=lambda e: e.name)}


def load(name: str) -> Backend:
    """Return the backend called `name`.

    Raises:
        Misuse: there is none of that name, it cannot be imported, or it is not what it should be.
    """
    found = available()
    if name not in found:
        raise Misuse(f"unknown backend {name!r}{nearest(name, found)}")
    # What is required is written down in the class above.
    from kvm_ref.required import check

    try:
        return check(found[name].load(), name)
    except Misuse:
        raise
    except (Exception, SystemExit) as error:
        raise Misuse(f"backend {name!r} cannot be loaded: {told(error)}") from None
