# SPDX-License-Identifier: GPL-2.0-only
"""Hypothesis and the model: what it looks for, what it finds, and what it says then."""

from __future__ import annotations

import subprocess
import sys
import unittest

import pytest
from command_line import process
from hypothesis import settings
from hypothesis.stateful import invariant

from kvm_ref.misuse import Misuse
from kvm_ref.stateful import kvm_machine

SETTINGS = settings(max_examples=30, stateful_step_count=8, deadline=None, derandomize=True, database=None)


def outcome(machine: object) -> str:
    """Run a machine's examples, and return the report of what failed, or ""."""
    case = machine.TestCase  # type: ignore[attr-defined]
    case.settings = SETTINGS
    result = unittest.TestResult()
    unittest.defaultTestLoader.loadTestsFromTestCase(case).run(result)
    assert result.testsRun == 1
    return "".join(text for _, text in [*result.failures, *result.errors])


def test_what_is_found_is_shown_as_a_command() -> None:
    """Of all that fails on 6.12.117 the smallest example is told, and the command shows the same."""
    said = outcome(kvm_machine("loongarch", verbs=["load", "unload"]))
    (line,) = {one.strip() for one in said.splitlines() if "shown again by: kvm-ref run" in one}
    words = line.partition("shown again by: ")[2].split()
    assert words[:6] == ["kvm-ref", "run", "--backend", "loongarch", "--cpus", "2"]
    assert words[-1] == "load"
    done = process(*words[1:])
    assert done.status == 1
    assert "leak: debugfs:kvm is still held" in done.out
    assert "mended by  b31e7c24b475" in done.out


def test_an_invariant_of_a_subclass_is_shown_as_a_command() -> None:
    """What fails for a reason of the user's is told with its command as well, once, and shrunk."""

    class Own(kvm_machine("loongarch", commits="b31e7c24b475", verbs=["load", "unload"])):  # type: ignore[misc]
        @invariant()
        def nobody_unloads(self) -> None:
            assert self.session.scenario.verbs[-1:] != ("unload",)

    said = outcome(Own)
    assert "in nobody_unloads" in said
    lines = [line.strip() for line in said.splitlines() if "shown again by" in line]
    again = "kvm-ref run --backend loongarch --cpus 2 --with b31e7c24b475 unload"
    assert lines == [f"shown again by: {again}"]


@pytest.mark.parametrize(
    "how", [{"commits": ["b31e7c24b475"]}, {"allow": ["b31e7c24b475"]}, {"faults": False}]
)
def test_nothing_is_found(how: dict[str, object]) -> None:
    """With the commit, with its findings allowed, or without faults, nothing is wrong on LoongArch."""
    assert outcome(kvm_machine("loongarch", **how)) == ""  # type: ignore[arg-type]


def test_after_the_machine_has_stopped() -> None:
    """A reboot is the end: verbs after it do nothing."""
    assert outcome(kvm_machine("riscv", verbs=["load", "reboot", "open-dev"], faults=False)) == ""


def test_which_verbs_there_are() -> None:
    """By default those that go on and need no state's name; other hypervisors only where there are some."""
    rules = {name for name in dir(kvm_machine("x86-vmx")) if not name.startswith("_")}
    assert {"load", "unload", "create_vm", "close_vm", "offline", "suspend", "foreign_on"} <= rules
    assert not {"reboot", "hotplug_fail"} & rules
    assert "foreign_on" not in dir(kvm_machine("riscv"))


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ({"backend": "riskv"}, "unknown backend 'riskv': did you mean riscv?"),
        ({"verbs": ["laod"]}, "unknown verb 'laod': did you mean load?"),
        ({"verbs": ["hotplug-fail"]}, "verb hotplug-fail takes CPU:STATE, which no rule draws"),
        ({"commits": ["0000000"]}, "unknown commit '0000000'"),
        ({"backend": 5}, "malformed backend=5: expected the name of one"),
        ({"backend": "all"}, "malformed backend='all': expected the name of one"),
        ({"cpus": 0}, "malformed cpus '0': expected 1 to 8192 CPUs"),
        ({"verbs": []}, "nothing to do: give verbs"),
        ({"verbs": [5]}, "malformed verbs=[5]: expected text, or a list of it"),
        ({"backend": "riscv", "verbs": "foreign-on"}, "backend 'riscv' knows no other hypervisor"),
        ({"allow": 5}, "malformed allow=5: expected text, or a list of it"),
        ({"faults": "no"}, "malformed faults='no': expected True or False"),
        ({"features": {"tsc": True}}, "unknown feature 'tsc' of x86-svm"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_does_not_exist(args: dict[str, object], said: str) -> None:
    """What is named wrongly is refused when the machine is made."""
    with pytest.raises(Misuse) as refused:
        kvm_machine(**args)  # type: ignore[arg-type]
    assert str(refused.value).startswith(said)


def test_one_text_is_one() -> None:
    """A single verb, commit or finding that is allowed need be no list; values of parameters need be no text."""
    made = kvm_machine(
        "loongarch", verbs="load", commits="b31e7c24b475", allow="leak", params={"enable_virt_at_load": False}
    )
    assert (made.allow, made.base.commits, made.base.params) == (  # type: ignore[attr-defined]
        ("leak",),
        {"b31e7c24b475": True},
        {"enable_virt_at_load": "0"},
    )


def test_without_hypothesis() -> None:
    """Who lacks it is told how to get it."""
    code = "import sys; sys.modules['hypothesis'] = None; import kvm_ref.stateful"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr.splitlines()[-1] == (
        "kvm_ref.misuse.Misuse: kvm_ref.stateful needs Hypothesis: pip install 'kvm-ref[hypothesis]'"
    )
