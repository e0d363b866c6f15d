# SPDX-License-Identifier: GPL-2.0-only
"""Bad input: one line that says what is wrong and what would be right, status 2, no traceback."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from command_line import Command, Done, process

from kvm_ref.compare import against_model, compare
from kvm_ref.misuse import Misuse, nearest
from kvm_ref.trace import TraceError, load

DATA = Path(__file__).parent / "data"
HUGE = "9" * 5000


def refused(done: Done, says: str) -> None:
    """Check that a request was refused in one line that says so."""
    assert (done.status, done.out) == (2, "")
    assert done.err.startswith("kvm-ref: ")
    assert done.err.count("\n") == 1
    assert done.err.endswith("\n")
    assert says in done.err


@pytest.mark.parametrize(
    ("args", "says"),
    [
        ("", "expected one of run, matrix, ladder, list, compare, latency, tree"),
        ("runn load", "unknown command 'runn': did you mean run?"),
        ("frobnicate", "expected one of compare, ladder, latency, list, matrix, run"),
        ("run", "nothing to do: give verbs, as in kvm-ref run load unload, or --scenario NAME"),
        ("ladder", "required: FUNCTION"),
        ("compare", "required: TRACE"),
        ("list", "required: backends|functions|"),
        ("list judge", "unknown list 'judge': did you mean judges?"),
        ("list verbs extra", "unknown argument 'extra'"),
        ("run --bakend x load", "did you mean --backend?"),
        ("--verzion", "did you mean --version?"),
        ("--vers", "unknown argument '--vers': did you mean --version?"),
        ("run load --fail", "--fail: expected one argument"),
        ("run --back arm64 load", "unknown argument '--back': did you mean --backend?"),
        ("run load --scen unload-in-use", "unknown argument '--scen': did you mean --scenario?"),
        ("list --back arm64 faults", "unknown argument '--back': did you mean --backend?"),
        ("ladder --formt=json", "unknown argument '--formt=json': did you mean --format?"),
        ("compare --para x=1", "unknown argument '--para': did you mean --param?"),
        ("tree walk --confi x", "unknown argument '--confi': did you mean --config?"),
        ("matrix --fail misc_register", "matrix fails every call, one at a time, and has no --fail: kvm-ref run has it"),
        ("matrix --reboot-at=vfio", "matrix fails every call, one at a time, and has no --reboot-at: kvm-ref run has it"),
        ("matrix --fail-cpu all", "unknown argument '--fail-cpu': did you mean --fail-cpus?"),
        ("run load --cpus 2 unload --bogus x", "unknown argument '--bogus'"),
        ("run load --cpus 2 unload -x", "unknown argument '-x'"),
        ("run load --cpus 2 -- unload --cpus", "unknown verb '--cpus'"),
        ("list verbs --format json extra", "unknown argument 'extra'"),
        ("latency --cpus 4 load", "unknown argument 'load'"),
        ("compare a --param x=1 b", "--param is for the model's run"),
        ("run --scenario= load", "unknown scenario '': expected one of cpu-cannot-be-enabled,"),
        ("matrix --scenario=", "unknown scenario ''"),
        ("list faults --backend=", "unknown backend '': expected one of arm64,"),
        ("ladder kvm_init --backend=", "unknown backend ''"),
        ("run --fail misc_register=ebusy load", "unknown errno 'ebusy' in 'misc_register=ebusy': did you mean EBUSY?"),
        ("run LOAD", "unknown verb 'LOAD': did you mean load?"),
        ("run --backend X86-SVM load", "unknown backend 'X86-SVM': did you mean x86-svm?"),
        ("run --backend arm64 --param mode=vhe load", "unknown parameter 'mode': did you mean kvm-arm.mode?"),
        ("matrix -o /proc/version", "cannot write '/proc/version': its folder takes no new file"),
        ("matrix -o /proc/matrix", "cannot write '/proc/matrix': its folder takes no new file"),
        ("run --format jsn load", "unknown format 'jsn': did you mean json?"),
        ("ladder kvm_init --format xml", "unknown format 'xml'"),
        ("matrix --format csv", "expected one of html, json, ktap, text"),
        ("matrix --format htm", "did you mean html?"),
        ("matrix -o /", "cannot write '/': Is a directory"),
        ("matrix -o /nowhere/", "cannot write '/nowhere/': Is a directory"),
        ("matrix -o /nowhere/m.html", "cannot write '/nowhere/m.html': No such file or directory"),
        ("matrix --output= load", "cannot write '': No such file or directory"),
        ("run --backend x86-smv load", "unknown backend 'x86-smv': did you mean x86-svm?"),
        ("matrix --backend alll", "unknown backend 'alll': did you mean all?"),
        ("matrix --backend mips --backend ppc", "unknown backend 'ppc'"),
        ("list faults --backend ppc", "unknown backend 'ppc': expected one of arm64,"),
        ("list verbs --backend ppc", "unknown backend 'ppc'"),
        ("ladder kvm_init --backend riscy", "did you mean riscv?"),
        ("run laod", "unknown verb 'laod': did you mean load?"),
        ("matrix laod", "unknown verb 'laod': did you mean load?"),
        ("run fly", "expected one of close-dev, close-vm, create-vm"),
        ("run load=kvmm", "unknown module 'kvmm': did you mean kvm?"),
        ("run load=", "verb load takes [MODULE], as in load=kvm"),
        ("run foreign-on", "verb foreign-on takes CPU, as in foreign-on=0"),
        ("run foreign-on=", "verb foreign-on takes CPU"),
        ("run foreign-on=two", "malformed CPU 'two': expected a number"),
        ("run foreign-on=-1", "malformed CPU '-1'"),
        ("run foreign-on=4", "no CPU 4: this machine has 0-3"),
        ("run --cpus 0-1,8 foreign-off=2", "no CPU 2: this machine has 0-1,8"),
        (f"run foreign-on={HUGE}", "expected a number, as in foreign-on=1"),
        ("run --backend arm64 foreign-on=1", "foreign-on is for x86"),
        ("run --backend riscv foreign-off=1", "foreign-on is for x86"),
        ("matrix --backend arm64 --jobs 2 foreign-on=1", "foreign-on is for x86"),
        ("run --with b31e7c24b476 load", "unknown commit 'b31e7c24b476': did you mean b31e7c24b475?"),
        ("run --without b31 load", "unknown commit 'b31'"),
        ("run --with b31e7c2 --without b31e7c24b475 load", "commit b31e7c2 is both added and taken out"),
        ("run --fail misc_register=16 load", "unknown errno '16' in 'misc_register=16': did you mean EBUSY?"),
        ("run --fail misc_register=4096 load", "unknown errno '4096' in 'misc_register=4096': no name comes near it"),
        ("matrix --with zzzzzzzz", "unknown commit 'zzzzzzzz'"),
        ("run --param enable_virt_at_loda=1 load", "did you mean enable_virt_at_load?"),
        ("run --param enable_virt_at_load=maybe load", "expected a bool: 0, 1, n, y, off, on"),
        ("run --backend arm64 --param kvm-arm.mode=vh load", "malformed value 'vh' for kvm-arm.mode"),
        ("matrix --param enable_virt_at_load=2", "malformed value '2'"),
        ("run --param enable_virt_at_load load", "malformed --param 'enable_virt_at_load': expected NAME=VALUE"),
        ("run --param =1 load", "malformed --param '=1'"),
        ("run --feature constant_tcs=1 load", "unknown feature 'constant_tcs' of x86-svm: did you mean constant_tsc?"),
        ("run --feature constant_tsc=yes load", "malformed value 'yes' for feature constant_tsc: expected 0 or 1"),
        ("run --feature constant_tsc load", "expected NAME=VALUE"),
        ("run --fail kmem_cache_creat load", "did you mean kmem_cache_create"),
        ("run --fail kvm_exit load", "kvm_exit() cannot fail in C: kvm-ref list faults names those that can"),
        ("run --fail misc_register=EBUSSY load", "did you mean EBUSY?"),
        ("run --fail misc_register@4 load", "no CPU 4 in misc_register@4: this machine has 0-3"),
        ("run --fail misc_register#0 load", "#NTH counts from 1"),
        ("run --fail misc_register@ load", "expected FUNCTION[#NTH][@CPU][=ERRNO]"),
        (f"run --fail misc_register#{HUGE} load", "malformed fault"),
        (f"run --fail misc_register@{HUGE} load", "malformed fault"),
        ("run --reboot-at register_syscor load", "did you mean register_syscore?"),
        ("run --reboot-at register_syscore=EIO load", "a reboot has no errno"),
        ("run --reboot-at register_syscore@7 load", "no CPU 7"),
        ("run --cpus 0 load", "malformed --cpus '0': expected 1 to 8192 CPUs"),
        ("run --cpus 8193 load", "expected 1 to 8192 CPUs"),
        (f"run --cpus {HUGE} load", "expected 1 to 8192 CPUs"),
        ("run --cpus -1 load", "expected a number, a list as 0-3,8, or host"),
        ("run --cpus 3-1 load", "range 3-1 runs backwards"),
        ("run --cpus 0,,1 load", "'' is no CPU and no range"),
        ("run --cpus 0-9000 load", "'0-9000' is beyond the last CPU, 8191"),
        (f"run --cpus 0-{HUGE} load", "beyond the last CPU, 8191"),
        ("run --cpus hots load", "or host"),
        ("matrix --cpus many", "'many' is no CPU and no range"),
        ('run --cmdline kvm.x="1 load', "malformed kernel command line: the quote before 'kvm.x=1' is not closed"),
        ("run --cmdline @/nowhere load", "cannot read the command line from '/nowhere': No such file or directory"),
        ("run --cmdline kvm.enable_virt_at_load=maybe load", "expected a bool"),
        ("run --cmdline kvm.enable_virt_at_load= load", "expected a bool"),
        ("run --param enable_virt_at_load= load", "expected a bool"),
        ("run --backend s390 --cmdline kvm.nested load", "kvm.nested on the kernel command line has no value"),
        ("run --backend s390 --param nested=1_0 load", "malformed value '1_0'"),
        ("matrix --jobs 0", "malformed --jobs '0': expected a number of processes, 1 to 256"),
        ("matrix --jobs two", "malformed --jobs 'two'"),
        ("matrix --jobs 257", "1 to 256"),
        (f"matrix --jobs {HUGE}", "1 to 256"),
        ("matrix --fail-cpus edge", "unknown choice 'edge': did you mean edges?"),
        ("latency --backend s390", "enables no CPU, at load or on demand: its kernel is without CONFIG_KVM_GENERIC_"),
        ("latency --backend riscy", "did you mean riscv?"),
        ("latency --cpus many", "malformed --cpus 'many': expected numbers and ranges, as 4,16 or 1-4096"),
        ("latency --cpus 1-", "malformed --cpus '1-'"),
        ("latency --cpus 4,,8", "malformed --cpus '4,,8'"),
        ("latency --cpus 0", "malformed --cpus '0': expected 1 to 8192 CPUs"),
        ("latency --cpus 1-8193", "expected 1 to 8192 CPUs"),
        (f"latency --cpus {HUGE}", "expected 1 to 8192 CPUs"),
        ("latency --cpus 64-8", "range 64-8 runs backwards"),
        ("latency --cost idle=1", "unknown cost 'idle': did you mean idle_exit?"),
        ("latency --cost idle_exit", "malformed --cost 'idle_exit': expected NAME=MICROSECONDS"),
        ("latency --cost =1", "malformed --cost '=1'"),
        ("latency --cost enable=", "malformed value '' for cost enable: expected microseconds, as 5.9"),
        ("latency --cost enable=-1", "malformed value '-1'"),
        ("latency --cost enable=nan", "malformed value 'nan'"),
        ("latency --cost enable=1e9", "malformed value '1e9'"),
        (f"latency --cost enable={HUGE}", "for cost enable: expected microseconds"),
        ("latency --feature svn=1", "unknown feature 'svn' of x86-svm"),
        ("latency --format xml", "unknown format 'xml': expected one of json, svg, text"),
        ("latency load", "unknown argument 'load'"),
        ("run -o x load", "unknown argument '-o' (see"),
        ("matrix --ouput x", "unknown argument '--ouput': did you mean --output?"),
        ("ladder kvm_inti", "unknown function 'kvm_inti': did you mean kvm_init?"),
        ("ladder kvm_arm_init --backend mips", "unknown function 'kvm_arm_init'"),
        ("compare a b c", "compare takes one trace or two, not 3"),
        ("compare a b --param x=1", "--param is for the model's run"),
        ("compare /nowhere", "cannot read the trace '/nowhere': No such file or directory"),
        ("compare /tmp", "cannot read the trace '/tmp': Is a directory"),
    ],
)  # fmt: skip
def test_a_request_that_makes_no_sense(kvm_ref: Command, args: str, says: str) -> None:
    """Each is refused in one line that names what was wrong, and the nearest name or what is expected."""
    refused(kvm_ref(*args.split()), says)


@pytest.mark.parametrize(
    "args", [["run", ""], ["matrix", ""], ["run", " load"], ["run", "load", ""], ["run", "lo\nad"]]
)
def test_empty_and_odd_verbs(kvm_ref: Command, args: list[str]) -> None:
    """An empty verb is no verb; a line break in one does not break the line."""
    refused(kvm_ref(*args), "unknown verb")


@pytest.mark.parametrize("option", ["--backend", "--fail", "--with", "--cpus", "--param", "--feature"])
def test_empty_values(kvm_ref: Command, option: str) -> None:
    """No option takes an empty value."""
    refused(kvm_ref("run", option, "", "load"), "''")


def test_bytes_that_are_no_text(kvm_ref: Command, tmp_path: Path) -> None:
    """A binary file is neither a command line nor a trace."""
    path = tmp_path / "binary"
    path.write_bytes(bytes(range(128, 256)))
    refused(kvm_ref("run", "--cmdline", f"@{path}", "load"), "it is no text")
    refused(kvm_ref("compare", str(path)), "it is no text")


def test_a_path_that_no_file_can_have(kvm_ref: Command) -> None:
    """Python's own complaint about a null byte is passed on."""
    refused(kvm_ref("compare", "a\0b"), "null")


def test_no_traceback_from_a_process_of_its_own() -> None:
    """The same holds where Python itself would print the traceback."""
    refused(process("run", "--fail", "misc_registr", "load"), "did you mean misc_register?")
    refused(process("matrix", "--backend", "arm64", "--jobs", "2", "foreign-on=1"), "foreign-on is for x86")


def test_a_commit_of_another_backend() -> None:
    """A process that has loaded no other backend knows its commits, to say whose they are."""
    says = "commit '9a2b9416fd1d' is one of arm64: expected --backend arm64"
    refused(process("run", "--with", "9a2b9416fd1d", "load"), says)
    refused(process("run", "--with", "b31e7c24b475", "--without", "9a2b9416fd1d", "load"), says)
    assert process("run", "--backend", "arm64", "--with", "9a2b9416fd1d", "load").status == 0


def test_nearest_is_the_nearest_or_says_what_there_is() -> None:
    """A near name is offered; else all, if they are few; else nothing is made up."""
    assert nearest("lod", ["load", "unload"]) == ": did you mean load?"
    assert nearest("LOAD", ["load", "unload"]) == ": did you mean load?"
    assert nearest("ebusy", ["EBUSY", "EIO"]) == ": did you mean EBUSY?"
    assert nearest("xyz", ["load", "unload"]) == ": expected one of load, unload"
    assert nearest("xyz", [f"load{n}" for n in range(17)]) == ": no name comes near it"


def sample() -> dict[str, Any]:
    """Return a kernel's trace, shortened."""
    data: dict[str, Any] = json.loads((DATA / "g_init_misc_register.json").read_text(encoding="utf-8"))
    for step in data["steps"]:
        step["events"] = step["events"] and step["events"][:3]
    return data


def changed(change: dict[str, Any]) -> dict[str, Any]:
    """Return the sample with keys changed; a name with dots goes inwards."""
    data = sample()
    for path, value in change.items():
        *way, last = path.split(".")
        inner = data
        for name in way:
            inner = inner[name]
        inner[last] = value
    return data


def happened(change: dict[str, Any]) -> dict[str, Any]:
    """Return the sample with keys of its first event changed."""
    data = sample()
    next(step for step in data["steps"] if step["events"])["events"][0].update(change)
    return data


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "the trace is cut off at character 0"),
        ('{"format": "kvm-ref-trace/1", "steps": [', "cut off"),
        ('{"format": "kvm-ref-trace/1", "observed": nul', "cut off"),
        ('{"format": "kvm-ref-tr', "cut off"),
        ("step 1\n", "not JSON at line 1"),
        ('{"format": "kvm-ref-trace/2"}', "format is 'kvm-ref-trace/2', expected 'kvm-ref-trace/1'"),
        ("[]", "format is 'list', expected 'kvm-ref-trace/1'"),
        ("[" * 100_000, "nested too deeply"),
        ('{"format": ' + HUGE + "}", "a number of too many digits"),
        (json.dumps(changed({"source.backend": "x86"})), "unknown backend 'x86'"),
        (json.dumps(changed({"source": {}})), "lacks 'backend'"),
        (json.dumps(changed({"machine.cpus": 0})), "0 CPUs, expected 1 to 8192"),
        (json.dumps(changed({"machine.cpus": 10**9})), "1000000000 CPUs, expected 1 to 8192"),
        (json.dumps(changed({"machine.cpus": 1e400})), "malformed"),
        (json.dumps(changed({"machine.cpus": "0-3"})), "cpus is '0-3', expected a number from 0 on"),
        (json.dumps(changed({"steps": []})), "steps are empty, expected one at least"),
        (json.dumps(changed({"steps": {}})), "steps is no list of objects"),
        (json.dumps(changed({"steps": [5]})), "steps is no list of objects"),
        (json.dumps(changed({"source": 5})), "source is no object"),
        (json.dumps(changed({"steps": [{"verbs": [], "results": None, "events": []}]})), "results are None"),
        (json.dumps(changed({"steps": [{"verbs": ["load"], "results": ["0"], "events": []}]})), "results are ['0']"),
        (json.dumps(changed({"machine.possible": 4})), "possible of the machine is 4, expected a list of CPUs, as '0-3,8'"),
        (json.dumps(changed({"machine.present": 3})), "present of the machine is 3, expected a list of CPUs, as '0-3,8'"),
        (json.dumps(changed({"machine.online": [0]})), "online of the machine is [0], expected a list of CPUs"),
        (json.dumps(changed({"source.commits": ["b31e7c2"]})), "commits is no object"),
        (json.dumps(happened({"kind": []})), "event of kind [], expected one of enter, exit, goto, inject,"),
        (json.dumps(happened({"value": []})), "is no text and no number"),
        (json.dumps(happened({"kind": None})), "event of kind None, expected one of enter,"),
        (json.dumps(happened({"cpu": 0.5})), "cpu is 0.5, expected a number from 0 on"),
        (json.dumps(happened({"depth": -1})), "depth is -1, expected a number from 0 on"),
        (json.dumps(happened({"depth": True})), "depth is True, expected a number"),
        (json.dumps(happened({"task": {}})), "task is {}, expected a text"),
        (json.dumps(happened({"function": None})), "function is None, expected a text"),
        (json.dumps(changed({"faults": [{"function": "misc_register", "effect": 1.5}]})), "effect of a fault is 1.5"),
        (json.dumps(changed({"faults": [{"function": "misc_register", "nth": 0}]})), "nth of a fault is 0"),
        (json.dumps(changed({"faults": [{"function": "misc_register", "nth": "1"}]})), "nth of a fault is '1'"),
        (json.dumps(changed({"faults": [{"function": "misc_register", "cpu": "x"}]})), "cpu of a fault is 'x'"),
        (json.dumps(changed({"faults": [{"function": 5}]})), "function of a fault is 5"),
        (json.dumps(changed({"machine.features": {"wings": True}})), "unknown feature 'wings'"),
        (json.dumps(changed({"machine.features": 5})), "malformed: features is no object"),
        (json.dumps(changed({"params": {"enable_virt": True}})), "did you mean enable_virt_at_load?"),
        (json.dumps(changed({"source.commits": {"b31e7c2": True, "zz": True}})), "unknown commit 'zz'"),
        (json.dumps(changed({"faults": [{"function": "misc_registr"}]})), "did you mean misc_register?"),
        (json.dumps(changed({"faults": [{"nth": 1}]})), "lacks 'function'"),
        (json.dumps(changed({"faults": [{"function": "misc_register", "value": -9999}]})), "malformed"),
        (json.dumps(changed({"faults": [{"function": "misc_register", "where": 5}]})), "malformed"),
        (json.dumps(changed({"observed": 5})), "observed is no list of texts"),
        (json.dumps(changed({"log": [5]})), "log is no list of texts"),
        (json.dumps(changed({"after": {"before": 5}})), "malformed"),
        (json.dumps(changed({"steps": [{"verbs": ["fly"], "results": [0], "events": []}]})), "unknown verb 'fly'"),
        (
            json.dumps(changed({"machine.possible": "0-1", "machine.present": "0-3", "machine.online": "0"})),
            "impossible CPUs: 0 online, 0-3 present, 0-1 possible",
        ),
    ],
)  # fmt: skip
def test_a_trace_that_cannot_be_compared(kvm_ref: Command, tmp_path: Path, text: str, says: str) -> None:
    """A file that is cut off, no trace, or tells of what does not exist, is refused in one line."""
    path = tmp_path / "f.json"
    path.write_text(text, encoding="utf-8")
    refused(kvm_ref("compare", str(path)), says)


def test_two_traces_of_which_one_does_not_say_its_backend(kvm_ref: Command, tmp_path: Path) -> None:
    """The built names of functions are a backend's, so two kernel traces need it as well."""
    path = tmp_path / "f.json"
    path.write_text(json.dumps(changed({"source": {}})), encoding="utf-8")
    refused(kvm_ref("compare", str(path), str(DATA / "g_init_misc_register.json")), "lacks 'backend'")


def places(data: Any, way: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the way to each part of a JSON value."""
    if way:
        yield way
    if isinstance(data, dict):
        for key in data:
            yield from places(data[key], (*way, key))
    elif isinstance(data, list):
        for n in range(min(len(data), 3)):
            yield from places(data[n], (*way, n))


ODD: tuple[Any, ...] = (None, 5, -1, 1e400, "", "x", [], ["x"], {}, {"x": 1}, [[]], [{}], True, 10**30)


def test_odd_traces_are_refused_or_compared() -> None:
    """Any part of a trace may be anything: nothing but the two kinds of refusal comes of it."""
    chance = random.Random(6)
    good = sample()
    ways = list(places(good))
    refusals: list[str] = []
    for _ in range(400):
        data = copy.deepcopy(good)
        way = chance.choice(ways)
        inner = data
        for name in way[:-1]:
            inner = inner[name]
        inner[way[-1]] = chance.choice(ODD)
        try:
            trace = load(json.dumps(data))
            compare(trace, load(json.dumps(good)))
            if chance.random() < 0.2:
                against_model(trace, {})
        except (TraceError, Misuse) as error:
            refusals.append(str(error))
    assert len(refusals) > 100
    assert not any("\n" in text for text in refusals)


def test_odd_command_lines_are_refused_or_run(kvm_ref: Command) -> None:
    """Words put together at random give 0, 1 or one line and 2, never a traceback."""
    chance = random.Random(7)
    words = [
        "run",
        "list",
        "ladder",
        "compare",
        "load",
        "unload",
        "load=kvm",
        "foreign-on=1",
        "foreign-on=9",
        "--fail",
        "misc_register#2",
        "x@1=EIO",
        "--cpus",
        "2",
        "1-0",
        "--backend",
        "s390",
        "--param",
        "enable_virt_at_load=0",
        "a=b",
        "--with",
        "b31e7c24b475",
        "--without",
        "verbs",
        "faults",
        "kvm_init",
        "--format",
        "json",
        "dot",
        "text",
        "--",
        "-h",
        "-",
        "--reboot-at",
        "register_syscore",
        "=",
        "@",
        "#",
        "1e9",
        "…",
        "\x7f",
    ]
    seen = set()
    for _ in range(150):
        done = kvm_ref(chance.choice(words[:3]), *chance.choices(words, k=chance.randint(1, 5)))
        seen.add(done.status)
        if done.status == 2:
            refused(done, "")
    assert seen >= {0, 2}
