# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors kernel/module/main.c and kernel/params.c: loading modules, and their parameters.

Loading runs the module's init function; if that fails the module is gone again, with all of its
variables. Modules that it depends on stay, as they do when modprobe has loaded them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import attrs

from kvm_ref.errno import (
    EACCES,
    EBUSY,
    EEXIST,
    EINVAL,
    ENOENT,
    ERANGE,
    EWOULDBLOCK,
    KernelError,
)  # fmt: skip
from kvm_ref.kernel import Kernel, Statics
from kvm_ref.misuse import Misuse, nearest
from kvm_ref.vocabulary import kernel_function


def kstrtobool(text: str) -> bool:
    """Read a bool as the kernel does: 1, y, t or on; 0, n, f or of (lib/kstrtox.c).

    Raises:
        KernelError: EINVAL, it is neither.
    """
    if text[:1] in ("1", "y", "Y", "t", "T") or text[:2] in ("on", "oN", "On", "ON"):
        return True
    if text[:1] in ("0", "n", "N", "f", "F") or text[:2] in ("of", "oF", "Of", "OF"):
        return False
    raise KernelError(EINVAL)


def param_set_bool(text: str | None) -> bool:
    """Read a bool parameter; None, one without an equals sign, means yes (kernel/params.c)."""
    return kstrtobool("1" if text is None else text)


def param_set_int(text: str) -> int:
    """Read an int parameter, in the notation of C (kernel/params.c, lib/kstrtox.c: kstrtoint()).

    Raises:
        KernelError: it is no number (EINVAL), or does not fit into an int (ERANGE).
    """
    found = re.fullmatch(r"([+-]?)(?:0[xX]([0-9a-fA-F]+)|0([0-7]*)|([1-9][0-9]*))\n?", text)
    if not found:
        raise KernelError(EINVAL)
    sign, hexadecimal, octal, decimal = found.groups()
    digits, base = next((d, b) for d, b in ((hexadecimal, 16), (decimal, 10), (octal or "0", 8)) if d)
    # Python itself refuses to read thousands of digits.
    value = int(digits.lstrip("0")[:40] or "0", base) * (-1 if sign == "-" else 1)
    if not -(1 << 31) <= value < 1 << 31:
        raise KernelError(ERANGE)
    return value


@attrs.frozen
class Param:
    """A module parameter.

    Attributes:
        name: as on the command line, without the module.
        statics: the class that holds the variable of the same name.
        set: reads the value, or raises KernelError(EINVAL).
        expects: what a user may write.
        perm: the mode of its file in sysfs.
        early: it is read by the kernel itself under this full name ("kvm-arm.mode"), or "".
    """

    name: str
    statics: type[Statics] = Statics
    set: Callable[[str], Any] = param_set_bool
    expects: str = "a bool: 0, 1, n, y, off, on"
    perm: int = 0o444
    early: str = ""

    @property
    def key(self) -> str:
        """What a trace calls it: its short name, or the full one of an early parameter."""
        return self.early or self.name

    @property
    def variable(self) -> str:
        """The C variable, which is an attribute of `statics`."""
        return self.name.replace("-", "_")

    @property
    def initial(self) -> Any:
        """The value if none is given."""
        return getattr(self.statics(), self.variable)


@attrs.frozen
class module_param_named(Param):
    """A parameter whose variable has another name, `value` (include/linux/moduleparam.h)."""

    value: str = ""

    @property
    def variable(self) -> str:
        """The C variable, which is an attribute of `statics`."""
        return self.value


@attrs.frozen
class constant_param(Param):
    """A parameter whose variable no code writes: it is looked up where it is read.

    So a machine knows whether anyone has asked.
    """

    initial: Any = None

    def of(self, k: Kernel) -> Any:
        """Return the value that was given, or else `initial`."""
        for module in k.arch.modules:
            if self in module.params:
                text = k.setting(full_name(module, self))
                return self.initial if text is None else self.set(text)
        return self.initial


@attrs.frozen
class Module:
    """A kernel module.

    Attributes:
        name: as lsmod shows it ("kvm_amd").
        init, exit: what module_init() and module_exit() name; a module without exit stays.
        depends: names of the modules that modprobe loads first.
        params: its parameters.
        builtin: it is linked into the kernel: its init function runs once, at boot, and its
            variables stay.
    """

    name: str
    init: Callable[[Kernel], None]
    exit: Callable[[Kernel], None] | None
    depends: tuple[str, ...] = ()
    params: tuple[Param, ...] = ()
    builtin: bool = False


class Modules(Statics):
    """The modules that are loaded, in that order, and how often each is referred to."""

    __slots__ = ("booted", "loaded", "refcount")

    def __init__(self) -> None:
        self.booted: list[str] = []
        self.loaded: list[str] = []
        self.refcount: dict[str, int] = {}


def find_module(k: Kernel, name: str) -> bool:
    """Say whether the module `name` is loaded (kernel/module/main.c)."""
    return name in k[Modules].loaded


def free_module(k: Kernel, name: str) -> None:
    """Free a module's memory, and with it its variables (kernel/module/main.c)."""
    k[Modules].loaded.remove(name)
    own = [s for s in k.statics if s.module == name]
    for statics in own:
        del k.statics[statics]
    # What WARN_ON_ONCE() has said already is kept in the module, too.
    files = {s.__module__ for s in own}
    k.warned = {place for place in k.warned if place[0] not in files}


def init_module(k: Kernel, module: Module) -> None:
    """Load one module and run its init function.

    Raises:
        KernelError: it is loaded already or was tried at boot (EEXIST), a parameter is malformed (EINVAL), or what the
            init function gives.
    """
    g = k[Modules]
    if find_module(k, module.name) or module.name in g.booted:
        raise KernelError(EEXIST)
    if module.builtin:
        g.booted.append(module.name)
    g.loaded.append(module.name)
    try:
        parse_args(k, module)
        module.init(k)
    except KernelError:
        if module.builtin:
            g.loaded.remove(module.name)
        else:
            free_module(k, module.name)
        raise


def delete_module(k: Kernel, module: Module, dependants: tuple[str, ...]) -> None:
    """Run a module's exit function and unload it.

    Raises:
        KernelError: it is not loaded or built in (ENOENT), others depend on it or refer to it
            (EWOULDBLOCK), or it has no exit function (EBUSY).
    """
    if module.builtin or not find_module(k, module.name):
        raise KernelError(ENOENT)
    if any(find_module(k, name) for name in dependants):
        raise KernelError(EWOULDBLOCK)
    if module.exit is None:
        raise KernelError(EBUSY)
    if k[Modules].refcount.get(module.name):
        raise KernelError(EWOULDBLOCK)
    module.exit(k)
    free_module(k, module.name)


def parse_args(k: Kernel, module: Module) -> None:
    """Set a module's parameters from the kernel command line (kernel/params.c)."""
    for param in module.params:
        if isinstance(param, constant_param):
            continue
        text = k.setting(full_name(module, param))
        if text is not None:
            setattr(k[param.statics], param.variable, param.set(text))


def full_name(module: Module, param: Param) -> str:
    """Return the parameter's name on the kernel command line: ``kvm.enable_virt_at_load``."""
    return param.early or f"{module.name}.{param.name}"


def param_write(k: Kernel, module: Module, name: str, text: str) -> None:
    """Write a parameter's file in sysfs (kernel/params.c, fs/kernfs/file.c).

    Raises:
        KernelError: there is no such file (ENOENT), it may not be written (EACCES), or the value
            is malformed (EINVAL).
    """
    if not find_module(k, module.name):
        raise KernelError(ENOENT)
    for param in module.params:
        if param.name == name:
            if not param.perm & 0o222:
                raise KernelError(EACCES)
            setattr(k[param.statics], param.variable, param.set(text))
            return
    raise KernelError(ENOENT)


@kernel_function(fails=False, acquires="module_ref", obj="name")
def try_module_get(k: Kernel, name: str | None) -> bool:
    """Refer to a module, so that it stays; False if it goes away (kernel/module/main.c).

    What is built in has no module, None, and always stays.
    """
    g = k[Modules]
    if name is None:
        return True
    if name not in g.loaded:
        return False
    g.refcount[name] = g.refcount.get(name, 0) + 1
    return True


@kernel_function(releases="module_ref")
def module_put(k: Kernel, name: str | None) -> None:
    """Give a reference to a module up (kernel/module/main.c)."""
    g = k[Modules]
    if name is None:
        return
    g.refcount[name] -= 1
    if not g.refcount[name]:
        del g.refcount[name]


def _by_name(modules: tuple[Module, ...]) -> dict[str, tuple[Module, Param]]:
    names: dict[str, tuple[Module, Param]] = {}
    for module in modules:
        for param in module.params:
            names.setdefault(param.name, (module, param))
            names[full_name(module, param)] = (module, param)
    return names


def find(modules: tuple[Module, ...], name: str) -> tuple[Module, Param] | None:
    """Find a parameter by its full name, or by its short one; None if no module has it.

    A dash and an underscore are alike in a parameter's name (kernel/params.c: parameq()).
    """
    for spelt, found in _by_name(modules).items():
        if spelt.replace("-", "_") == name.replace("-", "_"):
            return found
    return None


def resolve(modules: tuple[Module, ...], name: str) -> tuple[Module, Param]:
    """Find a parameter as `find` does.

    Raises:
        Misuse: no module has it.
    """
    found = find(modules, name)
    if not found:
        # The kernel reads an early parameter by its full name; the short one is the variable's only.
        known = [spelt for spelt, (_, param) in _by_name(modules).items() if param.early in ("", spelt)]
        raise Misuse(f"unknown parameter {name!r}{nearest(name, known)}")
    return found


def check(modules: tuple[Module, ...], given: Mapping[str, str]) -> dict[str, str]:
    """Return the parameters under their full names.

    Raises:
        Misuse: one is unknown, or its value is malformed.
    """
    out: dict[str, str] = {}
    for name, text in given.items():
        module, param = resolve(modules, name)
        try:
            param.set(text)
        except KernelError:
            raise Misuse(f"malformed value {text!r} for {name}: expected {param.expects}") from None
        out[full_name(module, param)] = text
    return out
