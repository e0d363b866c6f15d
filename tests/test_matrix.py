# SPDX-License-Identifier: GPL-2.0-only
"""The matrix: which faults it holds, that its findings come again, that nothing depends on chance."""

from __future__ import annotations

import gc
import json
import random
import re
import shlex
from collections.abc import Iterator
from typing import Any

import pytest
from bare_machine import Bare
from command_line import Command, process

from kvm_ref import backend as backends
from kvm_ref.matrix import Matrix, run
from kvm_ref.plans import scenarios
from kvm_ref.scenario import Cpus, Scenario

TWO = Cpus.of((0, 1))


def rows(kvm_ref: Command, *args: str) -> list[dict[str, Any]]:
    """Return the runs of a matrix."""
    found: list[dict[str, Any]] = kvm_ref("matrix", "--format", "json", *args).json["runs"]
    return found


def faults(kvm_ref: Command, *args: str) -> list[str]:
    """Return the faults of a matrix, in order."""
    return [row["fault"] for row in rows(kvm_ref, *args)]


def test_progress_on_a_terminal(kvm_ref: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """What takes long says how far it is, on stderr, if somebody is there to read it."""
    args = ("matrix", "--backend", "loongarch", "--cpus", "1", "load")
    assert kvm_ref(*args).err == ""
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    told = kvm_ref(*args).err.split("\r")
    assert told[1].startswith("kvm-ref: ")
    assert told[-1] == "kvm-ref: 42 of 42 done\n"
    parts = kvm_ref(*args, "--jobs", "2").err.split("\r")
    assert parts[1:] == ["kvm-ref: 1 of 2 done", "kvm-ref: 2 of 2 done\n"]


def test_who_finds_something(kvm_ref: Command) -> None:
    """What 6.12.117 does wrong (docs/findings.md) it does in its labels' order, with the right errnos and locks."""
    runs = kvm_ref("matrix", "--format", "json").json["runs"]
    assert {finding["judge"] for run in runs for finding in run["findings"]} == {
        "bug",
        "double_release",
        "hardware_state",
        "leak",
        "retry",
    }


def test_every_row_has_a_second_attempt(kvm_ref: Command) -> None:
    """After the fault a load and an unload work, be they the scenario's own or further ones."""
    args = ("matrix", "--backend", "loongarch", "--cpus", "1", "--format", "json")
    assert {tuple(run["retry"]) for run in kvm_ref(*args).json["runs"]} == {(0, 0)}
    assert {tuple(run["retry"][-2:]) for run in kvm_ref(*args, "load", "create-vm").json["runs"]} == {(0, 0)}


def test_two_faults_at_most(kvm_ref: Command) -> None:
    """--faults takes 1 or 2."""
    done = kvm_ref("matrix", "--backend", "mips", "--faults", "3")
    assert (done.status, done.err) == (
        2,
        "kvm-ref: malformed --faults '3': expected 1, or 2 for every pair\n",
    )
    pairs = kvm_ref(
        "matrix", "--backend", "loongarch", "--cpus", "1", "--faults", "2", "--format", "json", "load"
    ).json
    assert max(len(run["fault"].replace("reboot-at ", "").split()) for run in pairs["runs"]) == 2
    assert all(run["retry"] in ([], [0, 0], [0, 0, 0]) for run in pairs["runs"])


def test_the_faults_of_a_load_without_enabling(kvm_ref: Command) -> None:
    """kvm_mips_init() (arch/mips/kvm/mips.c) and kvm_init(), call by call, of those that can fail."""
    args = ("--backend", "mips", "--cpus", "2", "--param", "enable_virt_at_load=0", "load")
    assert faults(kvm_ref, *args) == [
        "",
        "kvm_mips_init",
        "cpu_has_mmid",
        "kvm_mips_entry_setup",
        "kvm_mips_emulation_init",
        "cpu_has_vz",
        "register_die_notifier",
        "atomic_notifier_chain_register",
        "kvm_init",
        "kmem_cache_create_usercopy",
        "alloc_cpumask_var_node",
        "alloc_cpumask_var_node#2",
        "debugfs_create_dir",
        "debugfs_create_file",
        "debugfs_create_file#2",
        "kvm_init_virtualization",
        "misc_register",
        "misc_minor_alloc",
        "device_create_with_groups",
    ]


def test_every_value_of_the_parameter(kvm_ref: Command) -> None:
    """Both values of enable_virt_at_load are run, unless one is given in whatever spelling."""

    def values(*args: str) -> set[str]:
        found = rows(kvm_ref, "--backend", "mips", "--cpus", "1", *args, "load=kvm")
        return {str(row["params"].get("enable_virt_at_load")) for row in found}

    assert values() == {"True", "False"}
    assert values("--param", "enable_virt_at_load=0") == {"False"}
    assert values("--param", "kvm.enable-virt-at-load=n") == {"False"}
    assert values("--cmdline", "kvm.enable_virt_at_load=on") == {"True"}
    assert values("--cmdline", "kvm.enable_virt_at_load") == {"True"}


def test_a_backend_without_the_parameter_is_run_once() -> None:
    """s390 does not select KVM_GENERIC_HARDWARE_ENABLING: there the parameter does not exist."""
    s390 = backends.load("s390")
    assert scenarios(Scenario("s390", ("load",)), s390) == [Scenario("s390", ("load",))]
    assert scenarios(Scenario("bare", ("load",)), Bare()) == [Scenario("bare", ("load",))]


def test_a_parameter_for_one_of_several_backends(kvm_ref: Command) -> None:
    """It need exist on one of them; where it does not, it makes no difference."""
    args = ("--backend", "s390", "--backend", "mips", "--cpus", "1", "load")
    both = rows(kvm_ref, "--param", "enable_virt_at_load=0", "--feature", "octeon3=1", *args)
    assert [(r["backend"], r["params"]) for r in both if not r["fault"]] == [
        ("s390", {}),
        ("mips", {"enable_virt_at_load": False}),
    ]
    for option in ("--param", "--feature"):
        done = kvm_ref("matrix", option, "nothing=1", *args)
        assert (done.status, done.err.count("\n")) == (2, 1)
        assert "'nothing'" in done.err


def test_the_command_line_of_several_backends(kvm_ref: Command) -> None:
    """What one of them knows is not told to make no difference; what none knows is told once."""
    args = ("matrix", "--backend", "s390", "--backend", "mips", "--cpus", "1")
    done = kvm_ref(*args, "--cmdline", "kvm.hpage=1 kvm.enable_virt_at_load=0 kvm.none=1", "load")
    assert done.err == "kvm-ref: kvm.none is not modelled and makes no difference here\n"
    done = kvm_ref(*args, "--cmdline", "kvm.enable_virt_at_laod=0", "load")
    assert done.err == (
        "kvm-ref: kvm.enable_virt_at_laod is not modelled and makes no difference here: "
        "did you mean kvm.enable_virt_at_load?\n"
    )


def test_a_backend_named_twice_is_run_once(kvm_ref: Command) -> None:
    """And `all` means each of them once, whatever else is named."""
    once = rows(kvm_ref, "--backend", "s390", "--cpus", "1", "load")
    assert rows(kvm_ref, "--backend", "s390", "--backend", "s390", "--cpus", "1", "load") == once
    named = [
        r["backend"]
        for r in rows(kvm_ref, "--backend", "all", "--backend", "mips", "--cpus", "1", "load=kvm")
    ]
    assert list(dict.fromkeys(named)) == list(backends.available())


def test_faults_on_the_first_and_the_last_cpu_only(kvm_ref: Command) -> None:
    """--fail-cpus edges: of calls that are made for each CPU, the first and the last."""
    args = ("--backend", "x86-svm", "--cpus", "5", "--param", "enable_virt_at_load=1", "load")
    every, edges = faults(kvm_ref, *args), faults(kvm_ref, "--fail-cpus", "edges", *args)

    def of(name: str, some: list[str]) -> list[str]:
        return [f for f in some if re.fullmatch(rf"{name}([#@=]\d+)*", f)]

    masks = ["alloc_cpumask_var_node", *(f"alloc_cpumask_var_node#{n}" for n in (2, 3, 4, 5))]
    assert of("alloc_cpumask_var_node", every) == masks
    assert of("alloc_cpumask_var_node", edges) == [masks[0], masks[4]]
    assert of("kvm_online_cpu", every) == [f"kvm_online_cpu@{n}" for n in range(5)]
    assert of("kvm_online_cpu", edges) == ["kvm_online_cpu@0", "kvm_online_cpu@4"]
    assert of("foreign-on", every) == [f"foreign-on={n}" for n in range(5)]
    assert of("foreign-on", edges) == ["foreign-on=0", "foreign-on=4"]
    assert of("misc_register", edges) == ["misc_register"]
    assert set(edges) < set(every)


def test_edges_of_a_machine_with_one_cpu(kvm_ref: Command) -> None:
    """The first CPU is the last one: no fault is there twice."""
    args = ("--backend", "x86-svm", "--cpus", "1", "load")
    edges = faults(kvm_ref, "--fail-cpus", "edges", "--param", "enable_virt_at_load=1", *args)
    assert edges.count("foreign-on=0") == 1
    assert len(edges) == len(set(edges))


def test_the_result_is_that_of_the_verb_that_the_fault_falls_into(kvm_ref: Command) -> None:
    """Of four verbs the third gives the errno of a fault in the third; another hypervisor that of the first load."""
    args = ("--backend", "x86-svm", "--cpus", "2", "--param", "enable_virt_at_load=1")
    by_fault = {row["fault"]: row for row in rows(kvm_ref, *args)}
    assert by_fault["misc_register#2"]["result"] == -16
    assert by_fault["misc_register#2"]["results"] == [0, 0, -16, -2]
    assert by_fault["foreign-on=1"]["result"] == -5
    assert by_fault["foreign-on=1"]["results"] == [0, -5, -2, -5, -2]
    assert by_fault[""]["results"] == [0, 0, 0, 0]


def test_with_the_commit_no_directory_is_left(kvm_ref: Command) -> None:
    """b31e7c24b475 mends each leak of debugfs, and nothing else changes."""
    args = ("--backend", "x86-vmx", "--cpus", "2", "--param", "enable_virt_at_load=1", "load", "unload")
    before, after = rows(kvm_ref, *args), rows(kvm_ref, "--with", "b31e7c24b475", *args)
    assert [r["results"] for r in before] == [r["results"] for r in after]

    def found(some: list[dict[str, Any]]) -> set[tuple[str, str]]:
        return {(f["resource"], f["commit"]) for row in some for f in row["findings"]}

    assert ("debugfs:kvm", "b31e7c24b475") in found(before)
    assert {f for f in found(before) if f[0] != "debugfs:kvm"} == found(after)


def commands(kvm_ref: Command, *args: str) -> dict[str, set[tuple[str, str]]]:
    """Return each command of a matrix with the findings that it is to show."""
    out: dict[str, set[tuple[str, str]]] = {}
    for row in rows(kvm_ref, *args):
        for finding in row["findings"]:
            out.setdefault(finding["command"], set()).add((finding["judge"], finding["resource"]))
    return out


def show_again(kvm_ref: Command, wanted: Iterator[tuple[str, set[tuple[str, str]]]]) -> int:
    """Run commands, and check that each shows its findings; return how many there were."""
    count = 0
    for text, findings in wanted:
        name, *args = shlex.split(text)
        assert name == "kvm-ref"
        done = kvm_ref(*args, "--format", "json")
        assert done.status == 1, text
        # Where the machine stops, the rest of the verbs is told of.
        assert done.err == "" or done.err.startswith("kvm-ref: the machine has stopped: "), text
        assert {(f["judge"], f["resource"]) for f in done.json["findings"]} == findings, text
        count += 1
    return count


@pytest.mark.parametrize("backend", ["loongarch", "s390"])
def test_every_command_shows_its_findings_again(kvm_ref: Command, backend: str) -> None:
    """Of the whole matrix of a small backend, each finding's command gives the same findings."""
    found = commands(kvm_ref, "--backend", backend, "--cpus", "1")
    assert show_again(kvm_ref, iter(found.items())) > 10


@pytest.mark.parametrize("backend", ["arm64", "mips", "riscv", "x86-svm", "x86-vmx"])
def test_commands_show_their_findings_again(kvm_ref: Command, backend: str) -> None:
    """Of the others, a command for each pair of judge and resource, and some more."""
    found = commands(kvm_ref, "--backend", backend, "--cpus", "2", "load", "unload", "load")
    chosen = dict(random.Random(1).sample(sorted(found.items()), min(8, len(found))))
    for text, findings in found.items():
        if not any(findings <= some for some in chosen.values()):
            chosen[text] = findings
    assert show_again(kvm_ref, iter(chosen.items())) >= min(8, len(found))


def test_a_finding_names_all_that_is_needed(kvm_ref: Command) -> None:
    """The fault, the label, the resource, where it was acquired, and the command."""
    for row in rows(kvm_ref, "--backend", "mips", "--cpus", "2", "load"):
        for finding in row["findings"]:
            assert finding["fault"] == row["fault"]
            assert finding["judge"]
            assert finding["message"]
            assert finding["command"].startswith(
                "kvm-ref run --backend mips --cpus 2 --param enable_virt_at_load="
            )
            if finding["judge"] == "leak":
                assert finding["label"].startswith("kvm_init:err_")
                assert "kvm_init" in finding["acquired"]


@pytest.mark.parametrize("form", ["text", "json", "ktap"])
def test_more_processes_print_the_same(kvm_ref: Command, form: str) -> None:
    """--jobs changes the time and nothing else."""
    args = (
        "matrix",
        "--backend",
        "loongarch",
        "--backend",
        "riscv",
        "--cpus",
        "2",
        "--format",
        form,
        "--jobs",
    )
    one = kvm_ref(*args, "1")
    assert kvm_ref(*args, "2") == one
    assert kvm_ref(*args, "3", "load") == kvm_ref(*args, "1", "load")


def test_nothing_depends_on_chance() -> None:
    """Another order of hashes, another process: the same text, to the byte."""
    args = ("matrix", "--backend", "x86-svm", "--backend", "s390", "--cpus", "2", "load", "unload")
    first = process(*args, PYTHONHASHSEED="1")
    assert first.status == 1
    assert process(*args, PYTHONHASHSEED="2") == first
    other = ("run", "--backend", "x86-vmx", "--fail", "misc_register", "--format", "json", "load", "unload")
    assert process(*other, PYTHONHASHSEED="3") == process(*other, PYTHONHASHSEED="4")


def test_the_same_matrix_twice_in_one_process(kvm_ref: Command) -> None:
    """What one run leaves in this process does not reach the next."""
    args = ("matrix", "--backend", "loongarch", "--cpus", "2", "--format", "json")
    assert kvm_ref(*args) == kvm_ref(*args)


@pytest.mark.parametrize("backend", ["x86-svm", "riscv"])
def test_a_run_that_is_done_is_freed_at_once(backend: str) -> None:
    """No step and no error of a matrix is left to the garbage collector, which the command switches off."""
    run([Scenario(backend, ("load",))])
    gc.collect()
    gc.disable()
    try:
        run([Scenario(backend, ("load", "unload", "load", "unload"))])
        gc.set_debug(gc.DEBUG_SAVEALL)
        gc.collect()
        left = {type(one).__name__ for one in gc.garbage}
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()
    # The directories of debugfs name their parents, as in C.
    assert "dentry" in left
    assert left.isdisjoint({"Step", "Index", "Nesting", "Ledger", "KernelError", "frame"})


def test_labels_and_what_was_not_reached(kvm_ref: Command) -> None:
    """The labels of kvm_init() are all reached by its own calls; an exit that no fault leads to is told."""
    data = kvm_ref("matrix", "--backend", "x86-svm", "--cpus", "2", "--format", "json", "load").json
    labels = {name for name in data["labels"] if name.startswith("kvm_init:")}
    assert labels == {
        f"kvm_init:{n}"
        for n in ("err_register", "err_virt", "err_vfio", "err_async_pf", "err_irqfd", "err_cpu_kick_mask")
    }
    assert "kvm_x86_vendor_init:-EEXIST" in data["unreached"]  # a second vendor
    assert not set(data["unreached"]) & set(data["labels"])


def test_the_labels_of_a_finding(kvm_ref: Command) -> None:
    """What is shown with a fault is of its own run; the labels of other runs stand by themselves."""
    text = kvm_ref("matrix", "--backend", "arm64", "--cpus", "1", "load").out.splitlines()
    begin = next(n for n, line in enumerate(text) if line.split() == ["fault", "populate_sysreg_config"])
    names = [line.split()[0] for line in text[begin : begin + 4]]
    assert names == ["fault", "acquired", "again", "also"]
    assert (
        text[begin + 3]
        == "      also by    kvm_arm_init:out_err, kvm_arm_init:out_hyp, kvm_arm_init:out_subs"
    )


def test_as_a_library() -> None:
    """The command's work can be had without it, and gives values."""
    done = run([Scenario("mips", ("load", "unload"), cpus=TWO)])
    assert isinstance(done, Matrix)
    assert (done.rows[0].fault, done.rows[0].results) == ("", (0, 0))
    assert json.loads(json.dumps(done.to_json())) == done.to_json()
