# SPDX-License-Identifier: GPL-2.0-only
"""One simulated machine: its CPUs, the task that runs, and every variable of the kernel.

Everything that the kernel keeps in static variables is held by a small class beside the code that
uses it, and `Kernel` holds one instance of each: ``k[KvmMain].kvm_usage_count``. Variables of a
module come into being when the module is loaded and are gone when it is unloaded; those of the
kernel proper live as long as the machine. There is no state outside a `Kernel`, so machines can
be made, copied and run side by side.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterable
from enum import IntEnum
from heapq import heappop, heappush
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from kvm_ref.errno import KernelError
from kvm_ref.trace import place

if TYPE_CHECKING:
    from kvm_ref.backend import Backend
    from kvm_ref.fault import Armed
    from kvm_ref.trace import Event
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


class Resource:
    """Something that was acquired and must be released once; `id` names it in the trace."""

    __slots__ = ("id",)

    def __init__(self, id: str) -> None:
        self.id = id

    def __repr__(self) -> str:
        return self.id


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
_LASTING = (
    "cmdline", "commits", "features", "freed", "highest", "live", "online", "registers",
    "system_state", "warned",
)  # fmt: skip

if TYPE_CHECKING:

    class _StaticsByClass:
        def __getitem__(self, key: type[S]) -> S: ...
        def pop(self, key: type[Statics], default: None) -> None: ...
        def __iter__(self) -> Any: ...
        def items(self) -> Iterable[tuple[type[Statics], Statics]]: ...
        def clear(self) -> None: ...
        def update(self, statics: Iterable[tuple[type[Statics], Statics]]) -> None: ...

else:

    class _StaticsByClass(dict):
        __slots__ = ()

        def __missing__(self, key):
            statics = self[key] = key()
            return statics


class Kernel(_StaticsByClass):
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
        "arch", "armed", "at", "cmdline", "commits", "cpu", "emit", "events", "features", "freed",
        "highest", "live", "log", "online", "possible", "present", "registers", "system_state",
        "warned",
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
        self.possible = tuple(possible)
        self.present = self.possible if present is None else tuple(present)
        self.online = set(self.present if online is None else online)
        self.commits = frozenset(c.hash for c in commits)
        self.cmdline = dict(cmdline or {})
        self.features = {**backend.features, **(features or {})}
        self.system_state = SystemState.SYSTEM_RUNNING
        self.events: list[Event] = []
        self.emit = self.events.append
        self.log: list[str] = []
        self.at = place("init", min(self.online))
        self.cpu = self.at.cpu
        self.armed: dict[str, Armed] = {}
        self.registers: dict[tuple[int, str], int] = {}
        self.live: dict[str, tuple[str, int]] = {}
        self.freed: dict[str, list[int]] = {}
        self.highest: dict[str, int] = {}
        self.warned: set[tuple[str, str, str]] = set()

    def record(self) -> list[Event]:
        """Begin a new list of events, and return it."""
        self.events = []
        self.emit = self.events.append
        return self.events

    def snapshot(self) -> bytes:
        """Return all that decides what this machine does next: equal bytes, equal future.

        The log and the faults are not in it.
        """
        statics = sorted(self.items(), key=lambda item: item[0].__qualname__)
        return pickle.dumps((statics, [getattr(self, name) for name in _LASTING]), 5)

    def restore(self, snapshot: bytes) -> None:
        """Put the machine, one of the same backend and CPUs, into the state of a snapshot."""
        statics, lasting = pickle.loads(snapshot)
        self.clear()
        self.update(statics)
        for name, value in zip(_LASTING, lasting, strict=True):
            setattr(self, name, value)

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
        return commit.hash in self.commits

    def new(self, name: str) -> str:
        """Return an id that nothing has: `name`, then ``name#2`` and so on.

        Ids are used again after the release, as addresses are.
        """
        if name not in self.highest:
            self.highest[name] = 1
            self.live[name] = (name, 1)
            return name
        freed = self.freed.get(name)
        if freed:
            n = heappop(freed)
        else:
            n = self.highest[name] = self.highest[name] + 1
        id = name if n == 1 else f"{name}#{n}"
        self.live[id] = (name, n)
        return id

    def gone(self, id: str | int) -> None:
        """Note that what has this id was released; an id that nothing has is legal."""
        if isinstance(id, str) and id in self.live:
            name, n = self.live.pop(id)
            freed = self.freed.setdefault(name, [])
            heappush(freed, n)
            if len(freed) == self.highest[name]:
                del self.freed[name], self.highest[name]

    def read(self, register: str) -> int:
        """Read a register of the CPU that runs."""
        value = self.registers.get((self.cpu, register))
        return self.arch.reset.get(register, 0) if value is None else value

    def write(self, register: str, value: int) -> None:
        """Write a register of the CPU that runs; a ``write`` event tells what it held."""
        key = (self.cpu, register)
        reset = self.arch.reset.get(register, 0)
        self.emit(("write", self.at, register, {"was": self.registers.get(key, reset)}, value))
        if value == reset:
            self.registers.pop(key, None)
        else:
            self.registers[key] = value

    def strike(self, facts: Facts, args: dict[str, Any] | None) -> tuple[Any] | None:
        """Let the fault plan act on a call that was just entered.

        Returns:
            None if the call runs, else a tuple that holds what it returns instead.

        Raises:
            KernelError: the fault makes the call return an error number.
        """
        failure = self.armed[facts.name].strike(self, facts, args)
        if isinstance(failure, KernelError):
            assert failure.errno is not None
            self.emit(("exit", self.at, facts.name, None, -failure.errno))
            raise failure
        return failure
