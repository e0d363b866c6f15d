# SPDX-License-Identifier: GPL-2.0-only
"""What to fail, and when.

A `Fault` is a value: it names a call, and what happens to it. A plan is a sequence of faults that
is handed to a run; `arm` puts it into one machine. Nothing else in the model knows of faults.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import attrs

from kvm_ref.errno import Errno, ErrPtr, KernelError
from kvm_ref.kernel import SystemState
from kvm_ref.misuse import Misuse, nearest
from kvm_ref.trace import whole_number

if TYPE_CHECKING:
    from kvm_ref.kernel import Kernel
    from kvm_ref.trace import Event
    from kvm_ref.vocabulary import Facts, Vocabulary

_SPEC = r"(?P<function>[A-Za-z_]\w*)(?:#(?P<nth>[0-9]{1,9}))?(?:@(?P<cpu>[0-9]{1,9}))?(?:=(?P<errno>\w+))?"
_STATES = {s.name for s in SystemState}


@attrs.frozen
class Fault:
    """One call that fails, or one outside event that falls into a call.

    Attributes:
        function: as in the C source, or a symbol of a built kernel.
        nth: which of the matching calls, counted from 1 since the first verb.
        cpu: only calls that run on this CPU count.
        errno: what it fails with; None is the function's natural failure.
        under: only calls count that are made while this function runs.
        where: only calls whose recorded arguments have these values count.
        effect: "system_state=SYSTEM_RESTART" and the like: the call runs, and this happens in it.
    """

    function: str
    nth: int = 1
    cpu: int | None = None
    errno: Errno | None = None
    under: str | None = None
    where: tuple[tuple[str, Any], ...] = ()
    effect: str | None = None

    def __str__(self) -> str:
        """Return the SPEC that `parse` takes, or ``reboot-at FUNCTION`` for an effect."""
        text = self.function
        if self.nth != 1:
            text += f"#{self.nth}"
        if self.cpu is not None:
            text += f"@{self.cpu}"
        if self.errno is not None:
            text += f"={self.errno.name}"
        return f"reboot-at {text}" if self.effect else text

    def to_json(self) -> dict[str, Any]:
        """Return the fault as a trace holds it."""
        out: dict[str, Any] = {"function": self.function, "nth": self.nth, "under": self.under}
        if self.cpu is not None:
            out["cpu"] = self.cpu
        if self.where:
            out["where"] = dict(self.where)
        if self.effect:
            out["effect"] = self.effect
        else:
            out["value"] = None if self.errno is None else -self.errno
        return out

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Fault:
        """Read a fault of a trace. ``"NULL"`` and null mean the natural failure.

        Raises:
            KeyError, ValueError: the function is missing, or something is of another kind than it should be.
        """
        value, nth, cpu, where = map(data.get, ("value", "nth", "cpu", "where"))
        texts = {"function": data["function"], "under": data.get("under"), "effect": data.get("effect")}
        for key, text in texts.items():
            if not isinstance(text, str) and (text is not None or key == "function"):
                raise ValueError(f"{key} of a fault is {text!r}, expected a text")
        if where is not None and not isinstance(where, dict):
            raise ValueError(f"where of a fault is {where!r}, expected an object")
        return cls(
            function=data["function"],
            nth=1 if nth is None else whole_number(nth, "nth of a fault", 1),
            cpu=None if cpu is None else whole_number(cpu, "cpu of a fault"),
            errno=Errno(-value) if isinstance(value, int) and value < 0 else None,
            under=data.get("under"),
            where=tuple(sorted((where or {}).items())),
            effect=data.get("effect"),
        )


def parse(text: str) -> Fault:
    """Read ``FUNCTION[#NTH][@CPU][=ERRNO]``.

    Raises:
        Misuse: the text has another form, or the errno is unknown.
    """
    match = re.fullmatch(_SPEC, text)
    if not match:
        raise Misuse(f"malformed fault {text!r}: expected FUNCTION[#NTH][@CPU][=ERRNO]")
    nth = int(match["nth"] or 1)
    if nth < 1:
        raise Misuse(f"malformed fault {text!r}: #NTH counts from 1")
    errno = None
    if match["errno"]:
        errno = Errno.__members__.get(match["errno"])
        if errno is None:
            names = {str(int(one)): one.name for one in Errno}
            meant = nearest(names.get(match["errno"], match["errno"]), Errno.__members__)
            raise Misuse(f"unknown errno {match['errno']!r} in {text!r}{meant}")
    return Fault(match["function"], nth, int(match["cpu"]) if match["cpu"] else None, errno)


def _targets(fault: Fault, vocabulary: Vocabulary) -> list[Facts]:
    facts = vocabulary.get(fault.function)
    return [facts] if facts else vocabulary.built(fault.function)


def check(fault: Fault, vocabulary: Vocabulary) -> None:
    """Refuse a fault that cannot be.

    Raises:
        Misuse: the function is unknown, cannot fail in C, or has no errno to choose. One that returns
            an int may be made to give any, even if it always gives 0.
    """
    targets = _targets(fault, vocabulary)
    if not targets:
        raise Misuse(f"unknown function {fault.function!r}{nearest(fault.function, vocabulary)}")
    if fault.effect:
        state = fault.effect.removeprefix("system_state=")
        if state not in _STATES:
            raise Misuse(
                f"unknown effect {fault.effect!r}: expected system_state=SYSTEM_RESTART or another state"
            )
        return
    facts = targets[0]
    if not facts.fails and not (fault.errno and facts.returns_int):
        raise Misuse(f"{facts.name}() cannot fail in C: kvm-ref list faults names those that can")
    if fault.errno is not None and facts.fails and not isinstance(facts.fails[0], (Errno, ErrPtr)):
        raise Misuse(f"{facts.name}() fails by returning {facts.fails[0]}: it has no errno to choose")


class Armed:
    """The faults of one machine that wait for calls of one function."""

    __slots__ = ("pending",)

    def __init__(self) -> None:
        self.pending: list[Pending] = []

    def strike(self, k: Kernel, facts: Facts, args: dict[str, Any] | None) -> KernelError | tuple[Any] | None:
        """Count this call for every fault; return what it fails with, if it does."""
        struck: KernelError | tuple[Any] | None = None
        for pending in self.pending:
            if pending.counts(k, facts, args) and struck is None:
                struck = pending.act(k, facts)
        return struck


class Pending:
    """A fault, how many of its calls were seen, and at which place in the verb's events it struck."""

    __slots__ = ("fault", "fired", "hits", "place")

    def __init__(self, fault: Fault) -> None:
        self.fault = fault
        self.hits = 0
        self.fired = False
        self.place = 0

    def counts(self, k: Kernel, facts: Facts, args: dict[str, Any] | None) -> bool:
        """Say whether this call is the one."""
        fault = self.fault
        if fault.cpu is not None and fault.cpu != k.at.cpu:
            return False
        if fault.where and any(
            (args or {}).get(facts.alias.get(name, name)) != value for name, value in fault.where
        ):
            return False
        if fault.under is not None and fault.under not in callers(k.events):
            return False
        self.hits += 1
        return self.hits == fault.nth

    def act(self, k: Kernel, facts: Facts) -> KernelError | tuple[Any] | None:
        """Strike: leave the event, and return what the call fails with, or None if it runs."""
        self.fired = True
        self.place = len(k.events)
        fault = self.fault
        if fault.effect:
            state = SystemState[fault.effect.removeprefix("system_state=")]
            k.emit(("inject", k.at.inner or k.at.deeper(), "system_state", None, int(state)))
            k.system_state = state
            return None
        failure = facts.fails[0] if facts.fails else fault.errno
        if isinstance(failure, Errno):
            error = fault.errno or failure
            k.emit(("inject", k.at, facts.name, None, -int(error)))
            return KernelError(error)
        if isinstance(failure, ErrPtr):
            error = fault.errno or failure.error
            k.emit(("inject", k.at, facts.name, None, -int(error)))
            return (ErrPtr(error),)
        value = failure if isinstance(failure, bool) else None
        k.emit(("inject", k.at, facts.name, None, int(value or 0)))
        return (value,)


def callers(events: Sequence[Event]) -> list[str]:
    """Return the functions that enclose the last event, innermost first: in its task, and in those that wait for it."""
    out: list[str] = []
    # Of each task how deep it is, as far back as was looked: what is deeper has returned.
    depths: dict[tuple[str, int], int] = {}
    for kind, at, name, _, _ in reversed(events):
        depth = depths.get((at.task, at.cpu))
        if kind in ("enter", "exit") and (depth is None or at.depth < depth):
            depths[at.task, at.cpu] = at.depth
            if kind == "enter":
                out.append(name)
    return out


def arm(k: Kernel, faults: Iterable[Fault], vocabulary: Vocabulary) -> list[Pending]:
    """Put a plan into a machine; the returned list tells afterwards which faults fired."""
    plan = [Pending(fault) for fault in faults]
    armed: dict[str, Armed] = {}
    for pending in plan:
        for facts in _targets(pending.fault, vocabulary):
            armed.setdefault(facts.name, Armed()).pending.append(pending)
    k.armed = armed or None
    return plan
