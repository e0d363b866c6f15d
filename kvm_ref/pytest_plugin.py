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

import functools
import unittest
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from kvm_ref.judged import Judged
    from kvm_ref.marked import Defaults
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
    from kvm_ref.marked import names
    from kvm_ref.misuse import Misuse

    try:
        names(chosen[0])
        parse_cpus(chosen[1])
    except Misuse as error:
        raise pytest.UsageError(str(error).replace("--cpus", "--kvm-cpus")) from None


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Spread tests over backends and faults."""
    name = metafunc.definition.nodeid
    used = [fixture for fixture in _FIXTURES if _is_ours(metafunc, fixture)]
    for mark in metafunc.definition.own_markers:
        meant = [fixture for fixture, markers in _FIXTURES.items() if mark.name in markers]
        if meant and not set(meant) & set(metafunc.fixturenames):
            why = f"the test takes no {' and no '.join(meant)}, so nothing would be run"
            pytest.fail(f"{name}: @pytest.mark.{mark.name}: {why}", pytrace=False)
    for fixture in used:
        markers = _FIXTURES[fixture]
        from kvm_ref.misuse import Misuse

        found = [mark for marker in markers for mark in metafunc.definition.iter_markers(marker)]
        if len(found) > 1:
            pytest.fail(f"{name}: more than one marker says what {fixture} is", pytrace=False)
        if not found and fixture != "kvm_machine":
            wanted = " or ".join(f"@pytest.mark.{marker}(VERB, ...)" for marker in markers)
            pytest.fail(f"{name}: {fixture} needs {wanted}", pytrace=False)
        mark = found[0] if found else pytest.mark.kvm_machine().mark
        try:
            cases = list(_CASES[fixture, mark.name](mark, metafunc.config))
        except Misuse as error:
            raise pytest.fail.Exception(f"{name}: @pytest.mark.{mark.name}: {error}", pytrace=False) from None
        metafunc.parametrize(fixture, [case for _, case in cases], ids=[i for i, _ in cases], indirect=True)


@pytest.hookimpl(hookwrapper=True)
def pytest_make_collect_report(collector: pytest.Collector) -> Iterator[None]:
    """Refuse markers where nobody spreads a test: they would run nothing, and the test would pass."""
    outcome: Any = yield
    report = outcome.get_result()
    for item in report.result or ():
        for mark, where in _unread(item):
            if mark.name in _MARKERS:
                report.outcome, report.result = "failed", []
                report.longrepr = f"{item.nodeid}: @pytest.mark.{mark.name}: {where}, so nothing would be run"
                return


def _unread(item: pytest.Item | pytest.Collector) -> Iterator[tuple[pytest.Mark, str]]:
    # The marks of an item that come too late for pytest_generate_tests(), or never come there.
    if isinstance(item, pytest.Function) and item.cls and issubclass(item.cls, unittest.TestCase):
        own = [*item.own_markers, *(item.parent.own_markers if item.parent else ())]
        yield from ((mark, "a method of unittest.TestCase takes no fixture") for mark in own)
    elif isinstance(item, pytest.Function) and hasattr(item, "callspec"):
        yield from ((mark, "it cannot be a mark of a parameter") for mark in item.callspec.marks)


def _is_ours(metafunc: pytest.Metafunc, fixture: str) -> bool:
    # A project may have a fixture of this name: one of its own, or one that takes the plugin's.
    for found in reversed(metafunc._arg2fixturedefs.get(fixture, ())):
        if found.func.__module__ == __name__:
            return True
        if fixture not in found.argnames:
            return False
    return False


@pytest.fixture
def kvm_run(request: pytest.FixtureRequest) -> Judged:
    """Return a run, judged: that of the marker, or that of one fault of the marker's matrix."""
    found: Judged = _made(request)
    if found.idle:
        pytest.fail(f"never fired: {', '.join(map(str, found.idle))}; {found.command}", pytrace=False)
    return found


@pytest.fixture
def kvm_matrix(request: pytest.FixtureRequest) -> Matrix:
    """Return all rows of the marker's matrix."""
    found: Matrix = _made(request)
    return found


@pytest.fixture
def kvm_machine(request: pytest.FixtureRequest) -> Session:
    """Return a machine on which nothing has run: ``kvm_machine.do("load", "misc_register")``."""
    found: Session = _made(request)
    return found


def _made(request: pytest.FixtureRequest) -> Any:
    if not hasattr(request, "param"):
        where = "have it as an argument of the test, which is no method of unittest.TestCase"
        pytest.fail(f"{request.fixturename} is known too late: {where}", pytrace=False)
    return request.param()


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


def _defaults(config: pytest.Config) -> Defaults:
    from kvm_ref.marked import Defaults

    return Defaults(tuple(config.getoption("--kvm-backend")), config.getoption("--kvm-cpus"))


def _name(scenario: Scenario, fault: str = "") -> str:
    # What tells items apart that one test is spread over, and nothing else. Ids hold no blanks.
    fault = fault.replace("reboot-at ", "reboot-at=").replace(" ", "+")
    params = [f"{name}={text}" for name, text in scenario.params.items()]
    return "-".join([scenario.backend, *params, *filter(None, [fault])])


def _machines(mark: pytest.Mark, config: pytest.Config) -> Iterator[_Case]:
    from kvm_ref.marked import machines
    from kvm_ref.session import Session

    for base in machines(_defaults(config), mark.args, mark.kwargs):
        yield _name(base), functools.partial(Session, base)


def _runs(mark: pytest.Mark, config: pytest.Config) -> Iterator[_Case]:
    from kvm_ref.judged import judge
    from kvm_ref.marked import runs
    from kvm_ref.scenario import run

    def judged(scenario: Scenario) -> Judged:
        return judge(run(scenario))

    for scenario in runs(_defaults(config), mark.args, mark.kwargs):
        yield _name(scenario), functools.partial(judged, scenario)


def _faults(mark: pytest.Mark, config: pytest.Config) -> Iterator[_Case]:
    from kvm_ref import backend as backends
    from kvm_ref.marked import parts
    from kvm_ref.misuse import Misuse
    from kvm_ref.plans import plans
    from kvm_ref.replay import Replay

    asked = parts(_defaults(config), mark.args, mark.kwargs)
    if not asked.spread:
        raise Misuse("with spread=False the fixture is kvm_matrix, not kvm_run")
    for base in asked.bases:
        backend = backends.load(base.backend)
        replay = Replay(base, backend)
        for plan in plans(base, backend, replay, edges=asked.edges, faults=asked.faults):
            yield _name(base, plan.text), functools.partial(_row, plan)


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
    from kvm_ref.marked import parts
    from kvm_ref.matrix import run
    from kvm_ref.misuse import Misuse

    asked = parts(_defaults(config), mark.args, mark.kwargs)
    if asked.spread:
        raise Misuse("the fixture kvm_matrix needs spread=False")
    for name in dict.fromkeys(base.backend for base in asked.bases):
        own = [base for base in asked.bases if base.backend == name]
        yield name, functools.partial(run, own, edges=asked.edges, faults=asked.faults)


_CASES: dict[tuple[str, str], Callable[[pytest.Mark, pytest.Config], Iterator[_Case]]] = {
    ("kvm_run", "kvm_run"): _runs,
    ("kvm_run", "kvm_matrix"): _faults,
    ("kvm_matrix", "kvm_matrix"): _matrices,
    ("kvm_machine", "kvm_machine"): _machines,
}
