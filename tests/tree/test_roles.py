# SPDX-License-Identifier: GPL-2.0-only
"""Roles: what the calls in C text do, fail with and return."""

from __future__ import annotations

import pytest
from tree.facts import FACTS

from kvm_ref.errno import EIO, ENOMEM, Errno
from kvm_ref.tree.roles import Roles, converted, fails_with, gives
from kvm_ref.tree.values import Error, Pointer, Value


def test_roles_are_functions_that_do_something() -> None:
    """What cannot fail and acquires nothing has no role; what the text has is walked into."""
    roles = Roles(FACTS, {"helper", "start"})
    assert ("tell" in roles, "helper" in roles) == (False, True)
    assert [roles.leaf(name) for name in ("helper", "start", "number")] == [False, True, True]


@pytest.mark.parametrize(
    ("name", "errno", "value"),
    [
        ("alloc", None, 0),
        ("get", None, Error(12)),
        ("get", EIO, Error(5)),
        ("start", None, -16),
        ("start", ENOMEM, -12),
        ("has", None, 0),
        ("lacks", None, 1),
    ],
)
def test_what_a_failure_returns(name: str, errno: Errno | None, value: Value) -> None:
    """NULL, an error pointer, a number or a bool: the natural one, or the one that is asked for."""
    assert fails_with(FACTS[name], errno) == value


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("alloc", Pointer("here")),
        ("get_fd", 3),
        ("start", 0),
        ("stop", None),
        ("has", 1),
        ("lacks", 0),
        ("tell", None),
        ("number", 0),
        ("plain", None),
    ],
)
def test_what_a_success_returns(name: str, value: Value) -> None:
    """A pointer, a descriptor, 0, a bool, or what nobody knows."""
    assert gives(FACTS[name], "here") == value


def test_what_is_converted_stays_what_it_is() -> None:
    """A pointer leads to the same thing, under the name of the conversion; nothing else is changed."""
    assert converted("to_vmx", Pointer("x")) == Pointer("to_vmx(x)")
    assert [converted("to_vmx", value) for value in (0, Error(12), None)] == [0, Error(12), None]
