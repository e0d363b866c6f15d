# SPDX-License-Identifier: GPL-2.0-only
"""The house stands as it was drawn: who imports whom, and what every file begins with."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

TOP = Path(__file__).parent.parent
SOURCES = sorted(p for d in ("kvm_ref", "arch") for p in (TOP / d).rglob("*.py"))
LICENSED = [
    p
    for pattern in (
        "**/*.py",
        "*.md",
        "*.toml",
        "docs/**/*.md",
        "docs/**/*.css",
        "docs/**/*.toml",
        "kvm_ref/html/*.*",
        "tools/*",
        ".ci/run",
        ".gitignore",
    )
    for p in sorted(TOP.glob(pattern))
    if p.is_file() and not any(part.startswith(".venv") for part in p.parts)
]


def name(path: Path) -> str:
    return ".".join(path.relative_to(TOP).with_suffix("").parts)


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            yield node.module or ""
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


@pytest.mark.parametrize("path", LICENSED, ids=lambda p: str(p.relative_to(TOP)))
def test_every_file_bears_its_licence(path: Path) -> None:
    """The SPDX line stands in each file."""
    assert "SPDX-License-Identifier: GPL-2.0-only" in path.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("who", "whom"),
    [
        ("kvm_ref", "arch"),
        ("kvm_ref.linux", "kvm_ref.virt"),
        ("kvm_ref.virt", "arch"),
        ("kvm_ref.judges", "kvm_ref.kernel"),
        ("kvm_ref.judges", "kvm_ref.scenario"),
        ("kvm_ref.judges", "kvm_ref.linux"),
        ("kvm_ref.judges", "kvm_ref.virt"),
    ],
)
def test_nobody_reaches_up(who: str, whom: str) -> None:
    """The lower rooms do not know of the upper ones, and judges do not look into machines."""
    found = [
        (name(path), imported)
        for path in SOURCES
        if name(path).startswith(who)
        for imported in imports(path)
        if imported == whom or imported.startswith(whom + ".")
    ]
    assert found == []


def test_arch_is_a_namespace() -> None:
    """Other packages can add backends beside these, so no folder of arch has an __init__.py."""
    assert list((TOP / "arch").rglob("__init__.py")) == []


@pytest.mark.parametrize(
    "path",
    [p for p in SOURCES if name(p).startswith(("arch.", "kvm_ref.linux.", "kvm_ref.virt."))
     and p.name not in ("__init__.py", "backend.py", "backends.py")],
    ids=name,
)  # fmt: skip
def test_a_model_says_which_kernel_file_it_mirrors(path: Path) -> None:
    """The first line of a module's docstring names the kernel file."""
    doc = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    assert doc.startswith("Mirrors ")
    assert "/" in doc.split()[1]


def test_rooms_can_be_lived_in() -> None:
    """No module has more than 350 lines."""
    assert [name(p) for p in SOURCES if len(p.read_text(encoding="utf-8").splitlines()) > 350] == []
