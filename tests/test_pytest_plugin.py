# SPDX-License-Identifier: GPL-2.0-only
"""The pytest plugin, used as its users do: files of tests, and what pytest says of them."""

from __future__ import annotations

import re
from collections.abc import Sequence

import pytest

from kvm_ref import backend as backends
from kvm_ref import judged, matrix, session, testing

# A test run within this process forgets what it was the first to import, so all is imported here.
_LOADED = (judged, matrix, session, testing)
IDS = re.compile(r"^(test_\S+\.py::.*)$", re.MULTILINE)
THREE_LINES = """
    import pytest
    from kvm_ref.testing import assert_clean

    @pytest.mark.kvm_matrix("load", "unload", backend="loongarch", cpus=2, commits=["b31e7c24b475"])
    def test_unwinds(kvm_run):
        assert_clean(kvm_run)
"""


@pytest.fixture(autouse=True, scope="module")
def loaded() -> None:
    """Have the backends loaded, too."""
    for name in backends.available():
        backends.load(name)


def collected(pytester: pytest.Pytester, *args: str) -> list[str]:
    """Return the ids of all items, in order."""
    done = pytester.runpytest_inprocess("--collect-only", "-q", "-p", "no:cacheprovider", *args)
    return IDS.findall(done.stdout.str())


def errors(pytester: pytest.Pytester, source: str, *args: str) -> list[str]:
    """Return what is said when a file cannot be collected."""
    pytester.makepyfile(source)
    done = pytester.runpytest_inprocess("-p", "no:cacheprovider", *args)
    done.assert_outcomes(errors=1)
    assert "Traceback" not in done.stdout.str()
    return [
        line for line in done.stdout.lines if "kvm_" in line and "::" in line and not line.startswith("ERROR")
    ]


def test_three_lines_are_a_fault_matrix(pytester: pytest.Pytester) -> None:
    """Every fault is an item of its own, and all unwind once the directory is removed."""
    pytester.makepyfile(THREE_LINES)
    done = pytester.runpytest_inprocess("-q")
    count = len(collected(pytester))
    assert count > 40
    done.assert_outcomes(passed=count)


def test_ids_are_those_of_the_faults(pytester: pytest.Pytester) -> None:
    """Backend, parameters and fault, as one writes it: nothing else is in an id, and none is there twice."""
    pytester.makepyfile(THREE_LINES)
    ids = collected(pytester)
    assert ids[0] == "test_ids_are_those_of_the_faults.py::test_unwinds[loongarch-enable_virt_at_load=1]"
    own = [one.partition("[")[2].rstrip("]") for one in ids]
    # kvm_main.c: the second CPU's mask, and the enabling on CPU 1.
    assert "loongarch-enable_virt_at_load=1-alloc_cpumask_var_node#2" in own
    assert "loongarch-enable_virt_at_load=1-kvm_arch_enable_virtualization_cpu@1" in own
    assert "loongarch-enable_virt_at_load=0-misc_register" in own
    assert len(set(own)) == len(own)


def test_one_item_can_be_run_alone(pytester: pytest.Pytester) -> None:
    """An id names the same fault whatever else runs, and in any order."""
    pytester.makepyfile(THREE_LINES.replace(', commits=["b31e7c24b475"]', ""))
    pytester.makeconftest("def pytest_collection_modifyitems(items):\n    items.reverse()\n")
    ids = collected(pytester)
    (bad,) = [one for one in ids if one.endswith("[loongarch-enable_virt_at_load=1-misc_register]")]
    alone = pytester.runpytest_inprocess(bad)
    alone.assert_outcomes(failed=1)
    alone.stdout.fnmatch_lines(
        [
            "E * 1 finding:",
            "E * leak: debugfs:kvm is still held *",
            "E *> * goto err_register;*",
            "*- shown again by -*",
            "kvm-ref run --backend loongarch --cpus 2 --param enable_virt_at_load=1 --fail misc_register load *",
        ]
    )


def test_in_several_processes(pytester: pytest.Pytester) -> None:
    """pytest-xdist's workers agree on the items, and share them."""
    pytester.makepyfile(THREE_LINES)
    count = len(collected(pytester))
    done = pytester.runpytest_subprocess("-n", "2", "-p", "no:cacheprovider")
    done.assert_outcomes(passed=count)


def test_a_whole_matrix(pytester: pytest.Pytester) -> None:
    """With spread=False one item gets all rows; the commits of a mapping may be taken out as well."""
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.kvm_matrix(backend=["riscv", "loongarch"], spread=False, fail_cpus="edges", faults=2,
                                cpus="0-1", commits={"b31e7c24b475": True})
        def test_matrix(kvm_matrix, request):
            assert {row.scenario.verbs for row in kvm_matrix.rows} == {("load", "unload", "load", "unload")}
            assert {row.scenario.backend for row in kvm_matrix.rows} == {request.node.callspec.id}
            assert max(len(row.scenario.faults) for row in kvm_matrix.rows) == 2
        """
    )
    assert [one.partition("[")[2] for one in collected(pytester)] == ["riscv]", "loongarch]"]
    pytester.runpytest_inprocess().assert_outcomes(passed=2)


def test_a_run(pytester: pytest.Pytester) -> None:
    """The run of a marker has its parameters, features and faults."""
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.kvm_run("load", "create-vm", fail=["kvm_arch_init_vm=ENOMEM"], backend="x86-vmx", cpus=3,
                             params={"enable_virt_at_load": False}, features={"constant_tsc": True})
        def test_no_vm(kvm_run):
            assert kvm_run.results == (0, -12)
            assert kvm_run.trace.params["enable_virt_at_load"] is False
            assert kvm_run.trace.machine["features"]["constant_tsc"] is True
            assert kvm_run.trace.machine["cpus"] == 3

        @pytest.mark.kvm_run("load", reboot_at="register_syscore")
        def test_the_system_goes_down(kvm_run):
            assert kvm_run.results == (-16,)

        @pytest.mark.kvm_run("load", fail="misc_register#9")
        def test_never(kvm_run):
            pass
        """
    )
    done = pytester.runpytest_inprocess()
    done.assert_outcomes(passed=2, errors=1)
    done.stdout.fnmatch_lines(["never fired: misc_register#9; kvm-ref run *--fail 'misc_register#9' load"])


def test_a_machine(pytester: pytest.Pytester) -> None:
    """A machine needs no marker; what was done on it is told when the test fails."""
    pytester.makepyfile(
        """
        import pytest

        def test_default(kvm_machine):
            assert kvm_machine.do("load", "misc_register") == 0

        @pytest.mark.kvm_machine(backend="mips", cpus=1)
        def test_mips(kvm_machine):
            assert kvm_machine.do("load") == 0
            assert kvm_machine.trace.machine["cpus"] == 1

        def test_nothing_was_done(kvm_machine):
            raise ValueError
        """
    )
    done = pytester.runpytest_inprocess()
    done.assert_outcomes(passed=1, failed=2)
    said = [line for line in done.stdout.lines if line.startswith("kvm-ref run")]
    assert said == ["kvm-ref run --backend x86-svm --cpus 4 --fail misc_register load"]


def test_options(pytester: pytest.Pytester) -> None:
    """Options say which machine tests get that do not say so themselves."""
    pytester.makepyfile(
        """
        import pytest

        def test_one(kvm_machine):
            assert kvm_machine.trace.machine["cpus"] == 2

        @pytest.mark.kvm_machine(backend="s390")
        def test_own(kvm_machine):
            assert kvm_machine.backend.name == "s390"
        """
    )
    args = ("--kvm-backend", "riscv", "--kvm-backend", "mips", "--kvm-cpus", "2")
    assert [one.partition("[")[2] for one in collected(pytester, *args)] == ["riscv]", "mips]", "s390]"]
    pytester.runpytest_inprocess(*args).assert_outcomes(passed=3)
    assert len(collected(pytester, "--kvm-backend", "all")) == 8
    help_ = pytester.runpytest_inprocess("--help").stdout.str()
    assert "--kvm-backend=NAME|all" in help_


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("--kvm-backend", "arm46"), "ERROR: unknown backend 'arm46': did you mean arm64?"),
        (("--kvm-cpus", "x"), "ERROR: malformed --kvm-cpus 'x': *"),
    ],
    ids=["backend", "cpus"],
)
def test_wrong_options(pytester: pytest.Pytester, args: Sequence[str], said: str) -> None:
    """An option that names what is not there is refused before anything is collected."""
    pytester.makepyfile("def test_nothing(): pass")
    done = pytester.runpytest_inprocess(*args)
    assert done.ret == pytest.ExitCode.USAGE_ERROR
    done.stderr.fnmatch_lines([said])


@pytest.mark.parametrize(
    ("marker", "said"),
    [
        ("kvm_run('laod')", "unknown verb 'laod': did you mean load?"),
        ("kvm_run()", "nothing to do: give verbs, as in kvm_run('load', 'unload')"),
        ("kvm_run('load', backend='x86-smv')", "unknown backend 'x86-smv': did you mean x86-svm?"),
        (
            "kvm_run('load', fail='misc_regster')",
            "unknown function 'misc_regster': did you mean misc_register?",
        ),
        (
            "kvm_run('load', fail='misc_register=EBUZY')",
            "unknown errno 'EBUZY' in 'misc_register=EBUZY': did you mean EBUSY?",
        ),
        ("kvm_run('load', cpus=0)", "malformed cpus '0': expected 1 to 8192 CPUs"),
        ("kvm_run('offline=9')", "no CPU 9: this machine has 0-3"),
        ("kvm_run('load', params={'enable_virt': 1})", "unknown parameter 'enable_virt'*"),
        ("kvm_run('load', features={'tsc': True})", "unknown feature 'tsc' of x86-svm*"),
        ("kvm_run('load', commits=['b31e7c24b476f'])", "unknown commit 'b31e7c24b476f'*"),
        ("kvm_run('load', backnd='riscv')", "unknown argument 'backnd': did you mean backend?"),
        ("kvm_matrix('load', faults=3)", "malformed faults=3: expected 1, or 2 for every pair"),
        ("kvm_matrix('load', fail_cpus='edge')", "unknown fail_cpus 'edge': did you mean edges?"),
        ("kvm_matrix('load', spread=False)", "with spread=False the fixture is kvm_matrix, not kvm_run"),
    ],
    ids=lambda text: text if text.startswith("kvm_") else "",
)
def test_wrong_markers(pytester: pytest.Pytester, marker: str, said: str) -> None:
    """What a marker names wrongly is told when tests are collected, with the test's name."""
    name = pytester.path.name.rstrip("0123456789")
    (line,) = errors(pytester, f"import pytest\n@pytest.mark.{marker}\ndef test_it(kvm_run): pass\n")
    head = f"E   {name}.py::test_it: @pytest.mark.{marker.partition('(')[0]}: "
    assert line.lstrip("E ").startswith(head.lstrip("E "))
    assert re.fullmatch(
        re.escape(said).replace(r"\*", ".*"), line.partition("kvm_" + marker[4:].partition("(")[0] + ": ")[2]
    )


@pytest.mark.parametrize(
    ("source", "said"),
    [
        (
            "def test_it(kvm_run): pass",
            "kvm_run needs @pytest.mark.kvm_run(VERB, ...) or @pytest.mark.kvm_matrix(VERB, ...)",
        ),
        ("def test_it(kvm_matrix): pass", "kvm_matrix needs @pytest.mark.kvm_matrix(VERB, ...)"),
        (
            "import pytest\n@pytest.mark.kvm_matrix('load')\ndef test_it(kvm_matrix): pass",
            "@pytest.mark.kvm_matrix: the fixture kvm_matrix needs spread=False",
        ),
        (
            "import pytest\n@pytest.mark.kvm_machine('load')\ndef test_it(kvm_machine): pass",
            "@pytest.mark.kvm_machine: takes no verbs: the test itself says what to do",
        ),
        (
            "import pytest\n@pytest.mark.kvm_run('load')\n@pytest.mark.kvm_matrix('load')\ndef test_it(kvm_run): pass",
            "more than one marker says what kvm_run is",
        ),
        (
            "import pytest\n@pytest.mark.kvm_matrix('load', backend='x')\ndef test_it(): pass",
            "@pytest.mark.kvm_matrix: the test takes no kvm_run and no kvm_matrix, so nothing would be run",
        ),
    ],
    ids=[
        "no marker for a run",
        "no marker for a matrix",
        "spread",
        "verbs of a machine",
        "two markers",
        "no fixture",
    ],
)
def test_fixtures_and_markers_that_do_not_fit(pytester: pytest.Pytester, source: str, said: str) -> None:
    """A fixture without its marker, and a marker that means something else, are refused there as well."""
    (line,) = errors(pytester, source)
    assert line.partition("::test_it: ")[2] == said


def test_a_class_may_be_marked(pytester: pytest.Pytester) -> None:
    """A marker of a class is for those of its tests that have the fixture; the others are as they were."""
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.kvm_run("load")
        class TestLoad:
            def test_run(self, kvm_run):
                assert kvm_run.results == (0,)

            def test_other(self):
                pass
        """
    )
    pytester.runpytest_inprocess("-p", "no:cacheprovider").assert_outcomes(passed=2)


def test_fixtures_of_the_same_name(pytester: pytest.Pytester) -> None:
    """A project's own fixtures and parameters of these names are its own; one may add to the plugin's."""
    pytester.makepyfile(
        """
        import pytest

        @pytest.fixture
        def kvm_run():
            return "own"

        @pytest.fixture
        def kvm_machine(kvm_machine):
            return [kvm_machine]

        def test_own(kvm_run):
            assert kvm_run == "own"

        def test_more(kvm_machine):
            assert kvm_machine[0].do("load") == 0

        @pytest.mark.parametrize("kvm_matrix", [1, 2])
        def test_parameter(kvm_matrix):
            assert kvm_matrix in (1, 2)
        """
    )
    pytester.runpytest_inprocess("-p", "no:cacheprovider").assert_outcomes(passed=4)


def test_a_fixture_asked_for_too_late(pytester: pytest.Pytester) -> None:
    """What is to be run must be known when tests are collected."""
    pytester.makepyfile("def test_late(request): request.getfixturevalue('kvm_machine')")
    done = pytester.runpytest_inprocess("-p", "no:cacheprovider")
    done.assert_outcomes(failed=1)
    done.stdout.fnmatch_lines(["kvm_machine is known too late: have it as an argument of the test, *"])


def test_a_suite_without_it_is_left_alone(pytester: pytest.Pytester) -> None:
    """The plugin is there, and nothing of the model is imported."""
    pytester.makeconftest(
        """
        import sys

        def pytest_unconfigure(config):
            assert config.pluginmanager.hasplugin("kvm_ref")
            print("imported:", sorted(m for m in sys.modules if m.split(".")[0] in ("kvm_ref", "arch", "attrs")))
        """
    )
    pytester.makepyfile("def test_nothing():\n    pass\n\ndef test_fails():\n    assert False\n")
    done = pytester.runpytest_subprocess("-s", "-p", "no:hypothesispytest", "-p", "no:xdist")
    done.assert_outcomes(passed=1, failed=1)
    done.stdout.fnmatch_lines(["imported: [[]'kvm_ref', 'kvm_ref.pytest_plugin']"])
    assert "shown again by" not in done.stdout.str()


def test_markers_are_known(pytester: pytest.Pytester) -> None:
    """``--strict-markers`` accepts them, and ``--markers`` explains them."""
    pytester.makepyfile(THREE_LINES)
    assert collected(pytester, "--strict-markers")
    done = pytester.runpytest_inprocess("--markers").stdout.str()
    assert all(f"@pytest.mark.{name}(" in done for name in ("kvm_matrix", "kvm_run", "kvm_machine"))
