# SPDX-License-Identifier: GPL-2.0-only
"""Modules and their parameters, against kernel/module/main.c, kernel/params.c and lib/kstrtox.c."""

from __future__ import annotations

import pytest
from bare_machine import Bare, bare, errno_of

from kvm_ref.errno import EACCES, EBUSY, EEXIST, EINVAL, EIO, ENOENT, ERANGE, EWOULDBLOCK, KernelError
from kvm_ref.kernel import Kernel, Statics
from kvm_ref.linux import module as modules
from kvm_ref.linux.module import (
    Module,
    Modules,
    Param,
    constant_param,
    kstrtobool,
    param_set_bool,
    param_set_int,
)


class Vars(Statics):
    module = "mod"

    def __init__(self) -> None:
        self.on = True
        self.many = 1


def quiet(k: Kernel) -> None:
    k[Vars].many += 1


def broken(k: Kernel) -> None:
    k[Vars].many += 1
    raise KernelError(EIO)


PARAMS = (Param("on", Vars), Param("many", Vars, param_set_int, "a number", 0o644))
MOD = Module("mod", quiet, quiet, params=PARAMS)


def machine(**cmdline: str) -> Kernel:
    return Kernel(Bare(), cmdline={f"mod.{name}": text for name, text in cmdline.items()})


@pytest.mark.parametrize("text", ["1", "y", "Y", "t", "T", "yes", "on", "ON", "oN", "1nonsense"])
def test_words_for_yes(text: str) -> None:
    """kstrtobool() looks at the first character, and at the second only after an o."""
    assert kstrtobool(text) is True


@pytest.mark.parametrize("text", ["0", "n", "N", "f", "F", "no", "off", "OFF", "oF", "0x1"])
def test_words_for_no(text: str) -> None:
    """kstrtobool() again, for the other answer."""
    assert kstrtobool(text) is False


@pytest.mark.parametrize("text", ["", "2", "o", "ok", "maybe", " 1", "-1"])
def test_words_for_neither(text: str) -> None:
    """kstrtobool() gives -EINVAL for the rest, also for leading blanks."""
    assert errno_of(lambda: kstrtobool(text)) == EINVAL


def test_a_bool_parameter_without_a_value_means_yes() -> None:
    """param_set_bool() reads a missing value as 1, and an empty one as kstrtobool() does."""
    assert param_set_bool(None) is True
    assert errno_of(lambda: param_set_bool("")) == EINVAL


@pytest.mark.parametrize(
    ("text", "value"),
    [
        *(("10", 10), ("010", 8), ("0x10", 16), ("0XfF", 255), ("0", 0), ("-3", -3), ("+3", 3), ("7\n", 7)),
        *(("2147483647", 2**31 - 1), ("-2147483648", -(2**31)), ("0" * 99 + "5", 5)),
    ],
)
def test_int_parameters_are_written_as_in_c(text: str, value: int) -> None:
    """kstrtoint() with base 0: decimal, octal or hexadecimal."""
    assert param_set_int(text) == value


@pytest.mark.parametrize(
    "text", ["ten", "", " 1", "1 ", "1_0", "0b1", "0o7", "08", "0x", "-+3", "1.5", "1\n\n"]
)
def test_an_int_parameter_that_is_none(text: str) -> None:
    """_kstrtoull() in lib/kstrtox.c gives -EINVAL."""
    assert errno_of(lambda: param_set_int(text)) == EINVAL


@pytest.mark.parametrize("text", ["2147483648", "-2147483649", "0x100000000", "9" * 9999])
def test_an_int_parameter_that_does_not_fit(text: str) -> None:
    """kstrtoint() gives -ERANGE."""
    assert errno_of(lambda: param_set_int(text)) == ERANGE


def test_loading_twice_and_unloading_twice() -> None:
    """finit_module() gives -EEXIST, delete_module() -ENOENT."""
    k = machine()
    modules.init_module(k, MOD)
    assert errno_of(lambda: modules.init_module(k, MOD)) == EEXIST
    modules.delete_module(k, MOD, ())
    assert errno_of(lambda: modules.delete_module(k, MOD, ())) == ENOENT


def test_variables_live_as_long_as_the_module() -> None:
    """A module's memory is gone after unloading: a second life begins with the initial values."""
    k = machine()
    modules.init_module(k, MOD)
    assert k[Vars].many == 2
    modules.delete_module(k, MOD, ())
    modules.init_module(k, MOD)
    assert k[Vars].many == 2


def test_a_failed_init_leaves_no_module() -> None:
    """do_init_module() frees the module if its init function fails."""
    k = machine()
    assert errno_of(lambda: modules.init_module(k, Module("mod", broken, None))) == EIO
    assert k[Modules].loaded == []
    assert k[Vars].many == 1


def test_a_module_in_use_stays() -> None:
    """delete_module(): -EWOULDBLOCK if another needs it or it is referred to, -EBUSY if it has no exit."""
    k = machine()
    modules.init_module(k, MOD)
    modules.init_module(k, Module("other", quiet, None, depends=("mod",)))
    assert errno_of(lambda: modules.delete_module(k, MOD, ("other",))) == EWOULDBLOCK
    assert errno_of(lambda: modules.delete_module(k, Module("other", quiet, None), ())) == EBUSY
    k[Modules].refcount["mod"] = 1
    assert errno_of(lambda: modules.delete_module(k, MOD, ())) == EWOULDBLOCK
    assert k[Modules].loaded == ["mod", "other"]


def test_what_is_built_in_cannot_be_unloaded() -> None:
    """delete_module() does not find what is linked into the kernel: -ENOENT."""
    k = machine()
    inside = Module("mod", quiet, None, builtin=True)
    modules.init_module(k, inside)
    assert errno_of(lambda: modules.delete_module(k, inside, ())) == ENOENT


def test_parameters_are_set_before_init_runs() -> None:
    """load_module() parses the arguments before do_init_module()."""
    k = machine(many="0x20", on="off")
    modules.init_module(k, MOD)
    assert (k[Vars].many, k[Vars].on) == (33, False)


def test_a_parameter_that_nobody_writes_is_asked_for() -> None:
    """Its value is what was given, or what C gives it; and the machine knows that somebody asked."""
    fixed = constant_param("fixed", initial=True)
    given = constant_param("given", initial=True)

    class Two(Bare):
        modules = (
            Module("one", quiet, quiet),
            Module("two", quiet, quiet, params=(given, fixed)),
        )

    k = Kernel(Two(), cmdline={"two.given": "off", "one.fixed": "off"})
    for module in Two.modules:
        modules.parse_args(k, module)
    assert k.asked == {}
    assert k.param(given) is False
    assert k.asked == {"two.given": "off"}
    assert k.param(fixed) is True
    assert k.asked == {"two.given": "off", "two.fixed": None}
    assert bare().param(given) is True


def test_a_malformed_parameter_stops_the_load() -> None:
    """parse_args() fails with the setter's -EINVAL, and the module is gone."""
    k = machine(many="lots")
    assert errno_of(lambda: modules.init_module(k, MOD)) == EINVAL
    assert k[Modules].loaded == []


def test_the_mode_of_a_parameters_file_decides_who_may_write() -> None:
    """0444 refuses every writer with -EACCES (fs/kernfs/file.c); 0644 takes a valid value."""
    k = machine()
    assert errno_of(lambda: modules.param_write(k, MOD, "many", "5")) == ENOENT
    modules.init_module(k, MOD)
    assert errno_of(lambda: modules.param_write(k, MOD, "on", "0")) == EACCES
    assert k[Vars].on is True
    modules.param_write(k, MOD, "many", "5")
    assert k[Vars].many == 5
    assert errno_of(lambda: modules.param_write(k, MOD, "many", "x")) == EINVAL
    assert errno_of(lambda: modules.param_write(k, MOD, "none", "5")) == ENOENT


def test_each_machine_has_its_own_state() -> None:
    """Nothing is shared between machines but constants."""
    a, b = machine(), machine()
    modules.init_module(a, MOD)
    assert b[Modules].loaded == []
    assert bare().events == []
