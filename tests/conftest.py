# SPDX-License-Identifier: GPL-2.0-only
"""What tests are handed."""

from __future__ import annotations

import pytest
from command_line import Command


@pytest.fixture
def kvm_ref(capsys: pytest.CaptureFixture[str]) -> Command:
    """Return the command, run in this process."""
    return Command(capsys)
