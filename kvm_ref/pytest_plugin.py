# SPDX-License-Identifier: GPL-2.0-only
"""The pytest plugin: fault matrices, runs and machines as tests.

A test that asks for none of the fixtures and bears none of the markers is left alone, and nothing of
the model is imported for it.

==================================  =================================================================
``@pytest.mark.kvm_matrix(VERB)``   one item for each fault of the scenario; the fixture ``kvm_run``
                                    is its run. With ``spread=False`` one item for all: ``kvm_matrix``
``@pytest.mark.kvm_run(VERB)``      the fixture ``kvm_run`` is the run of these verbs, with ``fail=``
``@pytest.mark.kvm_machine()``      the fixture ``kvm_machine`` is a machine to be told what to do
==================================  =================================================================

All markers take ``backend`` (a name, several, or ``"all"``), ``cpus``, ``params``, ``features`` and ``commits``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from kvm_ref.judged import Judged
    from kvm_ref.matrix import Matrix
    from kvm_ref.plans import Plan
    from kvm_ref.scenario import Scenario
    from kvm_ref.session import Session

_MACHINE = "backend=None, cpus=None, params=None, features=None, commits=()"
_MARKERS = {
    "kvm_matrix": f"kvm_matrix(*verbs, spread=True, faults=1, fail_cpus='all', {_MACHINE}): every fault of a "
    "scenario, one a test item (fixture kvm_run), or all in one (spread=False, fixture kvm_matrix)",
    "kvm_run": f"kvm_run(*verbs, fail=(), reboot_at=(), {_MACHINE}): what the fixture kvm_run runs",
    "kvm_machine": f"kvm_machine({_MACHINE}): which machine the fixture kvm_machine is",
}
# Which markers a fixture can do with; a machine needs none.
_FIXTURES = {
    "kvm_run": ("kvm_run", "kvm_matrix"),
    "kvm_matrix": ("kvm_matrix",),
    "kvm_machine": ("kvm_machine",),
}


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options that say which machine a test gets that does not say so itself."""
    group = parser.getgroup("kvm-ref", "a machine that runs KVM")
    group.addoption(
        "--kvm-backend",
        action="append",
        default=[],
        metavar="NAME|all",
        help="backend of tests that name none; may be repeated (default: x86-svm)",
    )
    group.addoption(
        "--kvm-cpus",
        default="4",
        metavar="N|LIST|host",
        help="CPUs of tests that name none (default: 4)",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Make the markers known, and refuse options that name what is not there."""
    for line in _MARKERS.values():
        config.addinivalue_line("markers", line)
    chosen = config.getoption("--kvm-backend"), config.getoption("--kvm-cpus")
    if chosen == ([], "4"):
        return
    from kvm_ref.cpus import parse_cpus
    from kvm_ref.misuse import Misuse

    try:
        _backends(chosen[0])
        parse_cpus(chosen[1])
    except Misuse as error:
        raise pytest.UsageError(str(error).replace("--cpus", "--kvm-cpus")) from None


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Spread tests over backends and faults."""
    for fixture, markers in _FIXTURES.items():
        if fixture not in metafunc.fixturenames:
            continue
        from kvm_ref.misuse import Misuse

        found = [mark for name in markers for mark in metafunc.definition.iter_markers(name)]
        name = metafunc.definition.nodeid
        if len(found) > 1:
            pytest.fail(f"{name}: more than one marker says what {fixture} is", pytrace=False)
        if not found and fixture != "kvm_machine":
            wanted = " or ".join(f"@pytest.mark.{marker}(VERB, ...)" for marker in markers)
            pytest.fail(f"{name}: {fixture} needs {wanted}", pytrace=False)
        mark = found[0] if found else pytest.mark.kvm_machine().mark
        try:
            cases = list(_CASES[fixture, mark.name](mark, metafunc.config))
        except (Misuse, TypeError) as error:
            why = str(error).rpartition("() ")[2]
            raise pytest.fail.Exception(f"{name}: @pytest.mark.{mark.name}: {why}", pytrace=False) from None
        metafunc.parametrize(fixture, [case for _, case in cases], ids=[i for i, _ in cases], indirect=True)


@pytest.fixture
def kvm_run(request: pytest.FixtureRequest) -> Judged:
    """Return a run, judged: that of the marker, or that of one fault of the marker's matrix."""
    found: Judged = request.param()
    if found.idle:
        pytest.fail(f"never fired: {', '.join(map(str, found.idle))}; {found.command}", pytrace=False)
    return found


@pytest.fixture
def kvm_matrix(request: pytest.FixtureRequest) -> Matrix:
    """Return all rows of the marker's matrix."""
    found: Matrix = request.param()
    return found


@pytest.fixture
def kvm_machine(request: pytest.FixtureRequest) -> Session:
    """Return a machine on which nothing has run: ``kvm_machine.do("load", "misc_register")``."""
    found: Session = request.param()
    return found


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Say below a failed test which command shows the same run."""
    outcome: Any = yield
    values = getattr(item, "funcargs", {})
    shown = [values[name] for name in ("kvm_run", "kvm_machine") if name in values]
    report = outcome.get_result()
    if report.failed and shown:
        from kvm_ref.reproduce import command

        lines = [command(one.scenario) for one in shown if one.scenario.verbs]
        report.sections += [("shown again by", line) for line in lines]


# A test item: its id, and what makes what its fixture is.
_Case = tuple[str, Callable[[], Any]]


def _backends(chosen: Iterable[str]) -> list[str]:
    from kvm_ref import backend as backends

    names = list(dict.fromkeys(chosen))
    if "all" in names:
        return list(backends.available())
    for name in names:
        backends.load(name)
    return names or ["x86-svm"]


def _bases(
    config: pytest.Config,
    verbs: tuple[str, ...],
    *,
    backend: str | Iterable[str] | None = None,
    cpus: int | str | None = None,
    params: Mapping[str, object] | None = None,
    features: Mapping[str, bool] | None = None,
    commits: Iterable[str] | Mapping[str, bool] = (),
) -> Iterator[Scenario]:
    # The machine of each backend, with everything that is named looked up.
    from kvm_ref import backend as backends
    from kvm_ref.cpus import parse_cpus
    from kvm_ref.linux.module import resolve
    from kvm_ref.scenario import Scenario, machine
    from kvm_ref.verbs import parse_verb

    for verb in verbs:
        parse_verb(verb)
    if backend is None:
        backend = config.getoption("--kvm-backend")
    for name in _backends([backend] if isinstance(backend, str) else backend or ()):
        found = backends.load(name)
        texts = {n: str(int(v)) if isinstance(v, bool) else str(v) for n, v in (params or {}).items()}
        scenario = Scenario(
            backend=name,
            verbs=verbs,
            cpus=parse_cpus(str(config.getoption("--kvm-cpus") if cpus is None else cpus)),
            params={resolve(found.modules, n)[1].key: text for n, text in texts.items()},
            commits=dict(commits) if isinstance(commits, Mapping) else dict.fromkeys(commits, True),
            features=dict(features or {}),
        )
        machine(scenario, found)
        yield scenario


def _name(scenario: Scenario, fault: str = "") -> str:
    # What tells items apart that one test is spread over, and nothing else. Ids hold no blanks.
    fault = fault.replace("reboot-at ", "reboot-at=").replace(" ", "+")
    params = [f"{name}={text}" for name, text in scenario.params.items()]
    return "-".join([scenario.backend, *params, *filter(None, [fault])])


def _machines(mark: pytest.Mark, config: pytest.Config) -> Iterator[_Case]:
    from kvm_ref.session import Session

    if mark.args:
        raise TypeError("takes no verbs: the test itself says what to do")
    for base in _bases(config, (), **mark.kwargs):
        yield _name(base), lambda base=base: Session(base)  # type: ignore[misc]


def _runs(mark: pytest.Mark, config: pytest.Config) -> Iterator[_Case]:
    import attrs

    from kvm_ref import backend as backends
    from kvm_ref import fault as faults
    from kvm_ref.judged import judge
    from kvm_ref.misuse import Misuse
    from kvm_ref.scenario import run
    from kvm_ref.vocabulary import Vocabulary

    kwargs = dict(mark.kwargs)
    fail, reboot = (kwargs.pop(name, ()) for name in ("fail", "reboot_at"))
    if not mark.args:
        raise Misuse("nothing to do: give verbs, as in kvm_run('load', 'unload')")
    plan = [faults.parse(text) for text in ([fail] if isinstance(fail, str) else fail)]
    for text in [reboot] if isinstance(reboot, str) else reboot:
        plan.append(attrs.evolve(faults.parse(text), effect="system_state=SYSTEM_RESTART"))
    for base in _bases(config, mark.args, **kwargs):
        for fault in plan:
            faults.check(fault, Vocabulary.of(backends.load(base.backend)))
        scenario = attrs.evolve(base, faults=tuple(plan))
        yield _name(base), lambda scenario=scenario: judge(run(scenario))  # type: ignore[misc]


def _parts(mark: pytest.Mark, config: pytest.Config) -> tuple[list[Scenario], int, bool, bool]:
    # The scenarios of a matrix, how many faults a run has, whether only edges fail, and whether to spread.
    from kvm_ref import backend as backends
    from kvm_ref.matrix import VERBS
    from kvm_ref.misuse import Misuse, nearest
    from kvm_ref.plans import scenarios

    kwargs = dict(mark.kwargs)
    faults = kwargs.pop("faults", 1)
    cpus = kwargs.pop("fail_cpus", "all")
    spread = kwargs.pop("spread", True)
    if faults not in (1, 2):
        raise Misuse(f"malformed faults={faults!r}: expected 1, or 2 for every pair")
    if cpus not in ("all", "edges"):
        raise Misuse(f"unknown fail_cpus {cpus!r}{nearest(str(cpus), ('all', 'edges'))}")
    bases = [
        scenario
        for base in _bases(config, mark.args or VERBS, **kwargs)
        for scenario in scenarios(base, backends.load(base.backend))
    ]
    return bases, faults, cpus == "edges", bool(spread)


def _faults(mark: pytest.Mark, config: pytest.Config) -> Iterator[_Case]:
    from kvm_ref import backend as backends
    from kvm_ref.misuse import Misuse
    from kvm_ref.plans import plans
    from kvm_ref.replay import Replay

    bases, faults, edges, spread = _parts(mark, config)
    if not spread:
        raise Misuse("with spread=False the fixture is kvm_matrix, not kvm_run")
    for base in bases:
        backend = backends.load(base.backend)
        for plan in plans(base, backend, Replay(base, backend), edges=edges, faults=faults):
            yield _name(base, plan.text), lambda plan=plan: _row(plan)  # type: ignore[misc]


def _row(plan: Plan) -> Judged:
    # What one row of a matrix is made of: the scenario with its fault, the way back, and a second attempt.
    import attrs

    from kvm_ref import backend as backends
    from kvm_ref.judged import judge
    from kvm_ref.plans import tidied
    from kvm_ref.scenario import run

    done = run(plan.scenario)
    builtin = backends.load(plan.scenario.backend).modules[-1].builtin
    more = () if builtin else tidied(done.trace, plan.last)
    if more:
        done = run(attrs.evolve(plan.scenario, verbs=plan.scenario.verbs + more))
    return judge(done)


def _matrices(mark: pytest.Mark, config: pytest.Config) -> Iterator[_Case]:
    from kvm_ref.matrix import run
    from kvm_ref.misuse import Misuse

    bases, faults, edges, spread = _parts(mark, config)
    if spread:
        raise Misuse("the fixture kvm_matrix needs spread=False")
    for name in dict.fromkeys(base.backend for base in bases):
        own = [base for base in bases if base.backend == name]
        yield name, lambda own=own: run(own, edges=edges, faults=faults)  # type: ignore[misc]


_CASES: dict[tuple[str, str], Callable[[pytest.Mark, pytest.Config], Iterator[_Case]]] = {
    ("kvm_run", "kvm_run"): _runs,
    ("kvm_run", "kvm_matrix"): _faults,
    ("kvm_matrix", "kvm_matrix"): _matrices,
    ("kvm_machine", "kvm_machine"): _machines,
}
