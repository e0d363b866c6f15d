# SPDX-License-Identifier: GPL-2.0-only
"""What a backend must have: each thing that is missing, or of another kind, is told by its name."""

from __future__ import annotations

import functools
from typing import Any

import attrs
import pytest
from bare_machine import Bare, nothing

from kvm_ref.backend import Backend
from kvm_ref.kernel import Kernel
from kvm_ref.linux.module import Module
from kvm_ref.misuse import Misuse
from kvm_ref.required import check
from kvm_ref.virt.kvm_main import kvm_init
from kvm_ref.vocabulary import kernel_function

MODULE = Module("bare", nothing, nothing)


def odd(**changes: Any) -> type[Backend]:
    """Return the class of a backend, with something else in it."""
    return type("Odd", (Bare,), {"name": "odd", "packages": ("kvm_ref.virt",), **changes})


def refused(backend: object) -> str:
    """Return with which words a backend is refused."""
    with pytest.raises(Misuse) as caught:
        check(backend, "odd")
    text = str(caught.value)
    assert "\n" not in text
    return text


def one(k: Kernel) -> None:
    """Take a machine and nothing else."""


@kernel_function()
def modelled(k: Kernel) -> None:
    """Take a machine and nothing else, as a kernel function."""


def test_one_that_has_all() -> None:
    """A class or an object of it is taken; the object is what comes back."""
    made = odd()()
    assert check(made, "odd") is made
    assert type(check(odd(), "odd")).__name__ == "Odd"


@pytest.mark.parametrize("attribute", ["name", "summary", "packages", "modules"])
def test_a_missing_attribute(attribute: str) -> None:
    """Those without a default are named."""
    having = {"name": "odd", "summary": "nothing", "packages": ("kvm_ref.virt",), "modules": (MODULE,)}
    del having[attribute]
    assert refused(type("Odd", (Backend,), having)) == f"backend 'odd' lacks the attribute {attribute}"


@pytest.mark.parametrize(
    ("attribute", "value", "says"),
    [
        ("name", 5, "5: expected a str"),
        ("summary", None, "None: expected a str"),
        ("packages", "kvm_ref.virt", "'kvm_ref.virt': expected a tuple of str"),
        ("packages", (5,), "(5,): expected a tuple of str"),
        ("modules", [MODULE], None),
        ("modules", ("kvm",), "('kvm',): expected a tuple of kvm_ref.linux.module.Module"),
        ("features", ("sve",), "('sve',): expected a mapping of str to bool"),
        ("features", {"sve": 1}, "{'sve': 1}: expected a mapping of str to bool"),
        ("features", {1: True}, "{1: True}: expected a mapping of str to bool"),
        ("reset", {"EFER": "1"}, "{'EFER': '1'}: expected a mapping of str to int"),
        ("reset", {"EFER": True}, "{'EFER': True}: expected a mapping of str to int"),
        ("config", "KVM_MMIO", "'KVM_MMIO': expected a set of str"),
        ("config", {5}, "{5}: expected a set of str"),
        ("kvm_arch_nr_memslot_as_ids", "2", "'2': expected an int"),
        ("irqchip_pins", None, "None: expected an int"),
        ("arch_suspend_possible", 1, "1: expected a bool"),
        ("kvm_vm_stats_desc", "remote_tlb_flush", "'remote_tlb_flush': expected a tuple of str"),
        ("kvm_vcpu_stats_desc", ["a"], "['a']: expected a tuple of str"),
    ],
)
def test_an_attribute_of_another_kind(attribute: str, value: object, says: str | None) -> None:
    """What it is and what it should be."""
    text = refused(odd(**{attribute: value}))
    assert text.startswith(f"the attribute {attribute} of backend 'odd' is ")
    assert says is None or text == f"the attribute {attribute} of backend 'odd' is {says}"


def test_what_is_shown_is_one_line() -> None:
    """Something that shows itself in many lines is shown in one, and the beginning of it only."""

    class Long:
        def __repr__(self) -> str:
            return "a\nb" + "c" * 1000

    assert refused(odd(summary=Long())) == (
        f"the attribute summary of backend 'odd' is a b{'c' * 57}: expected a str"
    )


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"init": None}, "init of module 'bare' of backend 'odd' is None: expected a function(k)"),
        ({"exit": 5}, "exit of module 'bare' of backend 'odd' is 5: expected None or a function(k)"),
        ({"params": None}, "params of module 'bare' of backend 'odd' is None: expected a tuple of kvm_ref.linux.module.Param"),
        ({"params": (5,)}, "params of module 'bare' of backend 'odd' is (5,): expected a tuple of kvm_ref.linux.module.Param"),
        ({"depends": ("kvm",)}, "module 'bare' of backend 'odd' depends on 'kvm': expected one of the modules before it"),
    ],
)  # fmt: skip
def test_a_module_that_cannot_be_loaded(changes: dict[str, Any], says: str) -> None:
    """Its functions are such, and what it depends on stands before it."""
    assert refused(odd(modules=(attrs.evolve(MODULE, **changes),))) == says


def test_modules_that_can_be_loaded() -> None:
    """One may stay for good, and one may depend on another."""
    check(odd(modules=(attrs.evolve(MODULE, exit=None), Module("b", one, None, depends=("bare",)))), "odd")


def test_nothing_to_load() -> None:
    """Neither modules nor packages may be empty."""
    assert refused(odd(modules=())) == (
        "backend 'odd' has no modules: expected at least one kvm_ref.linux.module.Module"
    )
    assert (
        refused(odd(packages=())) == "backend 'odd' has no packages: expected those that hold its functions"
    )


@pytest.mark.parametrize(
    ("package", "says"),
    [
        ("json", "holds no kernel_function: expected one that does"),
        ("kvm_ref.vir", "cannot be imported: ModuleNotFoundError: No module named 'kvm_ref.vir'"),
        ("", "cannot be imported: ValueError: Empty module name"),
    ],
)
def test_a_package_that_adds_nothing(package: str, says: str) -> None:
    """Each package must hold a kernel function, or there is a slip in its name."""
    text = refused(odd(packages=("kvm_ref.virt", package)))
    assert text.startswith(f"the package {package!r} of backend 'odd' {says}")


@pytest.mark.parametrize(
    ("hook", "takes"),
    [
        ("kvm_arch_enable_virtualization", "k"),
        ("kvm_arch_disable_virtualization", "k"),
        ("kvm_arch_alloc_vm", "k"),
        ("kvm_arch_free_vm", "k, kvm"),
        ("kvm_arch_post_init_vm", "k, kvm"),
        ("kvm_arch_pre_destroy_vm", "k, kvm"),
        ("kvm_arch_create_vm_debugfs", "k, kvm"),
        ("kvm_arch_flush_shadow_all", "k, kvm"),
        ("kvm_arch_pm_notifier", "k, kvm, PmEvent"),
        ("kvm_arch_sync_events", "k, kvm"),
        ("machine_restart", "k"),
        ("machine_halt", "k"),
        ("machine_power_off", "k"),
        ("machine_shutdown", "k"),
        ("boot_secondary", "k, int"),
        ("cpu_disable", "k"),
        ("arch_cpuhp_cleanup_dead_cpu", "k, int"),
    ],
)
def test_an_optional_hook(hook: str, takes: str) -> None:
    """None, or what takes what the kernel hands it."""
    expected = f"expected None or staticmethod of a function({takes})"
    what = f"the hook {hook} of backend 'odd'"
    check(odd(**{hook: None}), "odd")
    check(odd(**{hook: staticmethod(nothing)}), "odd")
    assert refused(odd(**{hook: 5})) == f"{what} is 5: {expected}"
    assert refused(odd(**{hook: staticmethod(lambda: None)})) == f"{what} takes (): {expected}"
    more = staticmethod(lambda k, a, b, c: None)
    assert refused(odd(**{hook: more})) == f"{what} takes (k, a, b, c): {expected}"


@pytest.mark.parametrize(
    ("hook", "takes"), [("kvm_arch_init_vm", "k, kvm, int"), ("kvm_arch_destroy_vm", "k, kvm")]
)
def test_a_required_hook(hook: str, takes: str) -> None:
    """It may not be None."""
    what = f"the hook {hook} of backend 'odd'"
    assert refused(odd(**{hook: None})) == f"{what} is None: expected staticmethod of a function({takes})"
    assert refused(odd(**{hook: staticmethod(one)})).startswith(f"{what} takes (k: 'Kernel')")


def test_what_enables_is_required_with_generic_enabling_only() -> None:
    """As on s390, whose kernels are without CONFIG_KVM_GENERIC_HARDWARE_ENABLING."""
    having = {
        "name": "odd", "summary": "nothing", "packages": ("kvm_ref.virt",), "modules": (MODULE,),
        "kvm_arch_init_vm": staticmethod(nothing), "kvm_arch_destroy_vm": staticmethod(nothing),
    }  # fmt: skip
    missing = "backend 'odd' lacks the hook kvm_arch_enable_virtualization_cpu"
    assert refused(type("Odd", (Backend,), having)) == missing
    check(type("Odd", (Backend,), {**having, "config": frozenset()}), "odd")


def _named(k: Kernel, *, must: int) -> None:
    """Ask for more than the kernel gives."""


@pytest.mark.parametrize(
    ("hook", "fits"),
    [
        (staticmethod(one), True),
        (staticmethod(modelled), True),
        (staticmethod(kvm_init), False),
        (staticmethod(lambda k, more=1: None), True),
        (staticmethod(lambda *all: None), True),
        (staticmethod(lambda k, *, may=1: None), True),
        (staticmethod(_named), False),
        (lambda self, k: None, True),
        (one, False),
        (modelled, False),
        (functools.partial(nothing), True),
        (functools.partial(lambda: None), False),
        (bool, True),
    ],
)
def test_what_can_be_called(hook: object, fits: bool) -> None:
    """A hook may be anything that takes the machine: of a class without staticmethod it would take the backend."""
    if fits:
        check(odd(machine_halt=hook), "odd")
    else:
        assert refused(odd(machine_halt=hook)).startswith("the hook machine_halt of backend 'odd' takes (")


def _of_three(self: Backend, a: int, b: int, c: int) -> None:
    """Ask for more than any method is given."""


@pytest.mark.parametrize(
    ("method", "takes"),
    [
        ("arch_cpu_is_hotpluggable", "self, k, cpu"),
        ("machine_kexec_prepare", "self, k"),
        ("suspend_to_ram", "self, k"),
        ("at_reset", "self, features"),
        ("foreign_on", "self, k"),
        ("foreign_off", "self, k"),
        ("check_foreign", "self"),
        ("after", "self, k"),
    ],
)
def test_a_method(method: str, takes: str) -> None:
    """What a subclass says otherwise is called as what it replaces."""
    expected = f"expected a method({takes})"
    what = f"the method {method} of backend 'odd'"
    assert refused(odd(**{method: None})) == f"{what} is None: {expected}"
    assert (
        refused(odd(**{method: _of_three}))
        == f"{what} takes (a: 'int', b: 'int', c: 'int') -> 'None': {expected}"
    )
    check(odd(**{method: lambda self, *all: {}}), "odd")


def test_registers_that_are_none() -> None:
    """at_reset() is asked once, for the CPUs with the features that they have by default."""
    assert refused(odd(at_reset=lambda self, features: None)) == (
        "at_reset() of backend 'odd' returns None: expected a mapping of str to int"
    )
    seen: list[object] = []

    def at_reset(self: Backend, features: object) -> dict[str, int]:
        seen.append(features)
        return {"EFER": 1}

    check(odd(at_reset=at_reset, features={"a": True}), "odd")
    assert seen == [{"a": True}]
