# SPDX-License-Identifier: GPL-2.0-only
"""What the pytest plugin's markers ask for, looked up: every wrong name or value is a Misuse.

A marker holds anything that Python can write, so types are looked at as well as names.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from typing import Any

import attrs

from kvm_ref import backend as backends
from kvm_ref.cpus import parse_cpus
from kvm_ref.fault import Fault, parse
from kvm_ref.linux.module import resolve
from kvm_ref.matrix import VERBS
from kvm_ref.misuse import Misuse, nearest
from kvm_ref.plans import scenarios
from kvm_ref.scenario import Scenario, check


@attrs.frozen
class Parts:
    """What a matrix is made of.

    Attributes:
        bases: the scenarios without a fault.
        faults: how many faults a run has.
        edges: of calls that are repeated for each CPU, fail only the first and the last.
        spread: each run is a test item of its own.
    """

    bases: list[Scenario]
    faults: int
    edges: bool
    spread: bool


@attrs.frozen
class Defaults:
    """The machine of a test that names none: backends, none for the usual one, and CPUs."""

    backend: tuple[str, ...]
    cpus: str


def machines(defaults: Defaults, verbs: tuple[object, ...], kwargs: Mapping[str, Any]) -> list[Scenario]:
    """Return what ``kvm_machine(...)`` asks for.

    Raises:
        Misuse: something in it is wrong.
    """
    if verbs:
        raise Misuse("takes no verbs: the test itself says what to do")
    _accept(kwargs, _bases)
    return list(_bases(defaults, (), **kwargs))


def machine(backend: object, *, cpus: object, params: object, features: object, commits: object) -> Scenario:
    """Return the machine that a test asks for without a marker.

    Raises:
        Misuse: something in it is wrong.
    """
    if not isinstance(backend, str) or backend == "all":
        raise Misuse(f"malformed backend={backend!r}: expected the name of one")
    usual = Defaults((), "2")
    (found,) = _bases(
        usual, (), backend=backend, cpus=cpus, params=params, features=features, commits=commits
    )
    return found


def runs(defaults: Defaults, verbs: tuple[object, ...], kwargs: Mapping[str, Any]) -> list[Scenario]:
    """Return what ``kvm_run(...)`` asks for.

    Raises:
        Misuse: something in it is wrong.
    """
    _accept(kwargs, _bases, _plan)
    if not verbs:
        raise Misuse("nothing to do: give verbs, as in kvm_run('load', 'unload')")
    rest = dict(kwargs)
    plan = tuple(_plan(**{name: rest.pop(name) for name in ("fail", "reboot_at") if name in rest}))
    return list(_bases(defaults, verbs, plan, **rest))


def parts(defaults: Defaults, verbs: tuple[object, ...], kwargs: Mapping[str, Any]) -> Parts:
    """Return what ``kvm_matrix(...)`` asks for.

    Raises:
        Misuse: something in it is wrong.
    """
    _accept(kwargs, _bases, _how)
    rest = dict(kwargs)
    how = {name: rest.pop(name) for name in ("faults", "fail_cpus", "spread") if name in rest}
    faults, edges, spread = _how(**how)
    bases = [
        scenario
        for base in _bases(defaults, verbs or tuple(VERBS), **rest)
        for scenario in scenarios(base, backends.load(base.backend))
    ]
    return Parts(bases, faults, edges, spread)


def names(chosen: Iterable[str]) -> list[str]:
    """Return the names of backends, each once, and all for ``all``; the usual one for none.

    Raises:
        Misuse: there is no backend of such a name.
    """
    out = list(dict.fromkeys(chosen))
    for name in out:
        if name != "all":
            backends.load(name)
    return list(backends.available()) if "all" in out else out or ["x86-svm"]


def _accept(kwargs: Mapping[str, object], *functions: Callable[..., object]) -> None:
    known = [
        p.name
        for function in functions
        for p in inspect.signature(function).parameters.values()
        if p.kind is p.KEYWORD_ONLY
    ]
    for name in kwargs:
        if name not in known:
            raise Misuse(f"unknown argument {name!r}{nearest(name, known)}")


def _bases(
    defaults: Defaults,
    verbs: tuple[object, ...],
    plan: tuple[Fault, ...] = (),
    *,
    backend: object = None,
    cpus: object = None,
    params: object = None,
    features: object = None,
    commits: object = (),
) -> Iterator[Scenario]:
    # The machine of each backend, with everything that is named looked up.
    for verb in verbs:
        if not isinstance(verb, str):
            raise Misuse(f"malformed verb {verb!r}: expected text, as 'load'")
    chosen = defaults.backend if backend is None else texts("backend", backend)
    if backend is not None and not chosen:
        raise Misuse("backend is empty: give a name, several, or 'all'")
    if cpus is not None and (isinstance(cpus, bool) or not isinstance(cpus, (int, str))):
        raise Misuse(f"malformed cpus={cpus!r}: expected a number, or text as '0-3,8' or 'host'")
    try:
        having = parse_cpus(defaults.cpus if cpus is None else str(cpus))
    except Misuse as error:
        raise Misuse(str(error).replace("--cpus", "cpus")) from None
    given = {name: str(int(v)) if isinstance(v, bool) else str(v) for name, v in _params(params)}
    kernel = dict(_commits(commits))
    for name in names(chosen):
        found = backends.load(name)
        scenario = Scenario(
            backend=name,
            verbs=tuple(map(str, verbs)),
            cpus=having,
            params={resolve(found.modules, n)[1].key: text for n, text in given.items()},
            commits=kernel,
            faults=plan,
            features=dict(_features(features)),
        )
        check(scenario, found)
        yield scenario


def _plan(*, fail: object = (), reboot_at: object = ()) -> Iterator[Fault]:
    for text in texts("fail", fail):
        yield parse(text)
    for text in texts("reboot_at", reboot_at):
        fault = parse(text)
        if fault.errno is not None:
            raise Misuse(f"malformed reboot_at={text!r}: a reboot has no errno")
        yield attrs.evolve(fault, effect="system_state=SYSTEM_RESTART")


def _how(*, faults: object = 1, fail_cpus: object = "all", spread: object = True) -> tuple[int, bool, bool]:
    if not isinstance(faults, int) or isinstance(faults, bool) or faults not in (1, 2):
        raise Misuse(f"malformed faults={faults!r}: expected 1, or 2 for every pair")
    if fail_cpus not in ("all", "edges"):
        raise Misuse(f"unknown fail_cpus {fail_cpus!r}{nearest(str(fail_cpus), ('all', 'edges'))}")
    if not isinstance(spread, bool):
        raise Misuse(f"malformed spread={spread!r}: expected True or False")
    return faults, fail_cpus == "edges", spread


def texts(name: str, given: object) -> tuple[str, ...]:
    """Return one text or several as several, those of a set sorted.

    Raises:
        Misuse: it is neither.
    """
    if isinstance(given, str):
        return (given,)
    if isinstance(given, Iterator):
        # A marker of a class is read for each of its tests, and finds nothing here as of the second.
        raise Misuse(f"malformed {name}: a {type(given).__name__} can be read only once; give a list")
    if isinstance(given, Iterable) and not isinstance(given, (Mapping, bytes)):
        several = tuple(given)
        if all(isinstance(text, str) for text in several):
            # The order of a set differs from process to process, and what is made of it must not.
            return tuple(sorted(several)) if isinstance(given, AbstractSet) else several
    raise Misuse(f"malformed {name}={given!r}: expected text, or a list of it")


def _pairs(name: str, given: object, example: str) -> Mapping[str, object]:
    if given is None:
        return {}
    if isinstance(given, Mapping) and all(isinstance(key, str) for key in given):
        return given
    raise Misuse(f"malformed {name}={given!r}: expected a dict, as {example}")


def _params(given: object) -> Iterator[tuple[str, object]]:
    for name, value in _pairs("params", given, "{'enable_virt_at_load': 0}").items():
        if not isinstance(value, (str, int)):
            raise Misuse(f"malformed value {value!r} for {name}: expected text, a number or a bool")
        yield name, value


def _features(given: object) -> Iterator[tuple[str, bool]]:
    for name, on in _pairs("features", given, "{'constant_tsc': True}").items():
        yield name, _switch(on, f"feature {name}")


def _commits(given: object) -> Iterator[tuple[str, bool]]:
    if isinstance(given, Mapping):
        for commit, wanted in _pairs("commits", given, "{'b31e7c24b475': True}").items():
            yield commit, _switch(wanted, f"commit {commit}")
    else:
        yield from ((commit, True) for commit in texts("commits", given))


def _switch(given: object, what: str) -> bool:
    if isinstance(given, int) and given in (0, 1):
        return bool(given)
    raise Misuse(f"malformed value {given!r} for {what}: expected True or False")
