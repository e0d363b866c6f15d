# SPDX-License-Identifier: GPL-2.0-only
"""Pairs of functions that acquire and release something, which the user adds to the vocabulary.

A file of pairs has a line for each::

    # acquires         releases            fails with
    pci_enable_device  pci_disable_device  -ENODEV
    clk_get            clk_put             ERR_PTR(-ENOENT)
    dma_pool_create    dma_pool_destroy    NULL
    foo_try            foo_put             false
    foo_hold           foo_release         never

What fails with NULL or an error pointer returns what it acquires; of the others it is the first
argument. The releasing function takes it as its first argument.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from kvm_ref.errno import Errno, ErrPtr
from kvm_ref.misuse import Misuse, nearest, unreadable
from kvm_ref.vocabulary import NULL, Facts, Failure

_EXPECTED = (
    "expected ACQUIRES RELEASES FAILURE, with a FAILURE like -ENOMEM, NULL, ERR_PTR(-ENOMEM), false or never"
)


# What the facts of a pair are of: only the parameters and what is returned matter.
def _number(k: object, it: object) -> None:
    """Return 0 or an error number."""


def _pointer(k: object, it: object) -> object:
    """Return what is acquired."""


def _flag(k: object, it: object) -> bool:
    """Return whether it worked."""
    raise NotImplementedError


def read(path: str | Path) -> dict[str, Facts]:
    """Read a file of pairs.

    Raises:
        Misuse: it cannot be read, or a line of it is no pair.
    """
    try:
        lines = Path(path).read_text("utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise Misuse(f"{path}: {unreadable(error)}") from None
    out: dict[str, Facts] = {}
    for number, line in enumerate(lines, 1):
        words = line.partition("#")[0].split()
        if not words:
            continue
        if len(words) != 3 or not all(word.isidentifier() for word in words[:2]):
            raise Misuse(f"{path}:{number}: {line.strip()!r}: {_EXPECTED}")
        acquire, release, failure = words
        fails, function = _failure(failure, f"{path}:{number}")
        by_value = function is _pointer
        out[acquire] = Facts(
            acquire, "", function, fails, acquires=acquire, obj="" if by_value else "it", symbol=acquire
        )
        out[release] = Facts(
            release, "", _number, (), releases=acquire, obj="it", symbol=release, idempotent=False
        )
    return out


def _failure(text: str, where: str) -> tuple[tuple[Failure, ...], Callable[..., object]]:
    name = text.removeprefix("ERR_PTR(").removesuffix(")").removeprefix("-")
    if text == "never":
        return (), _number
    if text == "NULL":
        return (NULL,), _pointer
    if text in ("false", "true"):
        return (text == "true",), _flag
    if name in Errno.__members__:
        errno = Errno[name]
        if text == f"-{name}":
            return (errno,), _number
        if text == f"ERR_PTR(-{name})":
            return (ErrPtr(errno),), _pointer
    known = ["NULL", "false", "true", "never", *(f"-{name}" for name in Errno.__members__)]
    raise Misuse(f"{where}: unknown failure {text!r}{nearest(text, known)}")
