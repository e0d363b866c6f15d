# SPDX-License-Identifier: GPL-2.0-only
"""The command in tests: run within this process, or as a user does, in one of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import attrs
import pytest

from kvm_ref.cli import main


@attrs.frozen
class Done:
    """What a command gave: its status, and what it wrote to stdout and stderr."""

    status: int | str | None
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        """The lines of stdout."""
        return self.out.splitlines()

    @property
    def json(self) -> Any:
        """What stdout holds, as JSON."""
        return json.loads(self.out)


class Command:
    """Runs the command in this process."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def __call__(self, *args: str) -> Done:
        """Run ``kvm-ref ARGS``."""
        self._capsys.readouterr()
        try:
            status: int | str | None = main(args)
        except SystemExit as left:
            status = left.code
        out, err = self._capsys.readouterr()
        return Done(status, out, err)


def process(*args: str, **env: str) -> Done:
    """Run ``python -m kvm_ref ARGS`` in a process of its own, with more of an environment."""
    done = subprocess.run(
        [sys.executable, "-m", "kvm_ref", *args],
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        check=False,
        encoding="utf-8",
    )
    return Done(done.returncode, done.stdout, done.stderr)
