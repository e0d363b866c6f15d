# SPDX-License-Identifier: GPL-2.0-only
"""Output to a file: refused before the work begins, whole or not there, and no file is lost."""

from __future__ import annotations

import os
import resource
import stat
from pathlib import Path

import pytest
from command_line import Command, process

from kvm_ref.misuse import Misuse
from kvm_ref.output import Output

ARGS = ("matrix", "--backend", "loongarch", "--cpus", "1")


@pytest.mark.parametrize("form", ["text", "json", "ktap"])
def test_a_file_holds_what_stdout_would(kvm_ref: Command, tmp_path: Path, form: str) -> None:
    """-o takes every format, byte by byte, prints nothing, and leaves nothing else in the folder."""
    file = tmp_path / "matrix"
    done = kvm_ref(*ARGS, "--format", form, "-o", str(file))
    assert (done.status, done.out, done.err) == (1, "", "")
    assert file.read_text() == kvm_ref(*ARGS, "--format", form).out
    assert list(tmp_path.iterdir()) == [file]


def test_a_dash_is_stdout(kvm_ref: Command) -> None:
    """-o - prints, as without it."""
    assert kvm_ref(*ARGS, "-o", "-").out == kvm_ref(*ARGS).out


def test_a_refusal_comes_before_the_matrix(
    kvm_ref: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What cannot be written is not run."""
    monkeypatch.setattr("kvm_ref.commands.run_matrix", lambda *_, **__: pytest.fail("it ran"))
    done = kvm_ref(*ARGS, "-o", str(tmp_path))
    assert (done.status, done.err) == (2, f"kvm-ref: cannot write '{tmp_path}': Is a directory\n")


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("", "No such file or directory"),
        ("folder", "Is a directory"),
        ("file/", "Is a directory"),
        ("no/file", "No such file or directory"),
        ("file/file", "Not a directory"),
        ("x" * 300, "File name too long"),
        ("nul\0", "embedded null byte"),
    ],
)
def test_what_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, says: str
) -> None:
    """Each is refused in one line with the system's reason."""
    monkeypatch.chdir(tmp_path)
    Path("folder").mkdir()
    Path("file").touch()
    with pytest.raises(Misuse, match=says) as refused:
        Output(name)
    assert str(refused.value).startswith(f"cannot write {name!r}: ")
    assert sorted(os.listdir()) == ["file", "folder"]


def test_a_file_that_may_not_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file without write permission is refused, though its folder would let it be replaced."""
    file = tmp_path / "file"
    file.write_text("old")
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(Misuse, match="Permission denied"):
        Output(str(file))
    assert (file.read_text(), os.listdir(tmp_path)) == ("old", ["file"])


def test_a_folder_that_may_not_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """There a new file is refused; one that is there, and may be written, is written itself."""

    def refuse(**_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("tempfile.mkstemp", refuse)
    with pytest.raises(Misuse, match=r"cannot write '.*new': Permission denied"):
        Output(str(tmp_path / "new"))
    file = tmp_path / "file"
    file.write_text("old")
    with Output(str(file)) as out:
        assert file.read_text() == "old"
        out.write(["new"])
    assert file.read_text() == "new\n"


def test_a_failure_leaves_the_old_file(tmp_path: Path) -> None:
    """What was there stays, and nothing is left beside it, if the work fails or nothing is written."""
    file = tmp_path / "file"
    file.write_text("old")

    def fails() -> list[str]:
        with Output(str(file)) as out:
            out.write(str(1 // n) for n in (1, 0))
        return []

    with pytest.raises(ZeroDivisionError):
        fails()
    with Output(str(file)):
        pass
    assert (file.read_text(), os.listdir(tmp_path)) == ("old", ["file"])


def test_a_full_disk_is_told_before(tmp_path: Path) -> None:
    """What has no room for a beginning is refused before the work, and leaves nothing behind."""
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 12, old[1]))
    try:
        with pytest.raises(Misuse, match=r"^cannot write '.*/file': File too large$"):
            Output(str(tmp_path / "file"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
    assert os.listdir(tmp_path) == []
    with pytest.raises(Misuse, match=r"^cannot write '/dev/full': No space left on device$"):
        Output("/dev/full")


def test_a_short_text_is_all_there_is(tmp_path: Path) -> None:
    """Nothing of what was tried before is left in the file."""
    with Output(str(tmp_path / "file")) as out:
        out.write(["a"])
    assert (tmp_path / "file").read_bytes() == b"a\n"


def test_a_device_takes_what_comes() -> None:
    """A device is written to and not replaced; one that is full is told of in one line, status 2."""
    with Output("/dev/null") as out:
        out.write(["text"])
    assert stat.S_ISCHR(Path("/dev/null").stat().st_mode)
    done = process(*ARGS, "-o", "/dev/full")
    assert (done.status, done.err) == (2, "kvm-ref: cannot write '/dev/full': No space left on device\n")


def test_modes_and_links(tmp_path: Path) -> None:
    """A new file has the mode that any has, an old one keeps its own, and a link stays a link."""
    new, old, link = tmp_path / "new", tmp_path / "old", tmp_path / "link"
    old.touch()
    old.chmod(0o640)
    link.symlink_to(old)
    before = os.umask(0o027)
    try:
        for file in (new, link):
            with Output(str(file)) as out:
                out.write([file.name])
    finally:
        os.umask(before)
    assert [stat.S_IMODE(p.stat().st_mode) for p in (new, old)] == [0o640, 0o640]
    assert link.is_symlink()
    assert old.read_text() == "link\n"


def test_text_that_is_no_unicode(tmp_path: Path) -> None:
    """A lone surrogate, as from bytes that are no text, is no reason to stop."""
    with Output(str(tmp_path / "file")) as out:
        out.write(["a\udc80b"])
    assert (tmp_path / "file").read_bytes() == b"a?b\n"


def test_a_terminal_shows_no_html(kvm_ref: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """HTML goes to a file or a pipe; on a terminal it is refused before the matrix runs."""
    args = (*ARGS, "--format", "html", "load")
    assert kvm_ref(*args).out.startswith("<!doctype html>\n")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setattr("kvm_ref.commands.run_matrix", lambda *_, **__: pytest.fail("it ran"))
    done = kvm_ref(*args)
    assert (done.status, done.out) == (2, "")
    assert done.err == (
        "kvm-ref: a terminal shows no HTML: give a file, as in --format html -o matrix.html\n"
    )
