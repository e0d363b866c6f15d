# SPDX-License-Identifier: GPL-2.0-only
"""A machine that is told verb by verb what to do does what the same verbs do at once."""

from __future__ import annotations

import pytest

from kvm_ref.errno import EBUSY, EIO
from kvm_ref.misuse import Misuse
from kvm_ref.scenario import Cpus, Scenario, run
from kvm_ref.session import Session


def session(backend: str = "x86-svm") -> Session:
    return Session(Scenario(backend, (), cpus=Cpus.of((0, 1))))


def test_faults_are_counted_from_the_first_verb() -> None:
    """What was given with each verb is one plan of the whole; run at once, it gives the same trace."""
    k = session()
    assert k.do("load") == 0
    assert k.do("unload") == 0
    # kvm_init() allocates a mask for each CPU: the second of the second load is the fourth of all.
    assert k.do("load", "alloc_cpumask_var_node#2") < 0  # type: ignore[operator]
    assert [str(fault) for fault in k.scenario.faults] == ["alloc_cpumask_var_node#4"]
    assert k.do("load", "kvm_arch_enable_virtualization_cpu@1=EBUSY") == -EIO
    assert str(k.scenario.faults[1]) == "kvm_arch_enable_virtualization_cpu#2@1=EBUSY"
    whole = run(k.scenario)
    assert whole.idle == ()
    assert whole.trace.to_json() == k.trace.to_json()


def test_a_symbol_of_a_built_kernel() -> None:
    """A fault may name a function as a built kernel does; its calls are counted, too."""
    k = session()
    assert [k.do("load"), k.do("unload"), k.do("load", "kmem_cache_create_usercopy")] == [0, 0, -12]
    built = session()
    assert [built.do("load"), built.do("unload")] == [0, 0]
    assert built.do("load", "__kmem_cache_create_args") == -12
    assert run(built.scenario).trace.steps[2].results == [-12]


def test_what_is_found() -> None:
    """The judges are asked about all that was done so far."""
    k = session()
    assert k.do("load", "misc_register") == -EBUSY
    judged = k.judge()
    assert [(f.resource, f.commit) for f in judged.findings] == [("debugfs:kvm", "b31e7c24b475")]
    assert judged.command == "kvm-ref run --backend x86-svm --cpus 2 --fail misc_register load"
    assert (judged.results, judged.idle) == ((-EBUSY,), ())
    assert judged.trace.steps[0].verbs == ["load"]


def test_what_cannot_be_done() -> None:
    """A verb or fault that does not exist, a fault that no call comes to, a machine that has stopped."""
    k = session()
    for verb, fault, said in (
        ("laod", "", "unknown verb 'laod': did you mean load?"),
        ("load", "misc_regster", "unknown function 'misc_regster': did you mean misc_register?"),
        ("load", "misc_register#7", "the fault misc_register#7 never fired in 'load'"),
    ):
        with pytest.raises(Misuse) as refused:
            k.do(verb, *([fault] if fault else []))
        assert str(refused.value) == said
    assert k.do("reboot") is None
    with pytest.raises(Misuse, match="the machine has stopped"):
        k.do("load")


@pytest.mark.parametrize(
    ("verb", "faults", "said"),
    [
        ("offline=9", (), "no CPU 9: this machine has 0-1"),
        ("load=kvm_adm", (), "unknown module 'kvm_adm': did you mean kvm_amd?"),
        ("load", ("misc_register@9",), "no CPU 9 in misc_register@9: this machine has 0-1"),
    ],
)
def test_what_is_refused_is_not_begun(verb: str, faults: tuple[str, ...], said: str) -> None:
    """A verb or a fault that cannot be leaves no step behind, and the machine goes on."""
    k = session()
    with pytest.raises(Misuse) as refused:
        k.do(verb, *faults)
    assert str(refused.value) == said
    assert (k.scenario.verbs, k.do("load")) == ((), 0)


def test_no_other_hypervisor() -> None:
    """Where no other hypervisor can take a CPU, none can give one back either."""
    k = session("riscv")
    for act in (k.backend.foreign_on, k.backend.foreign_off):
        with pytest.raises(Misuse, match=r"^backend 'riscv' knows no other hypervisor"):
            act(k._k)


def test_a_fault_that_never_fires() -> None:
    """Attempted, it is as if it had not been given."""
    k = session()
    assert [str(fault) for fault in k.attempt("load", "misc_register#7")] == ["misc_register#7"]
    assert k.scenario.faults == ()
    assert k.trace.steps[0].results == [0]
