# SPDX-License-Identifier: GPL-2.0-only
"""One simulated machine: its CPUs, the task that runs, and every variable of the kernel.

Everything that the kernel keeps in static variables is held by a small class beside the code that
uses it, and `Kernel` holds one instance of each: ``k[KvmMain].kvm_usage_count``. Variables of a
module come into being when the module is loaded and are gone when it is unloaded; those of the
kernel proper live as long as the machine. There is no state outside a `Kernel`, so machines can
be made, copied and run side by side.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from enum import IntEnum
from heapq import heappop, heappush
from sys import intern
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from kvm_ref.errno import ErrPtr, KernelError
from kvm_ref.trace import place

if TYPE_CHECKING:
    from kvm_ref.backend import Backend
    from kvm_ref.fault import Armed
    from kvm_ref.linux.module import constant_param
    from kvm_ref.trace import At, Event
    from kvm_ref.vocabulary import Facts


class SystemState(IntEnum):
    """What the machine as a whole is doing (include/linux/kernel.h: enum system_states)."""

    SYSTEM_BOOTING = 0
    SYSTEM_SCHEDULING = 1
    SYSTEM_FREEING_INITMEM = 2
    SYSTEM_RUNNING = 3
    SYSTEM_HALT = 4
    SYSTEM_POWER_OFF = 5
    SYSTEM_RESTART = 6
    SYSTEM_SUSPEND = 7


class Statics:
    """The static variables of one C file. A subclass gives each its initial value.

    `module` is the kernel module that the file is linked into, or None for the kernel proper.
    """

    __slots__ = ()
    module: ClassVar[str | None] = None

    def at_boot(self, k: Kernel) -> None:
        """Give those their values that depend on the machine, before anything asks for them."""


class Resource:
    """Something that was acquired and must be released once; `id` names it in the trace."""

    __slots__ = ("id",)

    def __init__(self, id: str) -> None:
        self.id = id

    def __repr__(self) -> str:
        return self.id


class Operations:
    """A table of functions that is filled in once and for all, as C's ``const struct kvm_x86_ops``."""

    __slots__ = ()


class Commit:
    """An upstream commit that changes a path: a switch of the machine.

    Args:
        hash: its first 12 digits.
        title: its first line.
        default: whether 6.12.117 contains it.
    """

    __slots__ = ("default", "hash", "title")
    known: ClassVar[dict[str, Commit]] = {}

    def __init__(self, hash: str, title: str, *, default: bool) -> None:
        self.hash = hash
        self.title = title
        self.default = default
        Commit.known[hash] = self


class KernelBug(Exception):
    """The kernel hit a BUG_ON(): the machine would have stopped here."""


S = TypeVar("S", bound=Statics)

# What a machine is, besides its static variables.
LASTING = (
    "features", "freed", "highest", "live", "online", "registers",
    "system_state", "warned",
)  # fmt: skip


# The ids of things with a number, and their numbers; the same few are asked for again and again.
@functools.cache
def _numbered(name: str, n: int) -> str:
    return name if n == 1 else intern(f"{name}#{n}")


@functools.cache
def _number(name: str, id: str | int) -> int:
    return int(str(id)[len(name) + 1 :] or 1)


# What a write tells of the value before; few are not alike, and a dictionary is dear.
@functools.cache
def _was(value: int) -> dict[str, int]:
    return {"was": value}


def pointer(value: object) -> str:
    """Encode a pointer for the trace."""
    if value is None:
        return "NULL"
    return repr(value) if isinstance(value, ErrPtr) else "ptr"


class Kernel:
    """A machine that runs the modelled kernel.

    Args:
        backend: the architecture.
        possible: the CPUs that can exist, ascending; per-CPU memory is allocated for these.
        present: the CPUs that are plugged in.
        online: the CPUs that run.
        cpu: the CPU that runs the present task (smp_processor_id()); not an argument.
        commits: the commits that this kernel contains.
    """

    __slots__ = (
        "arch", "armed", "asked", "at", "cpu", "events", "features", "freed", "highest",
        "live", "log", "online", "possible", "present", "registers", "reset", "settings",
        "statics", "system_state", "warned",
    )  # fmt: skip

    def __init__(
        self,
        backend: Backend,
        *,
        possible: Iterable[int] = range(4),
        present: Iterable[int] | None = None,
        online: Iterable[int] | None = None,
        commits: Iterable[Commit] = (),
        cmdline: dict[str, str] | None = None,
        features: dict[str, bool] | None = None,
    ) -> None:
        self.arch = backend
        # By its class; one comes into being when it is first asked for.
        self.statics: dict[type[Statics], Any] = {}
        self.possible = tuple(possible)
        self.present = self.possible if present is None else tuple(present)
        self.online = set(self.present if online is None else online)
        # What is given once and for all: parameters by their full names, and the hashes of commits;
        # and those that were asked for, with what the answer was.
        self.settings = {**(cmdline or {}), **{c.hash: c.title for c in commits}}
        self.asked: dict[str, str | None] = {}
        self.features = {**backend.features, **(features or {})}
        self.reset = backend.at_reset(self.features)
        self.system_state = SystemState.SYSTEM_RUNNING
        self.events: list[Event] = []
        self.log: list[str] = []
        self.at = place("init", min(self.online))
        self.cpu = self.at.cpu
        self.armed: dict[str, Armed] | None = None
        self.registers: dict[tuple[int, str], int] = {}
        # The names behind the ids that are in use; of names with more than one id the highest number
        # that was given, and those that are free again.
        self.live: dict[str | int, str] = {}
        self.highest: dict[str, int] = {}
        self.freed: dict[str, list[int]] = {}
        self.warned: set[tuple[str, str, str]] = set()

    def __getitem__(self, of: type[S]) -> S:
        """Return the static variables of one C file: ``k[KvmMain]``."""
        try:
            return self.statics[of]  # type: ignore[no-any-return]  # a class is the key of its instance
        except KeyError:
            made = self.statics[of] = of()
            made.at_boot(self)
            return made

    def record(self) -> list[Event]:
        """Begin a new list of events, and return it."""
        self.events = []
        return self.events

    def emit(self, event: Event) -> None:
        """Leave an event. What leaves one at every call appends to `events` without this call."""
        self.events.append(event)

    def run_on(self, task: str, cpu: int, function: Callable[..., object], *args: object) -> object:
        """Call `function` as `task` on `cpu`, while the present task waits."""
        at = self.at
        self.at = place(task, cpu)
        self.cpu = cpu
        try:
            return function(self, *args)
        finally:
            self.at = at
            self.cpu = at.cpu

    def has(self, commit: Commit) -> bool:
        """Say whether this kernel contains `commit`."""
        return self.setting(commit.hash) is not None

    def param(self, param: constant_param) -> Any:
        """Return the value of a parameter that nobody writes."""
        return param.of(self)

    def setting(self, name: str) -> str | None:
        """Return what was given for a parameter or a commit, or None."""
        value = self.asked[name] = self.settings.get(name)
        return value

    def new(self, name: str) -> str:
        """Return an id that nothing has: `name`, then ``name#2`` and so on.

        Ids are used again after the release, as addresses are.
        """
        live = self.live
        highest = self.highest.get(name)
        if highest is None:
            if name not in live:
                live[name] = name
                return name
            highest = 1
        freed = self.freed.get(name)
        if freed:
            n = heappop(freed)
        else:
            n = self.highest[name] = highest + 1
        id = _numbered(name, n)
        live[id] = name
        return id

    def gone(self, id: str | int) -> None:
        """Note that what has this id was released; an id that nothing has is legal."""
        name = self.live.pop(id, None)
        if name is not None and name in self.highest:
            freed = self.freed.setdefault(name, [])
            heappush(freed, _number(name, id))
            if len(freed) == self.highest[name]:
                del self.freed[name], self.highest[name]

    def read(self, register: str) -> int:
        """Read a register of the CPU that runs."""
        value = self.registers.get((self.cpu, register))
        return self.reset.get(register, 0) if value is None else value

    def write(self, register: str, value: int) -> None:
        """Write a register of the CPU that runs; a ``write`` event tells what it held."""
        key = (self.cpu, register)
        registers = self.registers
        reset = self.reset.get(register, 0)
        self.events.append(("write", self.at, register, _was(registers.get(key, reset)), value))
        if value == reset:
            registers.pop(key, None)
        else:
            registers[key] = value

    def strike(self, facts: Facts, args: dict[str, Any] | None) -> tuple[Any] | None:
        """Let the fault plan act on a call that was just entered.

        Returns:
            None if the call runs, else a tuple that holds what it returns instead; its event is left.

        Raises:
            KernelError: the fault makes the call return an error number.
        """
        armed = self.armed
        assert armed is not None
        failure = armed[facts.name].strike(self, facts, args)
        if isinstance(failure, KernelError):
            assert failure.errno is not None
            self.emit(("exit", self.at, facts.name, None, -failure.errno))
            try:
                raise failure
            finally:
                # It refers to this frame now; if this frame referred to it, both would outlive the run.
                del failure
        if failure is not None:
            (value,) = failure
            returned = int(value) if isinstance(value, bool) else pointer(value)
            self.emit(("exit", self.at, facts.name, None, returned))
        return failure

    def failed(self, at: At, function: str, error: KernelError) -> None:
        """Leave the event of a call, made at `at`, that ends with an error: it tells the line where it came up."""
        self.at = at
        # The traceback begins with who asks, the wrapper; the function itself is next.
        inside = error.__traceback__ and error.__traceback__.tb_next
        assert inside is not None
        assert error.errno is not None
        self.emit(("exit", at, function, {"line": inside.tb_lineno}, -error.errno))
