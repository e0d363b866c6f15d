# SPDX-License-Identifier: GPL-2.0-only
"""The browser that tests look at the page with."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser

_NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
_STRICT = ("CI", "KVM_REF_NO_SKIP")
# A browser that is driven needs no sandbox against pages of one's own, and asks nobody for anything.
_ARGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip


def chromium() -> str:
    """Return the browser's path; without one, skip the test, or fail it where nobody may skip."""
    named = os.environ.get("KVM_REF_CHROMIUM")
    found = next(filter(None, map(shutil.which, [named] if named else _NAMES)), None)
    if found:
        return found
    missing = "no Chromium: on Debian, apt-get install chromium; or name one in KVM_REF_CHROMIUM"
    if any(os.environ.get(variable) for variable in _STRICT):
        pytest.fail(missing, pytrace=False)
    pytest.skip(missing)


@contextmanager
def browser() -> Iterator[Browser]:
    """Start the browser, without a window."""
    path = chromium()
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=path, args=_ARGS)
        yield started
        started.close()


def address(file: Path) -> str:
    """Return the address of a file."""
    return file.resolve().as_uri()
