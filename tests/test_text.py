# SPDX-License-Identifier: GPL-2.0-only
"""What is printed: the tree of a run, function_graph, the lines of a matrix, KTAP, tables."""

from __future__ import annotations

import re

import attrs
import pytest
from bare_machine import Bare
from command_line import Command
from reading import go
from tape import Tape, vocabulary

from kvm_ref import report, text
from kvm_ref.judges import Finding, judge_all
from kvm_ref.kernel import Kernel
from kvm_ref.linux.module import Module
from kvm_ref.linux.printk import BUG_ON, WARN_ON
from kvm_ref.matrix import Matrix, Row
from kvm_ref.scenario import Scenario, run
from kvm_ref.trace import Step


@pytest.mark.parametrize(
    ("value", "written"),
    [(0, "0"), (-16, "-EBUSY"), (-524, "-ENOTSUPP"), (-9999, "-9999"), (7, "7"), (None, "?"), ("ptr", "ptr")],
)
def test_results_have_their_kernel_names(value: object, written: str) -> None:
    """-16 is -EBUSY (include/uapi/asm-generic/errno-base.h); what is no errno stays a number."""
    assert text.errno_name(value) == written


def taped() -> Tape:
    """Return a tape with an event of each kind."""
    tape = Tape()
    tape.enter("outer", cpu_arg=1, other=1, obj="1")
    tape.call("leaf", 0, name="x")
    tape.call("nothing", obj="kvm")
    tape.call("bad", -12)
    tape.call("pointer", "NULL", got="m", line=5)
    tape.event("lock", "m")
    tape.event("write", "REG", 0x1000, was=0x10)
    tape.event("warn", "outer", "x > 1")
    tape.event("inject", "outer", -5)
    tape.event("inject", "system_state", 6)
    tape.event("goto", "outer", -5, label="err")
    tape.event("unlock", "m")
    tape.leave("outer", -5)
    tape.enter("void")
    tape.event("lock", "n", task="ipi", cpu=1)
    tape.leave("void")
    tape.step("load", -5)
    return tape


def test_the_tree() -> None:
    """CPU, task, then the call: a leaf in one line, others with braces; every kind of event in words."""
    assert list(text.tree(taped().steps[0].events or [])) == [
        "   0  modprobe  outer(1, 1) {",
        "   0  modprobe    leaf(x) = 0",
        "   0  modprobe    nothing(kvm)",
        "   0  modprobe    bad() = -ENOMEM",
        "   0  modprobe    pointer() = NULL",
        "   0  modprobe    lock m",
        "   0  modprobe    REG = 0x1000  /* was 0x10 */",
        "   0  modprobe    WARN_ON in outer: x > 1",
        "   0  modprobe    ! injected: outer fails -EIO",
        "   0  modprobe    ! injected: system_state = SYSTEM_RESTART",
        "   0  modprobe    goto err;  /* outer, -EIO */",
        "   0  modprobe    unlock m",
        "   0  modprobe  } = -EIO  /* outer */",
        "   0  modprobe  void() {",
        "   1  ipi       lock n",
        "   0  modprobe  } /* void */",
    ]


def test_the_tree_in_colour() -> None:
    """Red is what fails, yellow what jumps or warns, and what one may pass over is dim."""
    lines = list(text.tree(taped().steps[0].events or [], colour=True))
    red, yellow, dim = (
        {n for n, line in enumerate(lines) if c in line} for c in ("\033[31m", "\033[33m", "\033[2m")
    )
    assert (red, yellow, dim) == ({3, 4, 8, 9, 12}, {7, 10}, {6, 12, 15})
    assert all(line.count("\033[0m") == line.count("\033[") / 2 for line in lines)


def test_a_tree_that_is_cut_off() -> None:
    """A call that never returned is left open."""
    tape = Tape()
    tape.enter("outer")
    tape.step("load")
    assert list(text.tree(tape.steps[0].events or [])) == ["   0  modprobe  outer() {"]


def test_function_graph_in_small() -> None:
    """The layout of ftrace: CPU, task, a bar, then calls with semicolons, and comments for the rest."""
    lines = list(text.function_graph(taped().trace()))
    assert lines[:2] == ["# tracer: function_graph", "#"]
    assert lines[4:] == [
        "# load: -EIO",
        "   0)  modprobe      |   outer() {",
        "   0)  modprobe      |     leaf(); /* = 0 */",
        "   0)  modprobe      |     nothing();",
        "   0)  modprobe      |     bad(); /* = -12 */",
        "   0)  modprobe      |     pointer(); /* = NULL */",
        "   0)  modprobe      |     /* lock m */",
        "   0)  modprobe      |     /* write REG 4096 */",
        "   0)  modprobe      |     /* warn outer x > 1 */",
        "   0)  modprobe      |     /* inject outer -5 */",
        "   0)  modprobe      |     /* inject system_state 6 */",
        "   0)  modprobe      |     /* goto outer err */",
        "   0)  modprobe      |     /* unlock m */",
        "   0)  modprobe      |   } /* outer = -5 */",
        "   0)  modprobe      |   void() {",
        "   1)  ipi           |   /* lock n */",
        "   0)  modprobe      |   } /* void */",
    ]


def test_function_graph_of_an_unrecorded_step_and_of_an_open_call() -> None:
    """A step without events is its verdict alone; a call that never returned stays open."""
    tape = Tape()
    tape.unrecorded("load=kvm")
    tape.enter("outer")
    tape.step("load")
    assert list(text.function_graph(tape.trace()))[4:] == [
        "# load=kvm: 0",
        "# load: 0",
        "   0)  modprobe      |   outer() {",
    ]


@pytest.mark.parametrize("fail", [[], ["--fail", "kvm_arch_enable_virtualization_cpu@1"]])
def test_function_graph_is_balanced(kvm_ref: Command, fail: list[str]) -> None:
    """Of each task on each CPU, every brace that opens is closed, at its own indent."""
    done = kvm_ref("run", "--cpus", "2", "--format", "function_graph", *fail, "load", "unload")
    open_braces: dict[tuple[str, str], list[int]] = {}
    for line in done.lines:
        if line.startswith("#"):
            continue
        match = re.fullmatch(r" *(\d+)\)  (\S+) +\|( +)(.*)", line)
        assert match, line
        stack = open_braces.setdefault((match[1], match[2]), [])
        if match[4].endswith("{"):
            stack.append(len(match[3]))
        elif match[4].startswith("}"):
            assert stack.pop() == len(match[3])
    assert len(open_braces) >= 3
    assert not any(open_braces.values())


def test_the_text_of_a_run(kvm_ref: Command) -> None:
    """Head, a tree for each verb, what is left after each, the log, then the findings."""
    args = (
        "--cpus",
        "2",
        "--param",
        "enable_virt_at_load=1",
        "--feature",
        "sev=0",
        "--without",
        "b4886fab6fb6",
    )
    lines = kvm_ref("run", *args, "--fail", "misc_register", "load", "unload=kvm").lines
    assert lines[:6] == [
        "# x86-svm, Linux 6.12.117, CPUs 0-1, enable_virt_at_load=1, sev=0, without b4886fab6fb6",
        "# fault: misc_register",
        "# CPU  TASK      CALLS",
        "",
        "== load: -EBUSY",
        "   0  modprobe  kvm_x86_init() {",
    ]
    left = [line for line in lines if line.startswith("-- left: ")]
    assert left == [
        "-- left: debugfs_kvm=yes  dev_kvm=no  cpuhp_states=none  modules=kvm  online=0-1  svme_cpus=none",
        "-- left: debugfs_kvm=yes  dev_kvm=no  cpuhp_states=none  modules=none  online=0-1  svme_cpus=none",
    ]
    end = lines[lines.index("kernel log:") :]
    assert end[:4] == ["kernel log:", "  kvm: misc device register failed", "", "findings: 1"]
    assert [line.split()[0] for line in end[5:]] == ["fault", "label", "acquired", "mended", "again"]


def test_the_text_of_a_run_with_nothing_to_tell(kvm_ref: Command) -> None:
    """No log, no settings, no finding: the headings that would be empty are not there."""
    lines = kvm_ref("run", "--param", "enable_virt_at_load=0", "load").lines
    assert lines[0] == "# x86-svm, Linux 6.12.117, CPUs 0-3, enable_virt_at_load=0"
    assert "kernel log:" not in lines
    assert lines[-2:] == ["", "findings: 0"]


def stops(k: Kernel) -> None:
    """Stop the machine."""
    WARN_ON(k, True, "here it comes")
    BUG_ON(k, True, "stop")


class Stops(Bare):
    """A backend whose load stops the machine."""

    modules = (Module("stops", stops, None),)


def test_the_text_of_a_machine_that_stopped() -> None:
    """The verb has no result, and no later verb is told of."""
    scenario = Scenario("bare", ("load", "unload"))
    lines = list(report.run(scenario, run(scenario, Stops()), []))
    assert [line for line in lines if line.startswith("== ")] == ["== load: ?"]
    assert lines[-4:] == [
        "  WARNING: CPU: 0 at stops: here it comes",
        "  kernel BUG: stop",
        "",
        "findings: 0",
    ]


def test_verdicts_and_states() -> None:
    """A step of several verbs names each with its result; lists and flags are words."""
    assert text.verdict(Step(["load=kvm", "load"], [0, -5], None)) == "load=kvm: 0  load: -EIO"
    assert text.state({"a": True, "b": [], "c": [1, 2], "d": "0-3"}) == "a=yes  b=none  c=1,2  d=0-3"


def row(fault: str = "", findings: tuple[Finding, ...] = (), **more: object) -> Row:
    """Return a row of a matrix."""
    given: dict[str, object] = {
        "scenario": Scenario("x86-svm", ("load",), params={"enable_virt_at_load": "1"}),
        "fault": fault,
        "result": 0,
        "results": (0,),
        "retry": (),
        "gotos": (),
        "findings": findings,
        "idle": False,
        "params": {"enable_virt_at_load": True},
    }
    return Row(**{**given, **more})  # type: ignore[arg-type]  # any field, by name


def finding(judge: str = "leak", commit: str = "", resource: str = "debugfs:kvm") -> Finding:
    """Return a finding: that of a failed misc_register(), with some of it changed."""
    failed = go("x86-svm", "load", fail="misc_register").trace
    found = judge_all(failed, vocabulary("x86-svm"))[0]
    return attrs.evolve(found, judge=judge, commit=commit, resource=resource, message=f"{resource} is held")


def test_the_lines_of_a_matrix(kvm_ref: Command) -> None:
    """One line a fault, at most 100 columns; the goto's label is in it, and what was found."""
    backends = [word for name in ("arm64", "mips", "x86-svm") for word in ("--backend", name)]
    lines = kvm_ref("matrix", *backends, "--cpus", "2", "load", "unload").lines
    runs = lines[1 : lines.index("")]
    assert lines[0].split() == ["backend", "v", "fault", "result", "first", "goto,", "findings"]
    assert max(map(len, runs)) <= 100
    assert len(runs) > 300
    fault = next(line for line in runs if line.startswith("x86-svm   1 misc_register "))
    assert fault.split() == [
        "x86-svm",
        "1",
        "misc_register",
        "-EBUSY",
        "kvm_init:err_register",
        "LEAK",
        "b31e7c2",
    ]
    cut = next(line for line in runs if line.startswith("mips      1 kvm_online_cpu@1 "))
    assert cut.split()[3:] == ["-EIO", "…_state_cpuslocked:out", "LEAK", "b31e7c2"]
    # One run of each backend and each value of enable_virt_at_load is without a fault.
    n, faults = len(runs), sum(" no fault " not in line for line in runs)
    assert re.fullmatch(
        rf"{faults} of {faults} faults fired, \d+ of {n} runs clean, \d+ labels reached", lines[-1]
    )


def test_a_line_with_more_than_it_can_hold() -> None:
    """The findings come before the goto, and the goto's label before its function."""
    many = tuple(
        finding(judge, resource=judge) for judge in ("leak", "double_release", "lock_held", "label_order")
    )
    rows = (
        row("f" * 60, many, result=-95, gotos=("kvm_init:err_virt",)),
        row("f", (many[1],), gotos=("__cpuhp_setup_state_cpuslocked:out",)),
        row("f", idle=True, params={}),
    )
    lines = list(report.matrix(Matrix(rows, {"kvm_init:err_virt": 1}, ("kvm_exit:0",))))
    assert [len(line) for line in lines[1:4]] == [100, 100, 77]
    assert lines[1].startswith(f"x86-svm   1 {'f' * 39}… -EOPNOTSUPP  LEAK, DOUBLE_RELEASE, LOCK_H")
    assert lines[1].endswith("…")
    assert lines[2].endswith("_cpuslocked:out DOUBLE_RELEASE")
    assert lines[3].split() == ["x86-svm", "-", "f", "0", "NEVER", "FIRED"]
    assert lines[-3:] == ["  kvm_exit:0", "", "2 of 3 faults fired, 0 of 3 runs clean, 1 labels reached"]


def test_what_is_found_without_a_fault_too_is_told_once() -> None:
    """A standing finding is in the row without fault and in the summary, not in every row."""
    standing = finding("hardware_state", resource="REG@1")
    rows = (row("", (standing,)), row("f", (attrs.evolve(standing, resource="REG@0"),)), row("g"))
    lines = list(report.matrix(Matrix(rows, {}, ())))
    assert [line.split()[-1] for line in lines[1:4]] == ["HARDWARE_STATE", "ok", "ok"]
    assert "findings: 1 kinds in 2 of 3 runs" in lines
    assert "x86-svm, in 2 runs, without a fault too; the first:" in lines
    assert lines[-1] == "2 of 2 faults fired, 2 of 3 runs clean, 0 labels reached"


def test_ktap(kvm_ref: Command) -> None:
    """Documentation/dev-tools/ktap.rst: version, plan, a line a test with its number, totals."""
    done = kvm_ref("matrix", "--backend", "x86-svm", "--cpus", "2", "--format", "ktap", "load")
    assert done.lines[0] == "KTAP version 1"
    tests = [line for line in done.lines if re.match(r"(not )?ok \d", line)]
    assert done.lines[1] == f"1..{len(tests)}"
    for number, line in enumerate(tests, 1):
        assert re.fullmatch(rf"(not )?ok {number} (\\#|[^#])+( # XFAIL mended by [0-9a-f, ]+)?", line), line
    assert any(
        line.endswith("enable_virt_at_load=1 misc_register # XFAIL mended by b31e7c24b475") for line in tests
    )
    others = [line for line in done.lines[2:-1] if line not in tests]
    assert others
    assert all(line.startswith("# ") for line in others)
    counts = {name: int(n) for name, n in re.findall(r"(\w+):(\d+)", done.lines[-1])}
    assert counts["pass"] == sum(line.startswith("ok") for line in tests)
    assert counts["xfail"] == sum("XFAIL" in line for line in tests)
    assert sum(counts.values()) == len(tests)


def test_ktap_of_each_kind_of_row() -> None:
    """Known findings are expected failures; unknown ones, and faults that never fired, are failures."""
    known, unknown = finding(commit="b31e7c24b475"), finding("double_release")
    rows = (row("f#2"), row("f", (known,)), row("f", (known, unknown)), row("f", idle=True))
    lines = [line for line in report.ktap(Matrix(rows, {}, ())) if "ok" in line or "Totals" in line]
    assert lines == [
        "ok 1 x86-svm enable_virt_at_load=1 f\\#2",
        "not ok 2 x86-svm enable_virt_at_load=1 f # XFAIL mended by b31e7c24b475",
        "not ok 3 x86-svm enable_virt_at_load=1 f",
        "not ok 4 x86-svm enable_virt_at_load=1 f",
        "# Totals: pass:1 fail:2 xfail:1 xpass:0 skip:0 error:0",
    ]


def test_ktap_has_a_result_a_line() -> None:
    """A line end in a name or a message begins no result of its own."""
    bad = row("f\nok 9 g", (finding("leak\nok 8 h"),))
    lines = list(report.ktap(Matrix((bad,), {}, ())))
    assert [line for line in lines if line.startswith("ok")] == []
    assert all("\n" not in line for line in lines)
    assert "not ok 1 x86-svm enable_virt_at_load=1 f ok 9 g" in lines


def test_tables() -> None:
    """Columns are as wide as their widest cell; lists are words; no rows are no lines."""
    assert list(report.table([])) == []
    assert list(report.table([{"a": "x", "b": [1, 2]}, {"a": "long", "b": ""}])) == ["x     1 2", "long"]
