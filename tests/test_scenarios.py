# SPDX-License-Identifier: GPL-2.0-only
"""Scenarios with a name come out as they say."""

from __future__ import annotations

import attrs
import pytest
from command_line import Command

from kvm_ref import backend as backends
from kvm_ref.judges import judge_all
from kvm_ref.judges.virtualization import virtualization
from kvm_ref.scenario import run
from kvm_ref.scenarios import SCENARIOS
from kvm_ref.vocabulary import Vocabulary

# What the judges find in a scenario, besides nothing.
FOUND = {"failed-load-then-second": ["leak"], "other-hypervisor-first": ["leak"]}


@pytest.mark.parametrize("name", SCENARIOS)
def test_what_is_expected_comes_of_it(name: str) -> None:
    """Every verb gives what the scenario says, every fault fires, and the judges find what is known."""
    chosen = SCENARIOS[name]
    done = run(chosen.scenario())
    assert tuple(r for step in done.trace.steps for r in step.results) == chosen.results
    assert done.idle == ()
    vocabulary = Vocabulary.of(backends.load(chosen.backend))
    assert [f.judge for f in judge_all(done.trace, vocabulary)] == FOUND.get(name, [])


@pytest.mark.parametrize("name", [n for n, s in SCENARIOS.items() if "enable_virt_at_load" in s.params])
def test_the_parameter_matters(name: str) -> None:
    """With the other value of enable_virt_at_load the outcome is another one, or another CPU state."""
    chosen = SCENARIOS[name].scenario()
    other = "0" if chosen.params["enable_virt_at_load"] == "1" else "1"
    one = run(chosen).trace
    two = run(attrs.evolve(chosen, params={"enable_virt_at_load": other})).trace
    assert [s.results for s in one.steps] != [s.results for s in two.steps] or list(
        one.after.values()
    ) != list(two.after.values())
    assert virtualization(two, Vocabulary.of(backends.load(chosen.backend))) == []


def test_by_name_on_the_command_line(kvm_ref: Command) -> None:
    """run --scenario does what run with the same words does."""
    named = kvm_ref("run", "--scenario", "other-hypervisor-first", "--format", "json").json
    spelt = kvm_ref(
        "run", "--param", "enable_virt_at_load=1", "--format", "json",
        "foreign-on=1", "load", "foreign-off=1", "load", "unload",
    ).json  # fmt: skip
    assert named == spelt
    assert [s["results"] for s in named["steps"]] == [[0], [-5], [0], [0], [0]]


def test_the_list_has_a_sentence_for_each(kvm_ref: Command) -> None:
    """list scenarios names each with what happens and what comes of it."""
    rows = kvm_ref("list", "scenarios", "--format", "json").json
    assert [row["name"] for row in rows] == list(SCENARIOS)
    assert all(row["about"].endswith(".") and row["outcome"].endswith(".") for row in rows)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("run --scenario unload-in-us", "unknown scenario 'unload-in-us': did you mean unload-in-use?"),
        ("run --scenario unload-in-use load", "give either verbs or --scenario unload-in-use, not both"),
        ("run", "nothing to do: give verbs, as in kvm-ref run load unload, or --scenario NAME"),
    ],
)
def test_misuse(kvm_ref: Command, words: str, message: str) -> None:
    """One line that says what would be right, and status 2."""
    done = kvm_ref(*words.split())
    assert (done.status, done.err) == (2, f"kvm-ref: {message}\n")
