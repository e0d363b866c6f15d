# SPDX-License-Identifier: GPL-2.0-only
"""Standard output and error that are closed, or take nothing: one line at most, and the right status."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

from kvm_ref.misuse import Misuse
from kvm_ref.streams import Closed, discard

CLOSED = "kvm-ref: standard output is closed: expected a terminal, a pipe or a file\n"
FULL = "kvm-ref: cannot go on: No space left on device\n"
MATRIX = "matrix --backend loongarch --cpus 1 load"


def shell(command: str, where: str) -> tuple[int, str, str]:
    """Run ``kvm-ref COMMAND`` with its streams redirected; return its status, stdout and stderr."""
    return python(f"-m kvm_ref {command} {where}")


def python(command: str) -> tuple[int, str, str]:
    """Run Python from a shell, with buffers as it has them by itself."""
    done = subprocess.run(
        f"{sys.executable} {command}",
        env={name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"},
        shell=True, capture_output=True, text=True, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize(
    "command",
    [
        "run load",
        "run --format json load",
        "run --format function_graph load",
        "run --format perfetto load",
        MATRIX,
        f"{MATRIX} --format html",
        "list verbs",
        "list verbs --format json",
        "ladder kvm_init",
        "latency",
        "--help",
        "run --help",
        "--version",
    ],
)
def test_stdout_is_closed(command: str) -> None:
    """Every command and format that prints says so in one line."""
    assert shell(command, ">&-") == (2, "", CLOSED)


def test_a_closed_stdout_is_told_before_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """A matrix that could not be printed is not run."""
    from kvm_ref.cli import main

    monkeypatch.setattr("kvm_ref.commands.run_matrix", lambda *_, **__: pytest.fail("it ran"))
    monkeypatch.setattr("sys.stdout", Closed())
    assert main(MATRIX.split()) == 2


def test_a_file_needs_no_stdout(tmp_path: Path) -> None:
    """With -o nothing is printed, and the file is written."""
    file = tmp_path / "matrix"
    assert shell(f"{MATRIX} -o {file}", ">&-") == (1, "", "")
    assert file.read_text() == shell(MATRIX, "")[1]


def test_no_file_takes_the_place_of_stdout(tmp_path: Path) -> None:
    """A file that is opened later is not what a child, or a library, would take for the standard output."""
    code = f"import kvm_ref.streams; kvm_ref.streams.mend(); exit(open('{tmp_path}/file', 'w').fileno() <= 2)"
    assert python(f'-c "{code}" >&-') == (0, "", "")
    assert python(f'-c "{code}" <&- >&- 2>&-') == (0, "", "")


def test_stderr_is_closed() -> None:
    """No message goes anywhere else, and the status is the same."""
    status, out, err = shell("run --cmdline kvm.other=1 load", "2>&-")
    assert (status, err) == (0, "")
    assert out.startswith("# x86-svm, ")
    assert "kvm.other" not in out
    assert shell("run fly", "2>&-") == (2, "", "")
    assert shell("run load", ">&- 2>&-") == (2, "", "")
    assert shell("run load", "<&- >&- 2>&-") == (2, "", "")


def test_stderr_takes_nothing() -> None:
    """A message that cannot be written changes neither the status nor the output."""
    assert shell("run fly", "2>/dev/full") == (2, "", "")
    assert shell("run --bogus", "2>/dev/full") == (2, "", "")
    assert shell("run load", ">/dev/full 2>/dev/full") == (2, "", "")
    status, out, err = shell("run --cmdline kvm.other=1 load", "2>/dev/full")
    assert (status, err) == (0, "")
    assert out == shell("run --cmdline kvm.other=1 load", "2>/dev/null")[1]


@pytest.mark.parametrize("command", ["--help", "run --help", "--version"])
def test_help_for_a_full_disk(command: str) -> None:
    """What argparse prints is output, too."""
    assert shell(command, ">/dev/full") == (2, "", FULL)


def test_help_for_a_reader_that_leaves_early() -> None:
    """``kvm-ref matrix --help | true`` ends quietly."""
    assert shell("matrix --help", "| true") == (0, "", "")


def test_closed_takes_an_empty_text_only() -> None:
    """Flushing is no output."""
    print(end="", file=Closed(), flush=True)
    with pytest.raises(Misuse, match=r"^standard output is closed: "):
        Closed().write("text")


def test_what_has_no_descriptor_is_left_alone() -> None:
    """As the outputs of tests have none."""
    stream = io.StringIO("text")
    discard(stream)
    assert stream.getvalue() == "text"
