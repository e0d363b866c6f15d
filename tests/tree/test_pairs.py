# SPDX-License-Identifier: GPL-2.0-only
"""Pairs of functions that the user adds: how they fail, and what is no pair."""

from __future__ import annotations

from pathlib import Path

import pytest

from kvm_ref.misuse import Misuse
from kvm_ref.tree.audit import Audit, Files
from kvm_ref.tree.check import Assumed
from kvm_ref.tree.pairs import read

# A driver whose second step fails before what the first one took is given back.
DRIVER = """\
int probe(struct it *it)
{{
	{take}
	if (second(it))
		return -5;
	give(it);
	return 0;
}}
"""


@pytest.mark.parametrize(
    ("failure", "take"),
    [
        ("-ENODEV", "int r = take(it); if (r) return r;"),
        ("NULL", "it = take(); if (!it) return -12;"),
        ("ERR_PTR(-ENOENT)", "it = take(); if (IS_ERR(it)) return PTR_ERR(it);"),
        ("false", "if (!take(it)) return -16;"),
        ("true", "if (take(it)) return -16;"),
        ("never", "take(it);"),
    ],
)
def test_each_way_to_fail(tmp_path: Path, failure: str, take: str) -> None:
    """Whichever way the first step fails, only the failure of the second one leaks."""
    (tmp_path / "pairs").write_text(f"\n# one pair\ntake give {failure}  # more\n")
    source = tmp_path / "probe.c"
    source.write_text(DRIVER.format(take=take))
    (one,) = Audit(Files([str(source)]), read(tmp_path / "pairs"), Assumed({})).all(["probe"])
    assert [(d.rule, d.flow[0].text, d.flow[-1].line) for d in one.defects] == [
        ("leak", "take() acquires it", 5)
    ]


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("take", "'take': expected ACQUIRES RELEASES FAILURE"),
        ("take give NULL more", "expected ACQUIRES RELEASES FAILURE"),
        ("take -give NULL", "expected ACQUIRES RELEASES FAILURE"),
        ("take give ENODEV", "unknown failure 'ENODEV'"),
        ("take give -ENOMEN", "did you mean -ENOMEM?"),
        ("take give ERR_PTR(ENOMEM)", "unknown failure 'ERR_PTR(ENOMEM)'"),
    ],
)
def test_what_is_no_pair(tmp_path: Path, line: str, says: str) -> None:
    """The line, and what would be right."""
    path = tmp_path / "pairs"
    path.write_text(f"a b NULL\n{line}\n")
    with pytest.raises(Misuse) as refused:
        read(path)
    assert str(refused.value).startswith(f"{path}:2: ")
    assert says in str(refused.value)
