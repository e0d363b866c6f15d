# SPDX-License-Identifier: GPL-2.0-only
"""Where the text of a kernel is that tests, and the documentation, read."""

from __future__ import annotations

import os
from pathlib import Path

# An empty value is none.
_STRICT = ("CI", "KVM_REF_NO_SKIP")


def places(version: str) -> list[Path]:
    """Return where the tree of a kernel may be."""
    named = os.environ.get(f"KVM_REF_KERNEL_SOURCE_{version.replace('.', '_')}")
    name = f"linux-source-{version}"
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return [Path(named)] if named else [cache / "kvm-ref" / name, Path("/usr/src") / name]


def find(version: str = "6.12") -> Path | None:
    """Return the tree of a kernel, or None."""
    return next((place for place in places(version) if (place / "virt/kvm/kvm_main.c").is_file()), None)


def missing(version: str = "6.12") -> str:
    """Say how to get the tree of a kernel."""
    return f"no text of Linux {version} in {places(version)[0]}: run tools/kernel-source {version}"


def strict() -> bool:
    """Say whether nothing may be left out for want of a tree."""
    return any(os.environ.get(variable) for variable in _STRICT)


def kernel_tree(version: str = "6.12") -> Path:
    """Return the tree of a kernel; without one, skip the test, or fail it where nobody may skip."""
    import pytest  # not there where only the documentation is built

    found = find(version)
    if found is None:
        if strict():
            pytest.fail(missing(version), pytrace=False)
        pytest.skip(missing(version))
    return found
