# SPDX-License-Identifier: GPL-2.0-only
"""CPUs as a user gives them: a number, a list, or this machine's own."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
from bare_machine import Bare
from command_line import Command

from kvm_ref import cpus
from kvm_ref.cpus import host, parse_cmdline, parse_cpus, words
from kvm_ref.fault import Fault
from kvm_ref.misuse import Misuse
from kvm_ref.reproduce import command
from kvm_ref.scenario import Cpus, Scenario, machine, run


def sysfs(path: Path, possible: str, present: str, online: str) -> Path:
    """Make a directory like /sys/devices/system/cpu."""
    for name, text in (("possible", possible), ("present", present), ("online", online)):
        (path / name).write_text(f"{text}\n")
    return path


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1", (0,)),
        ("3", (0, 1, 2)),
        ("0-3,8", (0, 1, 2, 3, 8)),
        ("2-2", (2,)),
        ("8191-8191", (8191,)),
        (" 4", (0, 1, 2, 3)),
        ("2\n", (0, 1)),
        (" 2-3 ", (2, 3)),
    ],
)
def test_a_number_or_a_list(text: str, expected: tuple[int, ...]) -> None:
    """A number is a count; anything else is a list. All of them can exist, are plugged in, and run."""
    assert parse_cpus(text) == Cpus(expected, expected, expected)


def test_the_largest_machine() -> None:
    """CONFIG_NR_CPUS=8192 is as far as Linux goes on x86 (arch/x86/Kconfig)."""
    assert len(parse_cpus("8192").possible) == 8192
    with pytest.raises(Misuse, match="1 to 8192"):
        parse_cpus("8193")
    with pytest.raises(Misuse, match=r"^malformed --cpus ' ': '' is no CPU and no range; expected a number"):
        parse_cpus(" ")


def test_this_machine(tmp_path: Path) -> None:
    """host reads the three masks of sysfs."""
    path = sysfs(tmp_path, "0-7", "0-3", "0,2-3")
    expected = Cpus((0, 1, 2, 3, 4, 5, 6, 7), (0, 1, 2, 3), (0, 2, 3))
    assert host(path) == expected
    assert parse_cpus("host", path) == expected
    assert parse_cpus(" host", path) == expected


@pytest.mark.parametrize("text", ["", "all", "3-1", "\u00b2"])
def test_masks_that_cannot_be_read(tmp_path: Path, text: str) -> None:
    """A missing or malformed mask is named, with what to give instead."""
    with pytest.raises(
        Misuse, match=r"cannot read '.*possible': No such file .*; give --cpus as a number or a list"
    ):
        host(tmp_path)
    path = sysfs(tmp_path, "0-3", text, "0")
    with pytest.raises(Misuse, match=r"cannot read '.*present'.*give --cpus"):
        host(path)


def test_a_run_on_this_machine(kvm_ref: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Per-CPU memory is for possible CPUs, the walk of the hotplug states passes offline ones over."""
    monkeypatch.setattr(cpus, "SYSFS", sysfs(tmp_path, "0-4", "0-3", "0,2-3"))
    args = ("run", "--cpus", "host", "--format", "json", "--fail", "misc_register", "load")
    data = kvm_ref(*args).json
    assert data["machine"]["possible"] == "0-4"
    assert data["machine"]["online"] == "0,2-3"
    calls = [(e["function"], e["cpu"]) for e in data["steps"][0]["events"] if e["kind"] == "enter"]
    assert [cpu for name, cpu in calls if name == "kvm_online_cpu"] == [0, 2, 3]
    assert len([name for name, _ in calls if name == "alloc_cpumask_var_node"]) == 5
    again = shlex.split(data["findings"][0]["command"])
    assert again[4:6] == ["--cpus", "host"]
    assert kvm_ref(*again[1:], "--format", "json").json["machine"] == data["machine"]


@pytest.mark.parametrize(
    ("given", "written"),
    [("1", "1"), ("4", "4"), ("0-3", "4"), ("2-3", "2-3"), ("5-5", "5-5"), ("0,2", "0,2")],
)
def test_a_command_makes_the_same_machine(given: str, written: str) -> None:
    """What `again` says after --cpus is read back as the same CPUs."""
    made = shlex.split(command(Scenario("x86-svm", ("load",), cpus=parse_cpus(given))))
    assert made == ["kvm-ref", "run", "--backend", "x86-svm", "--cpus", written, "load"]
    assert parse_cpus(made[5]) == parse_cpus(given)


def test_a_command_holds_all_of_a_scenario() -> None:
    """Parameters, features, commits and faults, quoted for a shell where they need it."""
    scenario = Scenario(
        "arm64",
        ("load", "unload"),
        params={"kvm-arm.mode": "protected"},
        features={"sve": False},
        commits={"b31e7c24b475": True, "b4886fab6fb6": False},
        faults=(Fault("f", 2), Fault("g", effect="system_state=SYSTEM_RESTART")),
    )
    assert command(scenario) == (
        "kvm-ref run --backend arm64 --cpus 4 --param kvm-arm.mode=protected --feature sve=0 --with b31e7c24b475 "
        "--without b4886fab6fb6 --fail 'f#2' --reboot-at g load unload"
    )


@pytest.mark.parametrize(
    ("possible", "present", "online"),
    [((0, 1), (0, 1), ()), ((0, 1), (0,), (0, 1)), ((0,), (0, 1), (0,)), ((8192,), (8192,), (8192,))],
)
def test_machines_that_cannot_be(
    possible: tuple[int, ...], present: tuple[int, ...], online: tuple[int, ...]
) -> None:
    """One CPU at least must run; what runs is plugged in; what is plugged in can exist; 8191 is the last."""
    with pytest.raises(Misuse, match="impossible CPUs"):
        machine(Scenario("bare", (), cpus=Cpus(possible, present, online)), Bare())


def test_verbs_run_on_the_first_cpu_that_runs() -> None:
    """Where CPU 0 does not run, modprobe runs elsewhere."""
    done = run(Scenario("x86-svm", ("load",), cpus=Cpus((0, 1, 2), (0, 1, 2), (1, 2))))
    assert {e[1].cpu for e in done.trace.events() if e[1].task == "modprobe"} == {1}


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("", []),
        ("  a \t b\n", ["a", "b"]),
        ('a="b c" d', ["a=b c", "d"]),
        ('"a=b c"', ["a=b c"]),
        ('a="" ""', ["a=", ""]),
        ('a"b"c', ["abc"]),
    ],
)
def test_words_of_a_command_line(line: str, expected: list[str]) -> None:
    """next_arg() in lib/cmdline.c: spaces part words, except between double quotes."""
    assert words(line) == expected


def test_a_backend_without_parameters() -> None:
    """What is meant for its module is not modelled; the rest is not for KVM."""
    assert parse_cmdline("bare.x=1 quiet bare_metal.y=2", Bare()) == ({}, ["bare.x"])
