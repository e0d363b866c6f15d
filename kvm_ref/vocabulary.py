# SPDX-License-Identifier: GPL-2.0-only
"""The facts of each kernel function, declared once, where the function is defined.

`kernel_function` wraps a function of the model so that a call of it leaves an ``enter`` and an
``exit`` event in the trace, can be made to fail, and is known by its facts: how it can fail, what
it acquires and releases, and which symbol it has in a built kernel. The fault matrix, the judges
and the reader of kernel traces ask `Vocabulary`; none of them has a table of its own.
"""

from __future__ import annotations

import functools
import importlib
import pkgutil
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Concatenate, Final, ParamSpec, TypeVar

import attrs

from kvm_ref.errno import Errno, ErrPtr
from kvm_ref.traced import traced

if TYPE_CHECKING:
    from kvm_ref.backend import Backend
    from kvm_ref.kernel import Kernel
    from kvm_ref.reading import Exit, Ladder

P = ParamSpec("P")
R = TypeVar("R")


class Null:
    """The failure of a function that returns a NULL pointer."""

    def __repr__(self) -> str:
        return "NULL"


NULL: Final = Null()

# What a failing call does: raise KernelError(Errno), or return None, an ErrPtr or a bool.
Failure = Errno | ErrPtr | Null | bool


@attrs.frozen(eq=False)
class Facts:
    """What is known of one kernel function.

    Attributes:
        name: as in the C source.
        module: the Python module that holds the model.
        fails: how it can fail, the natural way first; empty if it cannot.
        translates: it returns only the errnos it declares, whatever its callees returned.
        acquires, releases, uses: the kind of resource, or "".
        obj: which resource: an expression over the parameters and the result, or "" for the result.
        symbol: what the function is called in a built kernel.
        effect: an outside event that makes a difference when it falls into this call, or "".
        config: the Kconfig option without which the function is empty, or "".
        idempotent: releasing what is not held is legal, as freeing NULL is.
        inlined_into: callers into which the compiler builds it, so that a built kernel shows no call.
        only_if: the recorded argument without which a call cannot fail, or "".
        alias: recorded arguments by the names that the log of a built kernel gives them.
        former: what the function is called in older kernels.
    """

    name: str
    module: str
    function: Callable[..., object] = attrs.field(repr=False)
    fails: tuple[Failure, ...] = ()
    translates: bool = False
    acquires: str = ""
    releases: str = ""
    uses: str = ""
    obj: str = ""
    symbol: str = ""
    effect: str = ""
    config: str = ""
    idempotent: bool = False
    inlined_into: frozenset[str] = frozenset()
    only_if: str = ""
    alias: Mapping[str, str] = attrs.Factory(dict)
    former: str = ""

    @property
    def errnos(self) -> frozenset[int]:
        """The errnos that the function itself gives, positive."""
        return frozenset(int(f) for f in self.fails if isinstance(f, Errno))

    @property
    def returns_int(self) -> bool:
        """Whether the C function returns an int, if only ever 0."""
        return self.function.__annotations__.get("return") in ("int", int)

    @property
    def file(self) -> str:
        """The kernel file that the function is in: as its docstring says, or else its module's."""
        own = re.search(_FILE, self.function.__doc__ or "")
        return own[1] if own else mirrored(self.module)

    @property
    def jumps(self) -> bool:
        """Whether the function has a goto ladder."""
        return "ladder" in self.function.__code__.co_names

    @property
    def ladder(self) -> Ladder | None:
        """The goto ladder of the function, read from its text, or None."""
        from kvm_ref.reading import ladder_of

        return ladder_of(self)

    @property
    def exits(self) -> tuple[Exit, ...]:
        """Every way out of the function, read from its text."""
        from kvm_ref.reading import exits_of

        return exits_of(self)


def mirrored(module: str) -> str:
    """Return the kernel file that a module mirrors, from its docstring, or ""."""
    words = (sys.modules[module].__doc__ or "").split(None, 2)
    return words[1].rstrip(":.,") if len(words) > 1 and words[0] == "Mirrors" else ""


_FILE = r"(?:\(|Source: )((?:[\w-]+/)+[\w-]+\.[chS])\b"
_DECLARED: dict[str, list[Facts]] = {}


def kernel_function(
    *,
    fails: Failure | tuple[Failure, ...] = (),
    translates: bool = False,
    acquires: str = "",
    releases: str = "",
    uses: str = "",
    obj: str = "",
    args: tuple[str, ...] = (),
    symbol: str = "",
    effect: str = "",
    config: str = "",
    idempotent: bool = False,
    inlined_into: tuple[str, ...] = (),
    only_if: str = "",
    alias: Mapping[str, str] | None = None,
    former: str = "",
) -> Callable[[Callable[Concatenate[Kernel, P], R]], Callable[Concatenate[Kernel, P], R]]:
    """Declare the facts of a kernel function and make its calls leave events.

    Args:
        fails: how it can fail: an errno, NULL, ERR_PTR(errno), or the bool that means failure.
        translates: it gives only its own errnos, never a callee's.
        acquires, releases, uses: the kind of resource, such as "kmem_cache".
        obj: which resource: an expression over the parameters and, for what is acquired, over
            the result ``r``. Default: what is acquired is the result, what is released or used is
            the first argument.
        args: what to record in the ``enter`` event: names of parameters, or "name=expression" over these.
        symbol: the name in a built kernel, if it differs.
        effect: an outside event that matters when it falls into this call ("SYSTEM_RESTART").
        config: on a kernel without this option the function is empty, and its calls leave no trace.
        idempotent: it may be called for something that is not held.
        inlined_into: callers in which a built kernel shows no call of it.
        only_if: one of `args`, a parameter; the C lets a call fail only if this argument is not 0 or NULL.
        alias: which of `args` the log of a built kernel calls by another name, by that name.
        former: the name in older kernels, if it was another.
    """

    def declare(function: Callable[Concatenate[Kernel, P], R]) -> Callable[Concatenate[Kernel, P], R]:
        facts = Facts(
            name=function.__name__,
            module=function.__module__,
            function=function,
            fails=fails if isinstance(fails, tuple) else (fails,),
            translates=translates,
            acquires=acquires,
            releases=releases,
            uses=uses,
            obj=obj or (function.__code__.co_varnames[1] if releases or uses else ""),
            symbol=symbol or function.__name__,
            effect=effect,
            config=config,
            idempotent=idempotent,
            inlined_into=frozenset(inlined_into),
            only_if=only_if,
            alias=alias or {},
            former=former,
        )
        _DECLARED.setdefault(facts.name, []).append(facts)
        wrapper = traced(facts, args)
        functools.update_wrapper(wrapper, function)
        return wrapper

    return declare


def facts_of(function: object) -> Facts | None:
    """Return the facts of a kernel function as `kernel_function` returned it, or None of any other."""
    names = getattr(function, "__globals__", {})
    facts = names.get("FACTS")
    return facts if isinstance(facts, Facts) and names.get("traced") is function else None


def declared() -> Iterator[Facts]:
    """Yield the facts of every kernel function of every module that was imported."""
    for same_name in _DECLARED.values():
        yield from same_name


def ending(name: str) -> list[Facts]:
    """Return the facts of every such function whose name ends in `name`, as those do that a pointer is to."""
    return [facts for full, same_name in _DECLARED.items() if full.endswith(name) for facts in same_name]


class Vocabulary(Mapping[str, Facts]):
    """The functions that one backend's kernel has, by name.

    Args:
        prefixes: names of the modules, or of packages of them, that the backend adds to kvm_ref.
    """

    def __init__(self, prefixes: Iterable[str] = ()) -> None:
        self._prefixes = tuple(prefixes)
        accepted = tuple(f"{prefix}." for prefix in ("kvm_ref", *self._prefixes))
        # Where the backend brings a function of its own, the weak one of that name is not linked.
        self._facts = {
            name: facts
            for name, declared in sorted(_DECLARED.items())
            for facts in sorted(declared, key=lambda facts: not facts.module.startswith("kvm_ref."))
            if f"{facts.module}.".startswith(accepted)
        }
        symbols: dict[str, list[Facts]] = {}
        for facts in self._facts.values():
            symbols.setdefault(facts.symbol, []).append(facts)
        self._symbols = symbols

    def __getitem__(self, name: str) -> Facts:
        return self._facts[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._facts)

    def __len__(self) -> int:
        return len(self._facts)

    # A vocabulary equals itself only, so that what was worked out for it can be kept by it.
    def __eq__(self, other: object) -> bool:
        return self is other

    def __hash__(self) -> int:
        return id(self)

    def __reduce__(self) -> tuple[object, ...]:
        # Another process that has imported the same modules makes its own.
        return _of, (self._prefixes,)

    @classmethod
    def of(cls, backend: Backend) -> Vocabulary:
        """Return the vocabulary of a backend's kernel."""
        return _of(backend.packages)

    def built(self, symbol: str) -> list[Facts]:
        """Return the functions that are called `symbol` in a built kernel."""
        return self._symbols.get(symbol, [])

    def symbol(self, name: str) -> str:
        """Return what the function `name` is called in a built kernel."""
        facts = self._facts.get(name)
        return facts.symbol if facts else name


@functools.cache
def _of(packages: tuple[str, ...]) -> Vocabulary:
    # A cache of what never changes: a module declares its functions once, when it is imported. All there
    # are of kvm_ref's are imported, so that it does not matter who asks first, or which backends came before.
    _import_all()
    return Vocabulary(packages)


@functools.cache
def _import_all() -> None:
    import kvm_ref.verbs  # noqa: F401

    for package in ("kvm_ref.linux", "kvm_ref.virt"):
        for found in pkgutil.iter_modules(importlib.import_module(package).__path__, f"{package}."):
            importlib.import_module(found.name)
