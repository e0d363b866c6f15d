# SPDX-License-Identifier: GPL-2.0-only
"""The command line: every command and format, help, exit status, colour, pipes."""

from __future__ import annotations

import argparse
import io
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from command_line import Command, process

import kvm_ref as package
from kvm_ref import cli, commands
from kvm_ref.errno import EIO, KernelError
from kvm_ref.trace import load

DATA = Path(__file__).parent / "data"
COMMANDS = ("run", "matrix", "ladder", "list", "compare")


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help_shows_examples(kvm_ref: Command, command: str) -> None:
    """--help of the command and of each of its commands ends with commands that one can type."""
    done = kvm_ref(*command.split(), "--help")
    assert (done.status, done.err) == (0, "")
    examples = done.out.partition("examples:\n")[2].splitlines()
    assert any(line.startswith(f"  kvm-ref {command}".rstrip()) for line in examples)


@pytest.mark.parametrize("command", [*COMMANDS, "latency", "tree"])
def test_a_command_by_itself(command: str) -> None:
    """The command line made for one command knows that one only, and the same of it as the whole does."""
    (alone,), whole = (_commands(cli.parser(only)) for only in (command, None))
    assert alone == command
    assert _commands(cli.parser(command))[command] == whole[command]


def _commands(top: argparse.ArgumentParser) -> dict[str, str]:
    return {
        name: one.format_help()
        for action in top._actions
        if isinstance(action, argparse._SubParsersAction)
        for name, one in action.choices.items()
    }


def test_every_option_is_explained(kvm_ref: Command) -> None:
    """Each option of `run` and `matrix` that a user may give has a word of help beside it."""
    for command, options in (
        ("run", "--backend --cpus --param --cmdline --feature --with --without --fail --reboot-at --format"),
        ("matrix", "--backend --cpus --param --with --without --fail-cpus --jobs --format"),
    ):
        text = re.sub(r"\s+", " ", kvm_ref(command, "--help").out.partition("options:")[2])
        for option in options.split():
            assert re.search(rf"{option} \S+ [a-z]", text), option


@pytest.mark.parametrize(
    "args",
    [
        "load --fail misc_register unload=kvm",
        "--fail misc_register load unload=kvm",
        "load unload=kvm --fail misc_register",
        "load --fail misc_register -- unload=kvm",
        "--fail misc_register -- load unload=kvm",
        "load --fail misc_register unload=kvm --cpus 4",
    ],
)
def test_verbs_stand_around_options(kvm_ref: Command, args: str) -> None:
    """Wherever the options are, the verbs are done in the order in which they are given."""
    done = kvm_ref("run", "--format", "json", *args.split())
    assert (done.status, done.err) == (1, "")
    found = [(step["verbs"], step["results"]) for step in done.json["steps"]]
    assert found == [(["load"], [-16]), (["unload=kvm"], [0])]


def test_verbs_of_a_matrix_stand_around_options(kvm_ref: Command) -> None:
    """The same holds of matrix."""
    args = ("matrix", "--backend", "loongarch", "--cpus", "1")
    done = kvm_ref(*args, "load", "create-vm", "--faults", "1", "close-vm", "--format", "json", "unload")
    assert (done.status, done.err) == (1, "")
    assert done.out == kvm_ref(*args, "--format", "json", "load", "create-vm", "close-vm", "unload").out


def test_traces_stand_around_options(kvm_ref: Command) -> None:
    """So do those of compare."""
    path = str(DATA / "load_default.json")
    done = kvm_ref("compare", path, "--param", "x=1", path)
    assert (done.status, done.err) == (
        2,
        "kvm-ref: --param is for the model's run: it goes with one trace, not two\n",
    )


def test_a_parser_reads_the_command_line_of_its_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """That is what argparse does if it is given none."""
    monkeypatch.setattr(sys, "argv", ["kvm-ref", "run", "load", "--cpus", "2", "unload"])
    assert cli.parser().parse_args().verbs == ["load", "unload"]


def test_version(kvm_ref: Command) -> None:
    """--version names the command and the version of the package."""
    done = kvm_ref("--version")
    assert (done.status, done.out) == (0, f"kvm-ref {package.__version__}\n")


def test_status_says_whether_something_was_found(kvm_ref: Command) -> None:
    """0: all is well, 1: a finding or a difference, 2: the request makes no sense."""
    trace = str(DATA / "load_default.json")
    other = str(DATA / "load_default_1cpu.json")
    assert kvm_ref("run", "load", "unload").status == 0
    assert kvm_ref("run", "--fail", "misc_register", "load").status == 1
    assert kvm_ref("run", "fly").status == 2
    assert kvm_ref("compare", trace).status == 0
    assert kvm_ref("compare", trace, other).status == 1
    assert kvm_ref("compare", trace, "nowhere").status == 2
    assert kvm_ref("matrix", "--backend", "s390", "--cpus", "1", "load=kvm").status in (0, 1)


def test_as_a_process_of_its_own() -> None:
    """``python -m kvm_ref`` is the same command, and gives the status to the shell."""
    assert process("run", "load").status == 0
    done = process("run", "--fail", "misc_register", "load")
    assert (done.status, done.lines[4]) == (1, "== load: -EBUSY")
    done = process()
    assert (done.status, done.out, done.err.count("\n")) == (2, "", 1)


def test_the_installed_command_is_main() -> None:
    """The script that the package installs calls the same function."""
    script = Path(sys.executable).parent / "kvm-ref"
    done = subprocess.run([script, "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"kvm-ref {package.__version__}\n"


def test_run_json_is_a_trace_with_findings(kvm_ref: Command) -> None:
    """--format json of run: the keys of the trace format, one step a verb, and the findings."""
    done = kvm_ref("run", "--cpus", "2", "--fail", "misc_register", "--format", "json", "load", "unload=kvm")
    data = done.json
    trace = {"format", "source", "machine", "params", "faults", "observed", "steps", "after", "log"}
    assert data.keys() - {"idle"} == trace | {"findings"}
    assert [(s["verbs"], s["results"]) for s in data["steps"]] == [(["load"], [-16]), (["unload=kvm"], [0])]
    assert data["source"] == {"kind": "model", "kernel": "6.12.117", "backend": "x86-svm"}
    assert data["faults"] == [{"function": "misc_register", "nth": 1, "under": None, "value": None}]
    assert [f["judge"] for f in data["findings"]] == ["leak"]
    assert load(done.out).to_json().keys() == trace


def test_matrix_json_has_the_keys_of_its_format(kvm_ref: Command) -> None:
    """kvm-ref-matrix/1: runs, labels with how often each was reached, and what never was."""
    done = kvm_ref("matrix", "--backend", "mips", "--cpus", "2", "--format", "json", "load")
    data = done.json
    assert data.keys() == {"format", "runs", "labels", "unreached"}
    assert data["format"] == "kvm-ref-matrix/1"
    named = {"backend", "cpus", "params", "fault", "result", "gotos", "findings"}
    assert all(run.keys() >= named for run in data["runs"])
    assert all(isinstance(n, int) and n > 0 for n in data["labels"].values())
    assert all(isinstance(name, str) for name in data["unreached"])
    run = next(r for r in data["runs"] if r["fault"] == "misc_register")
    assert (run["backend"], run["cpus"], run["result"]) == ("mips", 2, -16)
    assert run["params"] == {"enable_virt_at_load": True}
    assert run["gotos"] == ["kvm_init:err_register"]
    assert data["labels"]["kvm_init:err_register"] >= 2
    finding = next(f for f in run["findings"] if f["judge"] == "leak")
    assert (finding["resource"], finding["commit"]) == ("debugfs:kvm", "b31e7c24b475")


@pytest.mark.parametrize("what", cli.LISTS)
def test_lists_in_both_formats(kvm_ref: Command, what: str) -> None:
    """Each list has as many rows as text as it has in JSON, and each row begins with its name."""
    text, data = kvm_ref("list", what), kvm_ref("list", what, "--format", "json")
    assert (text.status, data.status, text.err) == (0, 0, "")
    assert [line.split()[0] for line in text.lines] == [row["name"].split()[0] for row in data.json]
    assert len(text.lines) > 0


@pytest.mark.parametrize("form", ["text", "json", "dot", "mermaid"])
def test_ladder_in_every_format(kvm_ref: Command, form: str) -> None:
    """The six labels of kvm_init() (virt/kvm/kvm_main.c) are in every picture, in their order."""
    done = kvm_ref("ladder", "kvm_init", "--format", form)
    assert (done.status, done.err) == (0, "")
    labels = ["err_register", "err_virt", "err_vfio", "err_async_pf", "err_irqfd", "err_cpu_kick_mask"]
    text = done.out if form != "json" else json.dumps([x["name"] for x in done.json["ladder"]["labels"]])
    found = re.findall(r"(err_\w+)(?=:|\")", text)
    assert found == labels


def test_compare_says_how_many_events_are_equal(kvm_ref: Command) -> None:
    """load_default.json holds 238 events of a real kernel."""
    done = kvm_ref("compare", str(DATA / "load_default.json"))
    assert done.out.startswith("equal: all 238 events, the results and what is left behind, in 3 steps")


def test_compare_shows_the_first_difference(kvm_ref: Command) -> None:
    """Both lines and the four before them; with another parameter the model does less."""
    path = str(DATA / "load_default.json")
    done = kvm_ref("compare", path, "--param", "enable_virt_at_load=0")
    assert done.status == 1
    assert done.lines[0].startswith("different: step 2 of 3 (load), event")
    assert [line[:4] for line in done.lines[1:7]] == ["    ", "    ", "    ", "    ", "  - ", "  + "]
    assert done.lines[5].endswith(f"<- {path}")
    assert done.lines[6].endswith("<- the model")
    assert re.fullmatch(r"\d+ events are equal before that", done.lines[7])


def test_compare_of_a_trace_with_itself(kvm_ref: Command, tmp_path: Path) -> None:
    """What `run` prints as JSON can be read back and compared."""
    path = tmp_path / "trace.json"
    path.write_text(kvm_ref("run", "--format", "json", "load").out, encoding="utf-8")
    assert kvm_ref("compare", str(path), str(path)).status == 0
    assert kvm_ref("compare", str(path)).out.startswith("equal: all ")


class Terminal(io.StringIO):
    """An output that says it is a terminal."""

    def isatty(self) -> bool:
        """Say so."""
        return True


@pytest.mark.parametrize(
    ("env", "coloured"),
    [({}, True), ({"NO_COLOR": "1"}, False), ({"NO_COLOR": ""}, True), ({"TERM": "dumb"}, False)],
)
def test_colour_on_a_terminal(monkeypatch: pytest.MonkeyPatch, env: dict[str, str], coloured: bool) -> None:
    """Colour is for terminals, and not for those who do not want it (no-color.org)."""
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    for args in (["run", "--fail", "misc_register", "load"],):
        out = Terminal()
        monkeypatch.setattr(sys, "stdout", out)
        cli.main(args)
        assert ("\033[" in out.getvalue()) == coloured


def test_no_colour_in_a_pipe(kvm_ref: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is not a terminal gets plain text."""
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert "\033" not in kvm_ref("run", "--fail", "misc_register", "load").out
    assert "\033" not in kvm_ref("run", "--fail", "misc_register", "--format", "function_graph", "load").out


def test_colour_changes_no_text(kvm_ref: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the escape sequences, what a terminal shows is what a pipe gets."""
    args = ("run", "--backend", "x86-vmx", "--fail", "kvm_vfio_ops_init", "load", "unload")
    plain = kvm_ref(*args).out
    monkeypatch.setattr(commands, "_colour", lambda: True)
    coloured = kvm_ref(*args).out
    assert coloured != plain
    assert re.sub("\033\\[\\d*m", "", coloured) == plain


def test_a_reader_that_leaves_early() -> None:
    """``kvm-ref matrix | head -1`` ends quietly."""
    done = subprocess.run(
        f"{sys.executable} -m kvm_ref run --cpus 64 load unload | head -1",
        shell=True, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.stdout.count("\n"), done.stderr) == (1, "")


def test_a_full_disk_is_said_in_one_line() -> None:
    """Output that cannot be written is no traceback."""
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "kvm_ref", "run", "load"],
            stdout=full, stderr=subprocess.PIPE, text=True, check=False,
        )  # fmt: skip
    assert (done.returncode, done.stderr) == (2, "kvm-ref: cannot go on: No space left on device\n")


def test_a_terminal_that_cannot_show_a_character() -> None:
    """Where there is no "…", there is a question mark."""
    done = process("matrix", "--backend", "mips", "--cpus", "1", "load", PYTHONIOENCODING="ascii")
    assert (done.status, done.err) == (1, "")
    assert "?tualization:err_cpuhp" in done.out


def test_interrupted(kvm_ref: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C ends the command as a signal would, without a traceback."""

    def interrupt(args: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setitem(commands.COMMANDS, "list", interrupt)
    done = kvm_ref("list", "verbs")
    assert (done.status, done.err) == (130, "")


def test_a_bug_of_the_model_is_not_hidden(kvm_ref: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """A kernel error that nobody caught is no trouble with a file."""

    def escape(args: object) -> int:
        raise KernelError(EIO)

    monkeypatch.setitem(commands.COMMANDS, "list", escape)
    with pytest.raises(KernelError):
        kvm_ref("list", "verbs")
