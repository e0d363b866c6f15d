# SPDX-License-Identifier: GPL-2.0-only
"""Expressions of C without calls, and what they are worth in a given memory.

Calls are taken out beforehand (`kvm_ref.tree.lower`): what a call returned is read back as a `Temp`.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Container

import attrs

from kvm_ref.tree.values import CONSTANTS, Error, Memory, Pointer, Value, settled, truth


class Expression:
    """An expression. `prefix` tells the local variables of one call from those of another."""

    __slots__ = ()

    def value(self, memory: Memory, prefix: str) -> Value:
        """Return what the expression is worth, None if that is not known."""
        return None

    def key(self, prefix: str) -> str:
        """Return a text that is the same for the same unknown value, "" if there is none."""
        raise NotImplementedError  # each kind of expression has its own

    def reads(self, place: Place) -> bool:
        """Say whether another expression is part of this one."""
        parts = (getattr(self, name, None) for name in ("of", "left", "right", "index"))
        return self == place or any(isinstance(part, Expression) and part.reads(place) for part in parts)


class Place(Expression):
    """An expression that can be assigned to."""

    __slots__ = ()

    def address(self, memory: Memory, prefix: str) -> str:
        """Return where it is stored."""
        raise NotImplementedError  # each kind of place has its own

    def value(self, memory: Memory, prefix: str) -> Value:
        return memory.get(self.address(memory, prefix))

    def of_parameter(self, params: Container[str]) -> bool:
        """Say whether it lies in a structure that one of these parameters points to."""
        return False


@attrs.frozen
class Unknown(Expression):
    """What the walk does not look into; `text` is its text in C, "" if two of them may differ."""

    text: str = ""

    def key(self, prefix: str) -> str:
        return self.text


@attrs.frozen
class Constant(Expression):
    """A number, NULL, or a text."""

    of: Value

    def value(self, memory: Memory, prefix: str) -> Value:
        return self.of

    def key(self, prefix: str) -> str:
        return str(self.of)


@attrs.frozen
class Variable(Place):
    """A variable, or a constant by name."""

    name: str
    local: bool

    @property
    def constant(self) -> bool:
        """Whether it is the name of a constant, by its looks."""
        return self.name.isupper()

    def address(self, memory: Memory, prefix: str) -> str:
        return prefix + self.name if self.local else self.name

    def value(self, memory: Memory, prefix: str) -> Value:
        if self.local:
            return memory.values.get(prefix + self.name)
        constant = CONSTANTS.get(self.name)
        return memory.get(self.name) if constant is None else constant

    def key(self, prefix: str) -> str:
        return prefix + self.name if self.local else self.name


@attrs.frozen
class Temp(Place):
    """What a call returned, or what an expression with side effects was worth."""

    number: int

    def address(self, memory: Memory, prefix: str) -> str:
        return f"{prefix}%{self.number}"

    def key(self, prefix: str) -> str:
        return ""


def _pointed(pointer: Expression, memory: Memory, prefix: str) -> str:
    # The address that a pointer points to; an unknown one gets a target of its own.
    value = pointer.value(memory, prefix)
    if isinstance(value, Pointer):
        return value.target
    if isinstance(pointer, Place):
        return "*" + pointer.address(memory, prefix)
    return f"*({pointer.key(prefix) or id(pointer)})"


@attrs.frozen
class Member(Place):
    """``of.name``, or ``of->name`` if `arrow`."""

    of: Expression
    name: str
    arrow: bool

    def address(self, memory: Memory, prefix: str) -> str:
        if self.arrow:
            return f"{_pointed(self.of, memory, prefix)}.{self.name}"
        if isinstance(self.of, Place):
            return f"{self.of.address(memory, prefix)}.{self.name}"
        return f"({self.of.key(prefix)}).{self.name}"

    def of_parameter(self, params: Container[str]) -> bool:
        if isinstance(self.of, Variable):
            return self.arrow and self.of.local and self.of.name in params
        return isinstance(self.of, Place) and not self.arrow and self.of.of_parameter(params)

    def key(self, prefix: str) -> str:
        inner = self.of.key(prefix)
        return inner and f"{inner}{'->' if self.arrow else '.'}{self.name}"


@attrs.frozen
class Element(Place):
    """``of[index]``, and per_cpu(of, index)."""

    of: Expression
    index: Expression

    def address(self, memory: Memory, prefix: str) -> str:
        index = self.index.value(memory, prefix)
        at = str(index) if isinstance(index, int) else self.index.key(prefix) or "?"
        known = self.of.value(memory, prefix)
        if isinstance(known, Pointer):
            return f"{known.target}[{at}]"
        base = self.of.address(memory, prefix) if isinstance(self.of, Place) else self.of.key(prefix)
        return f"{base}[{at}]"

    def key(self, prefix: str) -> str:
        inner, index = self.of.key(prefix), self.index.key(prefix)
        return inner and index and f"{inner}[{index}]"


@attrs.frozen
class Pointed(Place):
    """``*of``."""

    of: Expression

    def address(self, memory: Memory, prefix: str) -> str:
        return _pointed(self.of, memory, prefix)

    def key(self, prefix: str) -> str:
        inner = self.of.key(prefix)
        return inner and f"*{inner}"


@attrs.frozen
class AddressOf(Expression):
    """``&of``."""

    of: Place

    def value(self, memory: Memory, prefix: str) -> Value:
        return Pointer(self.of.address(memory, prefix))

    def key(self, prefix: str) -> str:
        inner = self.of.key(prefix)
        return inner and f"&{inner}"


def _is_err(value: Value) -> Value:
    return None if value is None else int(isinstance(value, Error))


def _ptr_err(value: Value) -> Value:
    return -value.errno if isinstance(value, Error) else None


def _err_ptr(value: Value) -> Value:
    return Error(-value) if isinstance(value, int) and value < 0 else value


def _ptr_err_or_zero(value: Value) -> Value:
    return None if value is None else -value.errno if isinstance(value, Error) else 0


def _is_err_or_null(value: Value) -> Value:
    return None if value is None else int(isinstance(value, Error) or value == 0)


def _same(value: Value) -> Value:
    return value


def _flag(value: Value) -> Value:
    known = truth(value)
    return None if known is None else int(known)


def _minus(value: Value) -> Value:
    return -value if isinstance(value, int) else None


def _not(value: Value) -> Value:
    known = truth(value)
    return None if known is None else int(not known)


# Macros and inline functions of one argument that have no effect, by name, and the unary operators.
PURE: dict[str, Callable[[Value], Value]] = {
    "IS_ERR": _is_err,
    "IS_ERR_VALUE": lambda value: int(value < 0) if isinstance(value, int) else None,
    "PTR_ERR": _ptr_err,
    "ERR_PTR": _err_ptr,
    "ERR_CAST": _same,
    "PTR_ERR_OR_ZERO": _ptr_err_or_zero,
    "IS_ERR_OR_NULL": _is_err_or_null,
    "WARN_ON": _flag,
    "WARN_ON_ONCE": _flag,
    "READ_ONCE": _same,
    "rcu_dereference": _same,
    "rcu_access_pointer": _same,
    "likely": _flag,
    "unlikely": _flag,
    "-": _minus,
    "!": _not,
    "+": _same,
}


@attrs.frozen
class Apply(Expression):
    """A macro of `PURE`, or a unary operator, applied to an expression."""

    name: str
    of: Expression

    def value(self, memory: Memory, prefix: str) -> Value:
        function = PURE.get(self.name)
        return function(settled(self.of.value(memory, prefix))) if function else None

    def key(self, prefix: str) -> str:
        inner = self.of.key(prefix)
        return inner and f"{self.name}({inner})"


_ARITHMETIC: dict[str, Callable[[int, int], int]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "&": operator.and_,
    "|": operator.or_,
    "^": operator.xor,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


@attrs.frozen
class Binary(Expression):
    """``left op right``, for any operator but those that may leave the right side out."""

    op: str
    left: Expression
    right: Expression

    def value(self, memory: Memory, prefix: str) -> Value:
        left, right = settled(self.left.value(memory, prefix)), settled(self.right.value(memory, prefix))
        if left is None or right is None:
            return None
        if self.op in ("==", "!="):
            if left != right and isinstance(left, Pointer) and isinstance(right, Pointer):
                return None  # one may be another name of the other
            return int((left == right) == (self.op == "=="))
        if isinstance(left, int) and isinstance(right, int) and self.op in _ARITHMETIC:
            return int(_ARITHMETIC[self.op](left, right))
        if isinstance(left, Pointer) and isinstance(right, int) and self.op in ("+", "-"):
            return Pointer(f"{left.target}{self.op}{right}")
        return None

    def key(self, prefix: str) -> str:
        left, right = self.left.key(prefix), self.right.key(prefix)
        return left and right and f"({left} {self.op} {right})"

    def fact(self, memory: Memory, prefix: str, text: str) -> str:
        """Return the comparison of a number with a constant that is not known, or "" if it is none.

        What a call gives that a counter is compared with is a constant, too. Nothing that a function does
        changes it, so that loops up to the same constant turn as often. `text` is the comparison in C.
        """
        number = self.left.value(memory, prefix)
        counter = isinstance(self.left, Variable) and self.left.local
        constant = isinstance(self.right, Variable) and self.right.constant and not self.right.local
        if not isinstance(number, int) or not (constant or (counter and isinstance(self.right, Temp))):
            return ""
        return f"{number} {self.op}{text.partition(self.op)[2]}"
