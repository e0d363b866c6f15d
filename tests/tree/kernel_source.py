# SPDX-License-Identifier: GPL-2.0-only
"""Where the text of a kernel is that tests read."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

# An empty value is none.
_STRICT = ("CI", "KVM_REF_NO_SKIP")


def kernel_tree(version: str = "6.12") -> Path:
    """Return the tree of a kernel; without one, skip the test, or fail it where nobody may skip."""
    named = os.environ.get(f"KVM_REF_KERNEL_SOURCE_{version.replace('.', '_')}")
    name = f"linux-source-{version}"
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    places = [Path(named)] if named else [cache / "kvm-ref" / name, Path("/usr/src") / name]
    for place in places:
        if (place / "virt/kvm/kvm_main.c").is_file():
            return place
    missing = f"no text of Linux {version} in {places[0]}: run tools/kernel-source {version}"
    if any(os.environ.get(variable) for variable in _STRICT):
        pytest.fail(missing, pytrace=False)
    pytest.skip(missing)
