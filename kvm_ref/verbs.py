# SPDX-License-Identifier: GPL-2.0-only
"""What a user can do to a machine, as one would at a shell: the verbs of a scenario.

A verb that the kernel refuses fails with the kernel's errno; one that cannot even be asked for is a
misuse.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from kvm_ref.backend import Backend
from kvm_ref.errno import EACCES, EBADF, EBUSY, EINVAL, EMFILE, ENOENT, ENXIO, ERANGE, KernelError
from kvm_ref.kernel import Kernel, Statics
from kvm_ref.linux import module as modules
from kvm_ref.linux.cpu import Cpuhp
from kvm_ref.linux.cpumask import format_list
from kvm_ref.linux.device import Devices, get_cpu_device, online_store
from kvm_ref.linux.file import Files, close_fd
from kvm_ref.linux.hotplug import write_cpuhp_fail
from kvm_ref.linux.miscdevice import KVM_MINOR, Misc, misc_open
from kvm_ref.linux.reboot import (
    Reboot,
    kernel_halt,
    kernel_kexec,
    kernel_power_off,
    kernel_restart,
    run_there,
    sys_reboot,
)
from kvm_ref.linux.suspend import pm_suspend
from kvm_ref.misuse import Misuse, nearest
from kvm_ref.virt.kvm_vm import kvm_dev_ioctl


class Userspace(Statics):
    """What the program that creates VMs holds: descriptors of /dev/kvm, and that of each VM by number."""

    __slots__ = ("dev", "vms")

    def __init__(self) -> None:
        self.dev: list[int] = []
        self.vms: dict[int, int] = {}


def _chain(backend: Backend, name: str | None) -> list[modules.Module]:
    # The module and those it depends on, each after those it needs.
    if name is None:
        name = backend.modules[-1].name
    by_name = {m.name: m for m in backend.modules}
    if name.replace("-", "_") not in by_name:
        raise Misuse(f"unknown module {name!r}{nearest(name, by_name)}")
    module = by_name[name.replace("-", "_")]
    return [by_name[d] for d in module.depends] + [module]


def modprobe(k: Kernel, name: str | None) -> None:
    """Load a module, and first those it depends on, as modprobe does.

    Raises:
        KernelError: EEXIST, it is loaded already, which the system call says and modprobe would not; or what
            its init function gives.
    """
    *depends, module = _chain(k.arch, name)
    for needed in depends:
        if not modules.find_module(k, needed.name):
            modules.init_module(k, needed)
    modules.init_module(k, module)


def rmmod(k: Kernel, name: str | None) -> None:
    """Unload a module (the command rmmod).

    Raises:
        KernelError: EBUSY ("Module is in use") by another module or by files, or what delete_module() gives.
    """
    module = _chain(k.arch, name)[-1]
    dependants = tuple(m.name for m in k.arch.modules if module.name in m.depends)
    # The command looks before it asks the kernel, whose own answer would be EWOULDBLOCK.
    if any(modules.find_module(k, m) for m in dependants) or k[modules.Modules].refcount.get(module.name):
        raise KernelError(EBUSY)
    modules.delete_module(k, module, dependants)


def _open(k: Kernel) -> int:
    # open("/dev/kvm"): the node is there while the device is registered.
    if not any(misc.minor == KVM_MINOR for misc in k[Misc].misc_list):
        raise KernelError(ENOENT)
    fd = k[Files].free()
    if fd is None:
        raise KernelError(EMFILE)
    k[Files].fdt[fd] = misc_open(k, KVM_MINOR)
    return fd


def open_dev(k: Kernel, argument: str | None) -> None:
    """Open /dev/kvm, and keep it open."""
    k[Userspace].dev.append(_open(k))


def close_dev(k: Kernel, argument: str | None) -> None:
    """Close what was opened last of /dev/kvm.

    Raises:
        KernelError: EBADF, it is not open.
    """
    if not k[Userspace].dev:
        raise KernelError(EBADF)
    close_fd(k, k[Userspace].dev.pop())


def create_vm(k: Kernel, argument: str | None) -> None:
    """Make a VM through /dev/kvm, which is open only meanwhile; it gets the lowest free number."""
    vms = k[Userspace].vms
    dev = _open(k)
    try:
        fd = kvm_dev_ioctl(k, "KVM_CREATE_VM", 0)
    finally:
        close_fd(k, dev)
    vms[next(n for n in range(len(vms) + 1) if n not in vms)] = fd


def close_vm(k: Kernel, argument: str | None) -> None:
    """Close a VM, by default the one with the highest number; that destroys it.

    Raises:
        KernelError: EBADF, it is not open.
    """
    vms = k[Userspace].vms
    number = max(vms, default=0) if argument is None else _number(argument, "VM", "close-vm=0")
    if number not in vms:
        raise KernelError(EBADF)
    close_fd(k, vms.pop(number))


def _number(text: str, what: str, example: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise Misuse(f"malformed {what} {text!r}: expected a number, as in {example}")
    return int(text)


def _possible(possible: Sequence[int], text: str | None, verb: str) -> int:
    cpu = _number(text or "", "CPU", f"{verb}=1")
    if cpu not in possible:
        raise Misuse(f"no CPU {cpu}: this machine has {format_list(possible)}")
    return cpu


def _device(k: Kernel, cpu: int) -> int:
    # The directory of a CPU in sysfs is there if it is plugged in.
    dev = get_cpu_device(k, cpu)
    if dev is None:
        raise KernelError(ENOENT)
    return dev


def _switch(k: Kernel, cpu: int, val: bool) -> None:
    # Write to the file ``online``. Where there is none a shell tries to make it, which sysfs does not let it.
    dev = _device(k, cpu)
    if dev in k[Devices].offline_disabled:
        raise KernelError(EACCES)
    # The shell runs on a CPU that stays, if there is one.
    run_there(k, min(k.online - {cpu}, default=cpu), lambda k: online_store(k, dev, val))


def offline(k: Kernel, argument: str | None) -> None:
    """Take a CPU down: echo 0 to its file ``online`` in sysfs; one that is down stays so.

    Raises:
        KernelError: ENOENT, it is not plugged in; EACCES, it cannot be taken down; or what device_offline()
            gives.
    """
    _switch(k, _possible(k.possible, argument, "offline"), False)


def online(k: Kernel, argument: str | None) -> None:
    """Bring a CPU up: echo 1 to its file ``online`` in sysfs; one that is up stays so.

    Raises:
        KernelError: as for offline(), and what device_online() gives.
    """
    _switch(k, _possible(k.possible, argument, "online"), True)


def hotplug_fail(k: Kernel, argument: str | None) -> None:
    """Let a CPU's next walk over a state fail there: echo the state to its file ``hotplug/fail``.

    Raises:
        KernelError: ENOENT, the CPU is not plugged in; ERANGE, the number is none of an int; EINVAL, there
            is no such state.
    """
    number, _, state = (argument or "").partition(":")
    cpu = _device(k, _possible(k.possible, number, "hotplug-fail"))
    names = {step.name: n for n, step in k[Cpuhp].cpuhp_hp_states.items()}
    if re.fullmatch(r"[+-]?[0-9]+", state):
        # Of thousands of digits Python makes no number.
        digits = state.lstrip("+-").lstrip("0") or "0"
        value = int(digits[:11]) * (-1 if state[0] == "-" else 1)
        if not -(1 << 31) <= value < 1 << 31:
            raise KernelError(ERANGE)
        write_cpuhp_fail(k, cpu, value)
    elif state in names:
        write_cpuhp_fail(k, cpu, names[state])
    else:
        raise KernelError(EINVAL)


def suspend(k: Kernel, argument: str | None) -> None:
    """Suspend to memory, and wake up at once: echo mem to /sys/power/state.

    Raises:
        KernelError: ENOENT, the architecture has no such file; or what pm_suspend() gives.
    """
    if not k.arch.arch_suspend_possible:
        raise KernelError(ENOENT)
    pm_suspend(k)


def kexec(k: Kernel, argument: str | None) -> None:
    """Start another kernel, which was loaded before if it could be (the commands kexec -l, kexec -e).

    Raises:
        KernelError: EINVAL, none could be loaded; or what kernel_kexec() gives.
    """
    k[Reboot].kexec_image = k.arch.machine_kexec_prepare(k)
    sys_reboot(k, kernel_kexec)


def foreign(k: Kernel, argument: str | None, hook: Callable[[Kernel], None]) -> None:
    """Let another hypervisor act on a CPU.

    Raises:
        KernelError: ENXIO, the CPU does not run; EBUSY, virtualization is on there.
    """
    cpu = _possible(k.possible, argument, "foreign-on")
    if cpu not in k.online:
        raise KernelError(ENXIO)
    k.run_on("foreign", cpu, lambda k: hook(k))


class Verb(NamedTuple):
    """Something a user can do: who does it, what it does, and what it takes after ``=``."""

    task: str
    does: Callable[[Kernel, str | None], None]
    takes: str
    help: str


VERBS: Mapping[str, Verb] = {
    "load": Verb("modprobe", modprobe, "[MODULE]", "load a module (default: the one that runs kvm_init) with what it needs"),
    "unload": Verb("rmmod", rmmod, "[MODULE]", "unload a module"),
    "open-dev": Verb("vmm", open_dev, "", "open /dev/kvm and keep it open"),
    "close-dev": Verb("vmm", close_dev, "", "close /dev/kvm again"),
    "create-vm": Verb("vmm", create_vm, "", "create a VM; it gets the lowest free number, from 0"),
    "close-vm": Verb("vmm", close_vm, "[N]", "close a VM (default: the one with the highest number), which destroys it"),
    "offline": Verb("shell", offline, "CPU", "take a CPU down"),
    "online": Verb("shell", online, "CPU", "bring a CPU up"),
    "hotplug-fail": Verb("shell", hotplug_fail, "CPU:STATE", "make the CPU fail at a hotplug state, once"),
    "suspend": Verb("shell", suspend, "", "suspend to memory and wake up"),
    "reboot": Verb("reboot", lambda k, a: sys_reboot(k, kernel_restart), "", "reboot; nothing follows"),
    "poweroff": Verb("reboot", lambda k, a: sys_reboot(k, kernel_power_off), "", "power off; nothing follows"),
    "halt": Verb("reboot", lambda k, a: sys_reboot(k, kernel_halt), "", "halt; nothing follows"),
    "kexec": Verb("reboot", kexec, "", "start another kernel; nothing follows"),
    "foreign-on": Verb("foreign", lambda k, a: foreign(k, a, k.arch.foreign_on), "CPU", "another hypervisor takes a CPU"),
    "foreign-off": Verb("foreign", lambda k, a: foreign(k, a, k.arch.foreign_off), "CPU", "the other hypervisor gives it back"),
}  # fmt: skip


_EXAMPLES = {"CPU": "0", "CPU:STATE": "1:kvm/cpu:online", "[MODULE]": "kvm", "[N]": "0"}


def parse_verb(text: str) -> tuple[Verb, str | None]:
    """Read ``VERB`` or ``VERB=ARGUMENT``.

    Raises:
        Misuse: there is no such verb, it lacks its argument, or takes none.
    """
    name, equals, argument = text.partition("=")
    if name not in VERBS:
        raise Misuse(f"unknown verb {name!r}{nearest(name, VERBS)}")
    verb = VERBS[name]
    if equals and not verb.takes:
        raise Misuse(f"verb {name} takes no argument")
    lacks = verb.takes == "CPU:STATE" and not argument.partition(":")[2]
    if lacks or (equals and not argument) or (not equals and verb.takes and not verb.takes.startswith("[")):
        raise Misuse(f"verb {name} takes {verb.takes}, as in {name}={_EXAMPLES[verb.takes]}")
    return verb, argument or None


@functools.lru_cache(maxsize=256)
def needs(backend: Backend, text: str) -> tuple[str, ...]:
    """Return the modules that a verb loads before the one that it is about, unless they are loaded."""
    verb, argument = parse_verb(text)
    chain = _chain(backend, argument) if verb.does is modprobe else []
    return tuple(module.name for module in chain[:-1])


def check_verb(text: str, backend: Backend, possible: Sequence[int]) -> None:
    """Refuse a verb that cannot be asked for on a machine; nothing is run.

    Raises:
        Misuse: there is no such verb, module or CPU, or the argument has another form.
    """
    verb, argument = parse_verb(text)
    if verb.task == "foreign":
        backend.check_foreign()
    if verb.takes.startswith("CPU"):
        cpu = (argument or "").partition(":")[0] if verb.takes == "CPU:STATE" else argument
        _possible(possible, cpu, text.partition("=")[0])
    elif verb.takes == "[MODULE]":
        _chain(backend, argument)
    elif argument is not None:
        _number(argument, "VM", "close-vm=0")
