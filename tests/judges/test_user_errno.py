# SPDX-License-Identifier: GPL-2.0-only
"""The judge of what the user gets, on traces made by hand."""

from __future__ import annotations

import pytest
from tape import Tape, vocabulary

from kvm_ref.judges.user_errno import MAY_GIVE, user_errno
from kvm_ref.verbs import VERBS

SVM = vocabulary()


def found(verb: str, result: int | None) -> list[str]:
    tape = Tape()
    tape.step(verb, result)
    return [f.message for f in user_errno(tape.trace(), SVM)]


@pytest.mark.parametrize(
    ("verb", "result"),
    [
        ("load", 0),
        ("load", -5),
        ("load=kvm", -12),
        ("create-vm", -24),
        ("offline=2", -16),
        ("reboot", None),
        ("x", -9),
    ],
)
def test_what_may_be(verb: str, result: int | None) -> None:
    """Success, an errno of the table, a machine that stopped, and verbs without a table."""
    assert found(verb, result) == []


@pytest.mark.parametrize(
    ("verb", "result", "name"),
    [
        ("load", -24, "-EMFILE"),
        ("close-vm=0", -5, "-EIO"),
        ("unload", -12, "-ENOMEM"),
        ("suspend", -17, "-EEXIST"),
    ],
)
def test_what_may_not_be(verb: str, result: int, name: str) -> None:
    """close(2) knows no EIO here, delete_module(2) no ENOMEM."""
    assert found(verb, result) == [f"{verb} gave {name}, which its table of errnos does not allow"]


def test_every_table_is_of_a_verb() -> None:
    """No table is left over from a verb that has gone."""
    assert set(MAY_GIVE) <= set(VERBS)
