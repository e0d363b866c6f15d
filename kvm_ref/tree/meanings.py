# SPDX-License-Identifier: GPL-2.0-only
"""What macros and inline functions of the kernel mean that read and write variables."""

from __future__ import annotations

from collections.abc import Callable

from kvm_ref.tree.expressions import (
    PURE,
    AddressOf,
    Apply,
    Constant,
    Element,
    Expression,
    Place,
    Pointed,
    Temp,
    Unknown,
)

_STORE = frozenset({"WRITE_ONCE", "rcu_assign_pointer", "RCU_INIT_POINTER"})
_STORE_TO = frozenset({"smp_store_release", "smp_store_mb"})
_THIS_CPU = frozenset({"this_cpu_read", "__this_cpu_read", "raw_cpu_read"})
_THIS_CPU_SET = frozenset({"this_cpu_write", "__this_cpu_write", "raw_cpu_write"})
_THIS_CPU_PTR = frozenset({"this_cpu_ptr", "raw_cpu_ptr", "__this_cpu_ptr"})
_WARN = frozenset({"WARN", "WARN_ONCE", "WARN_TAINT", "WARN_RATELIMIT", "KVM_BUG_ON"})
# Those that take a pointer from what frees it at the end of its block.
_GIVE_UP = frozenset({"no_free_ptr", "return_ptr", "retain_and_null_ptr"})
_HERE = Unknown("this CPU")

# What is stored where, in order, and what the whole is worth.
Meaning = tuple[tuple[tuple[Place, Expression], ...], Expression]


def meaning(name: str, args: tuple[Expression, ...], temp: Callable[[], Temp]) -> Meaning | None:
    """Return what a call of a macro or inline function means, or None if it is a call like any other.

    Args:
        name: the macro or function.
        args: its arguments.
        temp: gives a temporary variable.
    """
    match name, args:
        case _, (of,) if name in PURE:
            return (), Apply(name, of)
        case _, (of, *_) if name in _WARN:
            return (), Apply("WARN_ON", of)
        case ("smp_load_acquire", (pointer,)):
            return (), _through(pointer)
        case _, (Place() as place, value) if name in _STORE:
            return ((place, value),), place
        case _, (Place() as of, value) if name in _THIS_CPU_SET:
            place = Element(of, _HERE)
            return ((place, value),), place
        case _, (pointer, value) if name in _STORE_TO:
            return ((_through(pointer), value),), value
        case ("xchg", (pointer, value)):
            old, place = temp(), _through(pointer)
            return ((old, place), (place, value)), old
        case _, (Place() as place,) if name in _GIVE_UP:
            old = temp()
            return ((old, place), (place, Constant(0))), old
        case ("per_cpu", (of, cpu)):
            return (), Element(of, cpu)
        case ("per_cpu_ptr", (of, cpu)):
            return (), AddressOf(Element(_plain(of), cpu))
        case _, (of,) if name in _THIS_CPU:
            return (), Element(of, _HERE)
        case _, (of,) if name in _THIS_CPU_PTR:
            return (), AddressOf(Element(_plain(of), _HERE))
    return None


def _plain(of: Expression) -> Expression:
    # per_cpu_ptr() takes a per-CPU pointer, or the address of a per-CPU variable.
    return of.of if isinstance(of, AddressOf) else of


def _through(pointer: Expression) -> Place:
    return pointer.of if isinstance(pointer, AddressOf) else Pointed(pointer)
