# SPDX-License-Identifier: GPL-2.0-only
"""Markers of the pytest plugin in places where pytest spreads no test over anything."""

from __future__ import annotations

import pytest

SPREAD = "so nothing would be run"
METHOD = """
    import unittest
    import pytest

    class TestLoad(unittest.TestCase):
        @pytest.mark.kvm_matrix("load")
        def test_it(self):
            pass
"""
CLASS = """
    import unittest
    import pytest

    @pytest.mark.kvm_run("laod")
    class TestLoad(unittest.TestCase):
        def test_it(self):
            pass
"""
PARAMETER = """
    import pytest

    @pytest.mark.parametrize("n", [1, pytest.param(2, marks=pytest.mark.kvm_machine(cpus=1))])
    def test_it(kvm_machine, n):
        pass
"""


@pytest.mark.parametrize(
    ("source", "said"),
    [
        (
            METHOD,
            "TestLoad::test_it: @pytest.mark.kvm_matrix: a method of unittest.TestCase takes no fixture",
        ),
        (CLASS, "TestLoad::test_it: @pytest.mark.kvm_run: a method of unittest.TestCase takes no fixture"),
        (PARAMETER, "test_it?x86-svm-2?: @pytest.mark.kvm_machine: it cannot be a mark of a parameter"),
    ],
    ids=["method", "class", "parameter"],
)
def test_a_marker_that_nobody_reads(pytester: pytest.Pytester, source: str, said: str) -> None:
    """It is refused when tests are collected: a test that runs nothing would pass."""
    pytester.makepyfile(source)
    done = pytester.runpytest_inprocess("-p", "no:cacheprovider")
    done.assert_outcomes(errors=1)
    done.stdout.fnmatch_lines([f"*::{said}, {SPREAD}"])


def test_other_marks_stay(pytester: pytest.Pytester) -> None:
    """Marks of other plugins, on parameters and on methods of unittest, are nobody's business here."""
    pytester.makepyfile(
        """
        import unittest
        import pytest

        pytestmark = pytest.mark.kvm_run("load")

        class TestOther(unittest.TestCase):
            @pytest.mark.skipif(False, reason="never")
            def test_it(self):
                pass

        @pytest.mark.parametrize("n", [1, pytest.param(2, marks=pytest.mark.xfail)])
        def test_run(kvm_run, n):
            assert n == 1
        """
    )
    pytester.runpytest_inprocess("-p", "no:cacheprovider").assert_outcomes(passed=2, xfailed=1)


def test_a_set_has_one_order(pytester: pytest.Pytester) -> None:
    """Workers of pytest-xdist, each with hashes of its own, collect the backends of a set alike."""
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.kvm_run("load", backend={"x86-vmx", "riscv", "mips", "arm64", "loongarch", "s390"})
        def test_it(kvm_run):
            pass
        """
    )
    orders = set()
    for seed in ("1", "2", "3"):
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("PYTHONHASHSEED", seed)
            done = pytester.runpytest_subprocess("--collect-only", "-q", "-p", "no:cacheprovider")
        orders.add(tuple(line for line in done.stdout.lines if "::" in line))
    (order,) = orders
    assert [line.partition("[")[2] for line in order] == [
        f"{name}]" for name in ("arm64", "loongarch", "mips", "riscv", "s390", "x86-vmx")
    ]
