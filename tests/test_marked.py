# SPDX-License-Identifier: GPL-2.0-only
"""What markers hold: values of every kind, each taken or refused in a line that says what is right."""

from __future__ import annotations

import pytest

from kvm_ref.marked import Defaults, machines, parts, runs
from kvm_ref.misuse import Misuse

USUAL = Defaults((), "4")


@pytest.mark.parametrize(
    ("verbs", "kwargs", "said"),
    [
        ((5,), {}, "malformed verb 5: expected text, as 'load'"),
        (("offline=99",), {}, "no CPU 99: this machine has 0-3"),
        (("offline=1:x",), {}, "malformed CPU '1:x': expected a number, as in offline=1"),
        (("hotplug-fail=9:1",), {}, "no CPU 9: this machine has 0-3"),
        (
            ("foreign-on=1",),
            {"backend": "riscv"},
            "backend 'riscv' knows no other hypervisor that takes a CPU: foreign-on is for x86",
        ),
        (("close-vm=x",), {}, "malformed VM 'x': expected a number, as in close-vm=0"),
        (("load=kvm_adm",), {}, "unknown module 'kvm_adm': did you mean kvm_amd?"),
        (("load",), {"backend": 5}, "malformed backend=5: expected text, or a list of it"),
        (("load",), {"backend": ["mips", 5]}, "malformed backend=['mips', 5]: expected text, or a list of it"),
        (("load",), {"backend": {"mips": 1}}, "malformed backend={'mips': 1}: expected text, or a list of it"),
        (("load",), {"backend": b"mips"}, "malformed backend=b'mips': expected text, or a list of it"),
        (("load",), {"backend": ["all", "mps"]}, "unknown backend 'mps': did you mean mips?"),
        (("load",), {"backend": []}, "backend is empty: give a name, several, or 'all'"),
        (("load",), {"cpus": True}, "malformed cpus=True: expected a number, or text as '0-3,8' or 'host'"),
        (("load",), {"cpus": [0]}, "malformed cpus=[0]: expected a number, or text as '0-3,8' or 'host'"),
        (("load",), {"cpus": 0}, "malformed cpus '0': expected 1 to 8192 CPUs"),
        pytest.param(
            ("load",),
            {"fail": iter(["misc_register"])},
            "malformed fail: a list_iterator can be read only once; give a list",
            # What pytest would write shows an address.
            id="fail given as an iterator",
        ),
        (("load",), {"fail": 5}, "malformed fail=5: expected text, or a list of it"),
        (("load",), {"fail": "misc_register@9"}, "no CPU 9 in misc_register@9: this machine has 0-3"),
        (
            ("load",),
            {"reboot_at": "register_syscore=EIO"},
            "malformed reboot_at='register_syscore=EIO': a reboot has no errno",
        ),
        (
            ("load",),
            {"params": "enable_virt_at_load=0"},
            "malformed params='enable_virt_at_load=0': expected a dict, as {'enable_virt_at_load': 0}",
        ),
        (
            ("load",),
            {"params": {5: 1}},
            "malformed params={5: 1}: expected a dict, as {'enable_virt_at_load': 0}",
        ),
        (
            ("load",),
            {"params": {"enable_virt_at_load": None}},
            "malformed value None for enable_virt_at_load: expected text, a number or a bool",
        ),
        (
            ("load",),
            {"features": {"constant_tsc": "0"}},
            "malformed value '0' for feature constant_tsc: expected True or False",
        ),
        (
            ("load",),
            {"features": {"constant_tsc": 2}},
            "malformed value 2 for feature constant_tsc: expected True or False",
        ),
        (
            ("load",),
            {"commits": {"b31e7c24b475": "no"}},
            "malformed value 'no' for commit b31e7c24b475: expected True or False",
        ),
        (("load",), {"commits": [5]}, "malformed commits=[5]: expected text, or a list of it"),
        (("load",), {"backned": "mips"}, "unknown argument 'backned': did you mean backend?"),
        (("load",), {"zzz": 1}, "unknown argument 'zzz': expected one of backend, commits, cpus, fail, "
         "features, params, reboot_at"),
    ],
    ids=str,
)  # fmt: skip
def test_a_run_that_makes_no_sense(verbs: tuple[object, ...], kwargs: dict[str, object], said: str) -> None:
    """It is refused without being run, in one line that names what is wrong."""
    with pytest.raises(Misuse) as refused:
        runs(USUAL, verbs, kwargs)
    assert str(refused.value) == said


@pytest.mark.parametrize(
    ("kwargs", "said"),
    [
        ({"faults": True}, "malformed faults=True: expected 1, or 2 for every pair"),
        ({"faults": "2"}, "malformed faults='2': expected 1, or 2 for every pair"),
        ({"spread": "no"}, "malformed spread='no': expected True or False"),
        ({"fail_cpus": 1}, "unknown fail_cpus 1: expected one of all, edges"),
        ({"fail": "misc_register"}, "unknown argument 'fail': did you mean fail_cpus?"),
    ],
    ids=str,
)
def test_a_matrix_that_makes_no_sense(kwargs: dict[str, object], said: str) -> None:
    """A matrix is refused likewise."""
    with pytest.raises(Misuse) as refused:
        parts(USUAL, ("load",), kwargs)
    assert str(refused.value) == said


def test_a_machine_takes_what_a_machine_has() -> None:
    """A machine has no faults of its own."""
    with pytest.raises(Misuse) as refused:
        machines(USUAL, (), {"fail": "misc_register"})
    assert str(refused.value).startswith("unknown argument 'fail': expected one of backend, ")


def test_one_value_or_several() -> None:
    """What may be several may be one; a dict of commits says which are in and which are not."""
    (one,) = runs(USUAL, ("load",), {"backend": "mips", "fail": "misc_register", "commits": "b31e7c24b475"})
    (other,) = runs(
        USUAL, ("load",), {"backend": ["mips"], "fail": ["misc_register"], "commits": {"b31e7c24b475": True}}
    )
    assert one == other
    assert [fault.function for fault in one.faults] == ["misc_register"]
    (without,) = runs(USUAL, ("load",), {"commits": {"b31e7c24b475": 0}, "features": {"constant_tsc": False}})
    assert without.commits == {"b31e7c24b475": False}
    assert without.features == {"constant_tsc": False}


def test_what_is_left_open() -> None:
    """The command line says which machine it is, unless the marker does."""
    given = Defaults(("mips", "riscv"), "2")
    assert [(s.backend, len(s.cpus.online)) for s in machines(given, (), {})] == [("mips", 2), ("riscv", 2)]
    assert [(s.backend, len(s.cpus.online)) for s in machines(given, (), {"backend": "s390", "cpus": 3})] == [
        ("s390", 3)
    ]
    assert [s.verbs for s in parts(given, (), {"backend": "s390"}).bases] == [("load", "unload") * 2]
