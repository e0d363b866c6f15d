# SPDX-License-Identifier: GPL-2.0-only
"""The example project of the documentation, with the built wheel, in an environment of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

TOP = Path(__file__).parent.parent
EXAMPLE = TOP / "docs/example-project"


def command(*words: str | Path, cwd: Path) -> str:
    # Nothing of this run, or of the clone, is to be seen there.
    env = {k: v for k, v in os.environ.items() if not k.startswith(("COV", "PYTEST", "PYTHON", "COVERAGE"))}
    done = subprocess.run(
        [str(word) for word in words], cwd=cwd, env=env, capture_output=True, text=True, check=False
    )
    if done.returncode and "No matching distribution" in done.stderr and not os.environ.get("CI"):
        pytest.skip("no package index can be reached: go online, or set PIP_INDEX_URL")
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_example_project_runs_from_the_wheel(tmp_path: Path) -> None:
    """The wheel holds all that a test project needs, and its tests pass far from the clone."""
    command(
        sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", tmp_path, TOP, cwd=tmp_path
    )
    (wheel,) = tmp_path.glob("kvm_ref-*.whl")
    project = tmp_path / "project"
    shutil.copytree(EXAMPLE, project, ignore=shutil.ignore_patterns(".*", "__pycache__"))
    command(sys.executable, "-m", "venv", tmp_path / "venv", cwd=tmp_path)
    python = tmp_path / "venv/bin/python"
    command(python, "-m", "pip", "install", "-q", f"{wheel}[hypothesis]", project, cwd=tmp_path)
    where = command(python, "-c", "import kvm_ref; print(kvm_ref.__file__)", cwd=project)
    assert where.startswith(str(tmp_path / "venv"))
    said = command(python, "-m", "pytest", "-q", "-p", "no:cacheprovider", cwd=project)
    passed = int(said.splitlines()[-1].split()[0])
    files = [path.read_text(encoding="utf-8") for path in (EXAMPLE / "tests").glob("*.py")]
    # Each function is an item at least, and that of the matrix is one for each fault.
    assert passed > sum(text.count("\ndef test_") for text in files) + 40
    assert f"{passed} passed" in said
