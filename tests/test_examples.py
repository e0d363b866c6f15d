# SPDX-License-Identifier: GPL-2.0-only
"""Every example in README and docs runs, and prints what is written there.

A ``console`` block holds commands after ``$`` and what they print; a line ``...`` stands for any
lines, and one that begins with ``>`` goes on with the command. A ``pycon`` block is a doctest.
"""

from __future__ import annotations

import doctest
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from tree.kernel_source import kernel_tree

TOP = Path(__file__).parent.parent
PAGES = [TOP / "README.md", TOP / "CONTRIBUTING.md", *sorted((TOP / "docs").glob("**/*.md"))]
BLOCK = re.compile(r"^```(console|pycon)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(kind: str) -> list[tuple[str, str]]:
    return [
        (f"{page.relative_to(TOP)}:{page.read_text(encoding='utf-8')[: m.start()].count(chr(10)) + 1}", m[2])
        for page in PAGES
        for m in BLOCK.finditer(page.read_text(encoding="utf-8"))
        if m[1] == kind
    ]


def commands(block: str) -> list[tuple[str, str]]:
    """Return each command of a block with what it is to print."""
    out: list[tuple[str, str]] = []
    for line in block.splitlines():
        if line.startswith("$ "):
            out.append((line[2:], ""))
        elif line.startswith("> ") and not out[-1][1]:
            out[-1] = (f"{out[-1][0]} {line[2:]}", "")
        else:
            out[-1] = (out[-1][0], out[-1][1] + line + "\n")
    return out


def matches(expected: str, printed: str) -> bool:
    pattern = "".join("(?:.*\n)*?" if e == "..." else re.escape(e) + "\n" for e in expected.splitlines())
    return re.fullmatch(pattern, printed) is not None


# Of each command: the block that it stands in, itself, and what it is to print.
EXAMPLES = [(place, block, *example) for place, block in blocks("console") for example in commands(block)]


@pytest.mark.parametrize(
    ("place", "block", "command", "expected"), EXAMPLES, ids=[f"{e[0]} {e[2]}" for e in EXAMPLES]
)
def test_a_command_prints_what_the_page_says(
    place: str, block: str, command: str, expected: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The page and the program agree, line by line."""
    # A page may use the text of a kernel, and one directory for all its commands. What one command of a
    # block makes of a kernel, the next ones look at.
    kernels = {
        name: str(kernel_tree(version))
        for name, version in (("LINUX", "6.12"), ("LINUX_6_1", "6.1"))
        if re.search(rf"\${name}\b", block)
    }
    scratch = tmp_path_factory.getbasetemp() / place.partition(":")[0].replace("/", "-")
    scratch.mkdir(exist_ok=True)
    env = {
        **os.environ,
        **kernels,
        "TMP": str(scratch),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "NO_COLOR": "1",
    }
    # From a clone the script makes an environment and passes its arguments on; here there is one.
    command = command.replace("./tools/kvm-ref ", "kvm-ref ")
    done = subprocess.run(
        command,
        shell=True,
        cwd=TOP,
        env=env,
        capture_output=True,
        text=True,
        check=False,
        executable="/bin/bash",
    )
    assert matches(expected, done.stdout + done.stderr), f"{place}: {done.stdout}{done.stderr}"


def sessions() -> dict[str, str]:
    """Return the Python examples of each page; later ones go on from earlier ones."""
    out: dict[str, str] = {}
    for place, block in blocks("pycon"):
        page = place.partition(":")[0]
        out[page] = out.get(page, "") + block
    return out


@pytest.mark.parametrize(("page", "session"), sessions().items(), ids=[*sessions()])
def test_a_session_prints_what_the_page_says(
    page: str, session: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A Python example gives what is written below it."""
    monkeypatch.chdir(TOP)
    example = doctest.DocTestParser().get_doctest(session, {}, page, page, 0)
    report: list[str] = []
    result = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(example, out=report.append)
    assert result.failed == 0, "".join(report)


def test_there_are_examples() -> None:
    """The pattern above finds what the pages hold."""
    assert len(EXAMPLES) >= 8
    assert matches("a\n...\nd\n", "a\nb\nc\nd\n")
    assert not matches("a\nc\n", "a\nb\nc\n")
