# SPDX-License-Identifier: GPL-2.0-only
"""Machines in which something is refused that no verb and no fault of a scenario leads to.

Another driver holds KVM's minor number, another part of the system core does not suspend, a CPU is not
plugged in, a program asks for a type of VM that there is not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress

import attrs

from kvm_ref.backend import Backend
from kvm_ref.errno import EBUSY, KernelError
from kvm_ref.kernel import Kernel
from kvm_ref.linux.debugfs import debugfs_create_dir
from kvm_ref.linux.file import file_operations
from kvm_ref.linux.hotplug import cpu_device_up
from kvm_ref.linux.miscdevice import KVM_MINOR, misc_register, miscdevice
from kvm_ref.linux.syscore_ops import register_syscore, syscore
from kvm_ref.scenario import Cpus, Scenario, machine, perform
from kvm_ref.trace import Step
from kvm_ref.virt.kvm_main import KvmMain
from kvm_ref.virt.kvm_vm import kvm_dev_ioctl

# No architecture has a VM of this type.
_NO_TYPE = 1 << 30


def _another_device(k: Kernel) -> None:
    misc_register(k, miscdevice(KVM_MINOR, "another", file_operations("another", None)))


def _refuses(k: Kernel) -> None:
    # Another part's callback. It bears the name of KVM's, as the only one that the files of KVM show.
    k.emit(("enter", k.at, "kvm_suspend", None, None))
    k.emit(("inject", k.at, "kvm_suspend", None, -EBUSY))
    k.emit(("exit", k.at, "kvm_suspend", None, -EBUSY))
    raise KernelError(EBUSY)


def _another_syscore(k: Kernel) -> None:
    # What was registered first suspends last.
    register_syscore(k, syscore("another", suspend=_refuses))


def _directories(k: Kernel) -> None:
    # Directories by the names that those of VMs are given.
    for fd in range(20):
        debugfs_create_dir(k, f"PID-{fd}", k[KvmMain].kvm_debugfs_dir)


def _no_type(k: Kernel) -> None:
    kvm_dev_ioctl(k, "KVM_CREATE_VM", _NO_TYPE)


def _absent(k: Kernel) -> None:
    # User space has no file for it.
    cpu_device_up(k, k.possible[-1])


# What is done in each machine: verbs, and what else happens to it.
_STAGES: tuple[tuple[str | Callable[[Kernel], None], ...], ...] = (
    (_another_device, "load"),
    (_another_syscore, "load", "create-vm", "suspend"),
    ("load", _no_type),
    ("load", _directories, "create-vm"),
)


def staged(base: Scenario, backend: Backend) -> Iterator[Step]:
    """Yield the steps of all these machines, otherwise like that of a scenario."""
    for stage in _STAGES:
        yield from _steps(machine(base, backend), stage)
    # On x86 a CPU that is stopped calls a function whose address somebody stored; the text alone does not say which.
    if backend.machine_shutdown and not backend.name.startswith("x86-"):
        yield from _steps(machine(base, backend), ("load", "create-vm", "offline=1", "kexec"))
    here = base.cpus.online[:-1]
    absent = attrs.evolve(base, cpus=Cpus(base.cpus.possible, here, here))
    yield from _steps(machine(absent, backend), ("load", _absent))


def _steps(k: Kernel, stage: tuple[str | Callable[[Kernel], None], ...]) -> Iterator[Step]:
    for one in stage:
        if isinstance(one, str):
            yield perform(k, one)[0]
        else:
            yield _done(k, one)


def _done(k: Kernel, does: Callable[[Kernel], None]) -> Step:
    events = k.record()
    # Where it is refused, that is what is to be seen.
    with suppress(KernelError):
        k.run_on("task", min(k.online), does)
    return Step([does.__name__], [None], events)
