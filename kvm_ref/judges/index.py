# SPDX-License-Identifier: GPL-2.0-only
"""What judges look at, picked out of a step's events in one pass.

Most events are calls of functions that acquire nothing, jump nowhere and do not fail. They are
passed over by one look-up each; the rest is sorted once, and kept on the step for all judges.

An `At` must be one object for each place in the trace, as the model and `kvm_ref.trace.load` make it.
"""

from __future__ import annotations

import functools
from bisect import bisect_left
from collections.abc import Iterator, Mapping
from operator import itemgetter
from typing import Any

from kvm_ref.errno import Errno, ErrPtr
from kvm_ref.trace import At, Event, Step, Trace
from kvm_ref.vocabulary import NULL, Facts, Vocabulary

# The values by which a call gives an error number.
ERRORS = frozenset(range(-4095, 0))
# What each value that tells of an error number tells: the number, or a pointer that encodes it.
BEARING: Mapping[object, int] = {n: n for n in ERRORS} | {f"ERR_PTR({n})": n for n in ERRORS}
# The calls that tell of virtualization, and of CPUs that come and go; a judge looks for them by name.
TELLING = frozenset({
    "kvm_arch_enable_virtualization_cpu", "kvm_arch_disable_virtualization_cpu", "kvm_enable_virtualization",
    "kvm_disable_virtualization", "kvm_init_virtualization", "kvm_uninit_virtualization", "kvm_shutdown", "_cpu_up", "_cpu_down",
})  # fmt: skip
# A resource: its kind and its id; the id is "" in a log that does not tell.
Key = tuple[str, str | int]
# A register of one CPU.
Register = tuple[int, str]
# What is done with a resource: the place where it is done, "acquire", "release" or "use", what it is done
# with, by which event, and by which function.
Deed = tuple[int, str, Key, Event, Facts]


def resource_of(key: Key) -> str:
    """Name a resource: ``debugfs:kvm``."""
    kind, name = key
    return f"{kind}:{'?' if name == '' else name}"


class Words:
    """A vocabulary as the judges need it.

    Attributes:
        roles: the functions that acquire, release or use something, by name and by built symbol.
        dull: the functions that do neither, have no ladder, and of which no judge asks by name.
        own: of each function the error numbers that it gives itself, negative.
        strict: the functions that give no other.
    """

    def __init__(self, vocabulary: Vocabulary) -> None:
        self.roles: dict[str, Facts] = {}
        self.own: dict[str, frozenset[int]] = {}
        self.strict: set[str] = set()
        dull = set()
        for name in {*vocabulary, *(facts.symbol for facts in vocabulary.values())}:
            known = named(vocabulary, name)
            self.own[name] = frozenset(error for facts in known for error in _errors(facts))
            if all(facts.translates for facts in known):
                self.strict.add(name)
            # One built symbol may stand for functions that acquire different things.
            if len({(f.acquires, f.releases, f.uses) for f in known}) == 1 and _matters(known[0]):
                self.roles[name] = known[0]
            elif name in vocabulary and name not in TELLING and not known[0].jumps:
                dull.add(name)
        self.dull = frozenset(dull)


def _matters(facts: Facts) -> bool:
    return bool(facts.acquires or facts.releases or facts.uses)


def _errors(facts: Facts) -> Iterator[int]:
    for failure in facts.fails:
        if isinstance(failure, ErrPtr):
            yield -failure.error
        elif isinstance(failure, Errno):
            yield -failure


def named(vocabulary: Vocabulary, name: str) -> list[Facts]:
    """Return the functions that go by `name` in a trace: its own name, or its symbol in a built kernel."""
    facts = vocabulary.get(name)
    return [facts] if facts else vocabulary.built(name)


@functools.lru_cache(maxsize=32)
def words_of(vocabulary: Vocabulary) -> Words:
    """Return what the judges need of a vocabulary."""
    return Words(vocabulary)


class Jumped:
    """A ``goto``: its place and label, the direct callees after it, and the function's exit, if any."""

    __slots__ = ("callees", "event", "exit", "label", "place")

    def __init__(self, events: list[Event], place: int) -> None:
        self.place = place
        self.event = events[place]
        self.exit: Event | None = None
        _, inside, function, args, _ = self.event
        self.label = str((args or {}).get("label"))
        callees = []
        for event in events[place + 1 :]:
            at = event[1]
            if at is inside:
                if event[0] == "enter":
                    callees.append(event[2])
            elif event[2] == function and event[0] == "exit" and encloses(at, inside):
                self.exit = event
                break
        self.callees = tuple(callees)


def place_of(events: list[Event], event: Event) -> int:
    """Return the place of an event in its step; another one may be equal to it."""
    return list(map(id, events)).index(id(event))


def encloses(outer: At, inner: At) -> bool:
    """Say whether what happens at `inner` is done directly by a call at `outer`."""
    return outer.depth == inner.depth - 1 and outer.task == inner.task and outer.cpu == inner.cpu


# What is listed of a step in the order of its events, each item with its place.
_LISTS = ("picked", "deeds", "locks", "writes", "gotos", "errors", "bearing", "telling")
# Events whose value is no error number, whatever it is.
_PLAIN = frozenset({"lock", "unlock", "write"})
# An event, with its place in the step.
Placed = tuple[int, Event]


class Index:
    """What judges look at in one step.

    Attributes:
        verbs, results: the step's. The step itself is not kept: it keeps its index, and what keeps each
            other is not freed when a run is done.
        picked: the events that are not passed over.
        deeds: what was done with resources, in order. A release counts from when it returned,
            and one that failed does not count.
        locks: the ``lock`` and ``unlock`` events.
        writes: the ``write`` events.
        before: what each register held before the first write of it.
        last: the last write of each register.
        foreign: the writes of another hypervisor.
        gotos: the ``goto`` events.
        errors: all events with an error number.
        bearing: all events with an error number, or with a pointer that encodes one.
        telling: the events of the calls that tell of virtualization.
        found: what judges keep that look at one step alone, each under keys of its own.
        alone: what the judges found that look at one step alone, by its number and whether the trace is
            whole, then by the judge.
        come: where the judges that go step by step came to stand, and what they found, by the step's number and
            where they stood.
        counted_by: the last who counted what was reached in this step.
    """

    __slots__ = (
        "_jumps", "alone", "bearing", "before", "come", "counted_by", "deeds", "errors", "events", "foreign", "found", "gotos",
        "last", "locks", "picked", "results", "source", "telling", "verbs", "vocabulary", "writes",
    )  # fmt: skip

    def __init__(self, step: Step, vocabulary: Vocabulary) -> None:
        self.vocabulary = vocabulary
        self.verbs = step.verbs
        self.results = step.results
        self.source = step.events
        self.events = step.events or []
        self._jumps: list[Jumped] | None = None
        self.picked: list[Placed] = []
        self.deeds: list[Deed] = []
        self.locks: list[Placed] = []
        self.writes: list[Placed] = []
        self.gotos: list[Placed] = []
        self.errors: list[Placed] = []
        self.bearing: list[Placed] = []
        self.telling: list[Placed] = []
        self.found: dict[object, Any] = {}
        self.alone: dict[tuple[int, bool], dict[Any, list[Any]]] = {}
        self.come: dict[tuple[int, Any], tuple[Any, dict[Any, list[Any]]]] = {}
        self.counted_by: object = None
        self.before: dict[Register, Any] = {}
        self.last: dict[Register, Event] = {}
        self.foreign: list[Event] = []
        start = self._begin(step)
        words = words_of(vocabulary)
        dull = words.dull
        events = enumerate(self.events[start:] if start else self.events, start)
        rest = [(n, e) for n, e in events if e[2] not in dull or (e[4] and e[4] in BEARING)]
        self._note(rest, words.roles)
        self.picked += rest
        for _, event in self.writes:
            _, at, name, args, _ = event
            register = (at.cpu, name)
            if args and "was" in args:
                self.before.setdefault(register, args["was"])
            self.last[register] = event
            if at.task == "foreign":
                self.foreign.append(event)

    def _begin(self, step: Step) -> int:
        # Where the step begins as another one does, that one has been looked through. Return how far.
        if not step.alike:
            return 0
        other, start = step.alike
        known = index(other, self.vocabulary)
        for name in _LISTS:
            theirs: list[tuple[Any, ...]] = getattr(known, name)
            getattr(self, name).extend(theirs[: bisect_left(theirs, (start,))])
        return start

    def _note(self, rest: list[Placed], roles: dict[str, Facts]) -> None:
        # Sort events. Of the calls that were entered with arguments the last at each place is known.
        deeds = self.deeds
        entered: dict[At, Event] = {}
        for pair in rest:
            place, event = pair
            kind, at, name, args, value = event
            if name in TELLING:
                self.telling.append(pair)
            if kind == "enter":
                if args is not None:
                    entered[at] = event
                    if "uses" in args and name in roles:
                        deeds.append((place, "use", (roles[name].uses, args["uses"]), event, roles[name]))
                continue
            if value in BEARING:
                self.bearing.append(pair)
                if value in ERRORS and kind not in _PLAIN:
                    self.errors.append(pair)
                    if kind == "exit":
                        continue
            if kind == "exit":
                if name in roles:
                    facts = roles[name]
                    if facts.releases:
                        enter = entered.pop(at, None) or self._entered(at) or event
                        key = _released(facts, enter if enter[2] == name else event)
                        if key is not None:
                            deeds.append((place, "release", (facts.releases, key), enter, facts))
                    if facts.acquires:
                        if args is not None and "obj" in args:
                            # A reference to nothing holds nothing.
                            key = None if args["obj"] == "NULL" else args["obj"]
                        else:
                            key = _acquired(facts, entered.get(at) or self._entered(at), event)
                        if key is not None:
                            deeds.append((place, "acquire", (facts.acquires, key), event, facts))
            elif kind == "lock" or kind == "unlock":
                self.locks.append(pair)
            elif kind == "write":
                self.writes.append(pair)
            elif kind == "goto":
                self.gotos.append(pair)

    def _entered(self, at: At) -> Event | None:
        # The call at a place that was entered with arguments in what another step begins with, too.
        for _, event in reversed(self.picked):
            if event[1] is at and event[0] == "enter" and event[3] is not None:
                return event
        return None

    def functions(self) -> set[str]:
        """Return the names that the events bear."""
        if "functions" not in self.found:
            self.found["functions"] = set(map(itemgetter(2), self.events))
        functions: set[str] = self.found["functions"]
        return functions

    def jumps(self) -> list[Jumped]:
        """Return the ``goto`` events, each with what followed."""
        if self._jumps is None:
            self._jumps = [Jumped(self.events, place) for place, _ in self.gotos]
        return self._jumps

    def failures(self) -> list[Jumped]:
        """Return those of the jumps that are taken because something is wrong: their events bear a value."""
        return [jump for jump in self.jumps() if jump.event[4] is not None]


def _released(facts: Facts, enter: Event) -> Any:
    # What a call released: nothing if that is NULL or an error pointer.
    args = enter[3]
    if args is not None and "obj" in args:
        key = args["obj"]
        return None if key == "NULL" or (key.__class__ is str and key[:8] == "ERR_PTR(") else key
    return _named(facts, args or {})


def _acquired(facts: Facts, enter: Event | None, leave: Event) -> Any:
    # What a call acquired that does not say so, as calls of the model do: nothing if it failed.
    if not _succeeded(facts, leave[4]):
        return None
    args = (enter[3] if enter and enter[2] == leave[2] else None) or {}
    return (leave[3] or {}).get("mask", args.get("obj", _named(facts, args)))


def _named(facts: Facts, args: dict[str, Any]) -> Any:
    key = args.get(facts.obj, args.get("name", ""))
    return key if isinstance(key, (str, int)) else str(key)


def _succeeded(facts: Facts, value: object) -> bool:
    if isinstance(value, str):
        return value == "ptr"
    if isinstance(value, int):
        if any(failure is True for failure in facts.fails):
            return not value
        return bool(value) if False in facts.fails or NULL in facts.fails else value >= 0
    return True


def indexes(trace: Trace, vocabulary: Vocabulary) -> list[Index]:
    """Return the index of each step."""
    return [index(step, vocabulary) for step in trace.steps]


def index(step: Step, vocabulary: Vocabulary) -> Index:
    """Return the index of a step, which is made once; the step must not be changed after that."""
    known: Index | None = step.picked
    if known is not None and known.vocabulary is vocabulary and known.source is step.events:
        return known
    step.picked = made = Index(step, vocabulary)
    return made
