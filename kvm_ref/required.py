# SPDX-License-Identifier: GPL-2.0-only
"""What a backend must have, checked when it is loaded: what is wrong is told by its name, before anything runs.

What is required stands in the annotations and the methods of class `Backend`; there is no other list.
"""

from __future__ import annotations

import importlib
import inspect
import re
import sys
from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from types import FunctionType, MethodType

import attrs

from kvm_ref.backend import Backend
from kvm_ref.linux.module import Module, Param
from kvm_ref.misuse import Misuse, near, one_line, told
from kvm_ref.vocabulary import declared, facts_of

# Hooks that are required with generic hardware enabling only.
_ENABLING = ("kvm_arch_enable_virtualization_cpu", "kvm_arch_disable_virtualization_cpu")


@attrs.frozen
class _Hook:
    """What the kernel hands a hook, as a message names it, and whether it may be None."""

    takes: tuple[str, ...]
    optional: bool


@attrs.frozen
class _Kind:
    """What an attribute may be: in words, and what tells."""

    words: str
    holds: Callable[[object], bool]


def _is_number(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_flag(value: object) -> bool:
    return isinstance(value, bool)


def _texts_to(values: Callable[[object], bool]) -> Callable[[object], bool]:
    return lambda value: (
        isinstance(value, Mapping) and all(_is_text(name) and values(one) for name, one in value.items())
    )


# By the annotation of the attribute.
_KINDS: Mapping[str, _Kind] = {
    "bool": _Kind("a bool", _is_flag),
    "int": _Kind("an int", _is_number),
    "str": _Kind("a str", _is_text),
    "tuple[str, ...]": _Kind(
        "a tuple of str", lambda value: isinstance(value, tuple) and all(map(_is_text, value))
    ),
    "tuple[Module, ...]": _Kind(
        "a tuple of kvm_ref.linux.module.Module",
        lambda value: isinstance(value, tuple) and all(isinstance(one, Module) for one in value),
    ),
    "Mapping[str, bool]": _Kind("a mapping of str to bool", _texts_to(_is_flag)),
    "Mapping[str, int]": _Kind("a mapping of str to int", _texts_to(_is_number)),
    "frozenset[str]": _Kind(
        "a set of str", lambda value: isinstance(value, AbstractSet) and all(map(_is_text, value))
    ),
}


def _hook(annotation: str) -> _Hook:
    found = re.match(r"Callable\[\[(.*?)\]", annotation)
    assert found is not None
    takes = found[1].replace("Kernel", "k").split(", ")
    return _Hook(tuple(takes), optional=annotation.endswith("] | None"))


_ANNOTATED: Mapping[str, str] = Backend.__annotations__
_HOOKS = {name: _hook(text) for name, text in _ANNOTATED.items() if text.startswith("Callable")}
_ATTRIBUTES = {
    name: _KINDS[text.removeprefix("ClassVar[").removesuffix("]")]
    for name, text in _ANNOTATED.items()
    if name not in _HOOKS
}
# What a subclass may say otherwise, with what each is called with.
_METHODS = {
    name: method.__code__.co_varnames[1 : method.__code__.co_argcount]
    for name, method in vars(Backend).items()
    if isinstance(method, FunctionType)
}


def check(backend: object, name: str) -> Backend:
    """Return `backend`, or one of it if it is a class, if it has all that is required.

    Raises:
        Misuse: something is missing or is of another kind; the message names it.
    """
    if isinstance(backend, type):
        backend = backend()
    if not isinstance(backend, Backend):
        raise Misuse(f"backend {name!r} is a {type(backend).__name__}, expected a kvm_ref.backend.Backend")
    for attribute, kind in _ATTRIBUTES.items():
        if not hasattr(backend, attribute):
            raise Misuse(f"backend {name!r} lacks the attribute {attribute}")
        value = getattr(backend, attribute)
        if not kind.holds(value):
            raise Misuse(
                f"the attribute {attribute} of backend {name!r} is {_shown(value)}: expected {kind.words}"
            )
    if backend.name != name:
        raise Misuse(f"backend {name!r} is {backend.name!r} by its attribute name: expected {name!r}")
    _check_modules(backend)
    _check_packages(backend)
    generic = "KVM_GENERIC_HARDWARE_ENABLING" in backend.config
    for attribute, hook in _HOOKS.items():
        optional = hook.optional or (attribute in _ENABLING and not generic)
        _check_hook(backend, attribute, hook.takes, optional=optional)
    for attribute, takes in _METHODS.items():
        _check_method(backend, attribute, takes)
    kind = _KINDS["Mapping[str, int]"]
    value = backend.at_reset(backend.features)
    if not kind.holds(value):
        raise Misuse(f"at_reset() of backend {name!r} returns {_shown(value)}: expected {kind.words}")
    return backend


def _check_modules(backend: Backend) -> None:
    if not backend.modules:
        raise Misuse(
            f"backend {backend.name!r} has no modules: expected at least one kvm_ref.linux.module.Module"
        )
    before: list[str] = []
    for module in backend.modules:
        what = f"module {module.name!r} of backend {backend.name!r}"
        if not _takes(module.init, 1):
            raise Misuse(f"init of {what} is {_shown(module.init)}: expected a function(k)")
        if module.exit is not None and not _takes(module.exit, 1):
            raise Misuse(f"exit of {what} is {_shown(module.exit)}: expected None or a function(k)")
        params: object = module.params
        if not isinstance(params, tuple) or not all(isinstance(one, Param) for one in params):
            raise Misuse(
                f"params of {what} is {_shown(params)}: expected a tuple of kvm_ref.linux.module.Param"
            )
        for needed in module.depends:
            if needed not in before:
                raise Misuse(f"{what} depends on {needed!r}: expected one of the modules before it")
        before.append(module.name)


def _check_packages(backend: Backend) -> None:
    # One that holds nothing is a slip: the functions that were meant would never fail in a matrix.
    if not backend.packages:
        raise Misuse(f"backend {backend.name!r} has no packages: expected those that hold its functions")
    for package in backend.packages:
        what = f"the package {package!r} of backend {backend.name!r}"
        if package not in sys.modules:
            try:
                importlib.import_module(package)
            except Exception as error:
                raise Misuse(f"{what} cannot be imported: {told(error)}{_meant(package)}") from None
        within = f"{package}."
        if not any(f.module == package or f.module.startswith(within) for f in declared()):
            raise Misuse(f"{what} holds no kernel_function: expected one that does{_meant(package)}")


def _meant(package: str) -> str:
    close = near(package, {f.module for f in declared() if not f.module.startswith("kvm_ref.")})
    return f"; did you mean {close}?" if close else ""


def _check_hook(backend: Backend, attribute: str, takes: tuple[str, ...], *, optional: bool) -> None:
    if not hasattr(backend, attribute):
        if optional:
            return
        raise Misuse(f"backend {backend.name!r} lacks the hook {attribute}")
    hook = getattr(backend, attribute)
    if hook is None and optional:
        return
    # A function of a class that is no staticmethod would be given the backend as well.
    other = _other(hook, len(takes))
    if other:
        expected = f"{'None or ' if optional else ''}staticmethod of a function({', '.join(takes)})"
        raise Misuse(f"the hook {attribute} of backend {backend.name!r} {other}: expected {expected}")


def _check_method(backend: Backend, attribute: str, takes: tuple[str, ...]) -> None:
    method = getattr(backend, attribute)
    if isinstance(method, MethodType) and method.__func__ is vars(Backend)[attribute]:
        return
    other = _other(method, len(takes))
    if other:
        expected = f"a method({', '.join(('self', *takes))})"
        raise Misuse(f"the method {attribute} of backend {backend.name!r} {other}: expected {expected}")


def _other(hook: object, count: int) -> str:
    # What is wrong with something that is to be called with so many arguments, or "".
    if _takes(hook, count):
        return ""
    return f"takes {inspect.signature(hook)}" if callable(hook) else f"is {_shown(hook)}"


def _takes(hook: object, count: int) -> bool:
    function = hook
    if isinstance(hook, MethodType):
        function, count = hook.__func__, count + 1
    facts = facts_of(function)
    if facts:
        function = facts.function
    if isinstance(function, FunctionType):
        # All backends are checked at each start, and to make a signature takes long.
        code = function.__code__
        least = code.co_argcount - len(function.__defaults__ or ())
        named = code.co_kwonlyargcount - len(function.__kwdefaults__ or ())
        enough = count <= code.co_argcount or bool(code.co_flags & inspect.CO_VARARGS)
        return least <= count and enough and not named
    if not callable(hook):
        return False
    try:
        inspect.signature(hook).bind(*range(count))
    except TypeError:
        return False
    except ValueError:
        pass  # of what is written in C, not all tell what they take
    return True


def _shown(value: object) -> str:
    return one_line(f"{value!r:.60}")
