# SPDX-License-Identifier: GPL-2.0-only
"""Scenarios with a name: what happens on real hosts, with what comes of it."""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from kvm_ref.errno import EAGAIN, EBUSY, EIO, Errno
from kvm_ref.fault import Fault, parse
from kvm_ref.misuse import Misuse, nearest
from kvm_ref.scenario import Scenario


@attrs.frozen
class Named:
    """A scenario that one can ask for by name.

    Attributes:
        about: what happens, in a sentence.
        outcome: what comes of it, in a sentence.
        verbs: the verbs, each with what it gives: None if it succeeds.
        params: module parameters.
        fail: a call that fails, as for ``--fail``, or "".
        reboot_at: a call into which a reboot falls, as for ``--reboot-at``, or "".
        backend: the backend on which it is at home; most run on any.
    """

    about: str
    outcome: str
    verbs: tuple[tuple[str, Errno | None], ...]
    params: Mapping[str, str] = attrs.Factory(dict)
    fail: str = ""
    reboot_at: str = ""
    backend: str = "x86-svm"

    @property
    def faults(self) -> tuple[Fault, ...]:
        """The faults."""
        out = [parse(self.fail)] if self.fail else []
        if self.reboot_at:
            out.append(attrs.evolve(parse(self.reboot_at), effect="system_state=SYSTEM_RESTART"))
        return tuple(out)

    @property
    def results(self) -> tuple[int, ...]:
        """What each verb gives: 0 or a negative errno."""
        return tuple(0 if error is None else -error for _, error in self.verbs)

    def scenario(self) -> Scenario:
        """Return what to run."""
        verbs = tuple(verb for verb, _ in self.verbs)
        return Scenario(self.backend, verbs, params=self.params, faults=self.faults)


_AT_LOAD = {"enable_virt_at_load": "1"}
_LAZY = {"enable_virt_at_load": "0"}

SCENARIOS: Mapping[str, Named] = {
    "other-hypervisor-first": Named(
        "VirtualBox runs a VM when KVM, which enables virtualization at load, is loaded.",
        "The load fails with EIO, whatever the CPU's own errno is; once VirtualBox has left it works.",
        (("foreign-on=1", None), ("load", EIO), ("foreign-off=1", None), ("load", None), ("unload", None)),
        _AT_LOAD,
    ),
    "other-hypervisor-first-lazy": Named(
        "VirtualBox runs a VM when KVM is loaded with enable_virt_at_load=0.",
        "The load works; creating a VM fails with EIO until VirtualBox has left.",
        (
            ("foreign-on=1", None), ("load", None), ("create-vm", EIO), ("foreign-off=1", None),
            ("create-vm", None), ("close-vm", None), ("unload", None),
        ),
        _LAZY,
    ),
    "other-hypervisor-second": Named(
        "VirtualBox wants to run a VM when KVM, which enabled virtualization at load, is loaded.",
        "VirtualBox is refused although there is no VM: the trouble that the parameter's default brought.",
        (("load", None), ("foreign-on=1", EBUSY), ("unload", None), ("foreign-on=1", None)),
        _AT_LOAD,
    ),
    "other-hypervisor-second-lazy": Named(
        "VirtualBox and KVM, loaded with enable_virt_at_load=0, want to run VMs in turn.",
        "Whoever has VMs holds the CPUs; the other is refused meanwhile.",
        (
            ("load", None), ("foreign-on=1", None), ("create-vm", EIO), ("foreign-off=1", None), ("create-vm", None),
            ("foreign-on=1", EBUSY), ("close-vm", None), ("foreign-on=1", None), ("unload", None),
        ),
        _LAZY,
    ),
    "cpu-cannot-be-enabled": Named(
        "A CPU comes online, and virtualization cannot be enabled on it.",
        "The CPU stays offline and the user gets EIO; the next attempt works.",
        (("load", None), ("offline=2", None), ("online=2", EIO), ("online=2", None), ("unload", None)),
        _AT_LOAD,
        fail="kvm_arch_enable_virtualization_cpu#2@2=EBUSY",
    ),
    "hotplug-fails": Named(
        "A CPU goes down, and is told beforehand to fail at KVM's hotplug state.",
        "It stays online with EAGAIN, virtualization on; the one-shot value is used up.",
        (
            ("load", None), ("hotplug-fail=2:kvm/cpu:online", None), ("offline=2", EAGAIN), ("offline=2", None),
            ("online=2", None), ("unload", None),
        ),
        _AT_LOAD,
    ),
    "reboot-during-vm-creation": Named(
        "A forced reboot falls into the creation of the first VM.",
        "The creation fails with EBUSY, so that no CPU is enabled behind the back of the shutdown.",
        (("load", None), ("create-vm", EBUSY), ("unload", None)),
        _LAZY,
        reboot_at="register_syscore",
    ),
    "failed-load-then-second": Named(
        "A load fails when /dev/kvm is registered; the user tries again.",
        "The second load works, but the forgotten debugfs directory leaves its VMs without statistics.",
        (("load", EBUSY), ("load", None), ("unload", None)),
        _AT_LOAD,
        fail="misc_register",
    ),
    "suspend-with-a-vm": Named(
        "The machine sleeps and wakes up while there is a VM, and KVM was loaded without enabling.",
        "Every CPU is disabled on the way down and enabled on the way up; the VM never notices.",
        (("load", None), ("create-vm", None), ("suspend", None), ("close-vm", None), ("unload", None)),
        _LAZY,
    ),
    "unload-in-use": Named(
        "The module is to be unloaded while a VM is open.",
        "It is in use (EBUSY) until the VM is closed.",
        (("load", None), ("create-vm", None), ("unload", EBUSY), ("close-vm", None), ("unload", None)),
    ),
    "first-and-last-vm": Named(
        "Two VMs come and go, with enable_virt_at_load=0.",
        "The first VM enables virtualization on every CPU, and the last one disables it.",
        (
            ("load", None), ("create-vm", None), ("create-vm", None), ("offline=2", None), ("close-vm=0", None),
            ("online=2", None), ("close-vm=1", None), ("unload", None),
        ),
        _LAZY,
    ),
}  # fmt: skip


def named(name: str) -> Named:
    """Return a scenario by its name.

    Raises:
        Misuse: there is none of that name.
    """
    if name not in SCENARIOS:
        raise Misuse(f"unknown scenario {name!r}{nearest(name, SCENARIOS)}")
    return SCENARIOS[name]
