# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors include/linux/printk.h and include/asm-generic/bug.h: the kernel log, WARN and BUG."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import NoReturn

from kvm_ref.kernel import Kernel, KernelBug


def pr_info(k: Kernel, line: str) -> None:
    """Log a line at level info."""
    k.log.append(line)


def pr_notice(k: Kernel, line: str) -> None:
    """Log a line at level notice."""
    k.log.append(line)


def pr_warn(k: Kernel, line: str) -> None:
    """Log a line at level warning."""
    k.log.append(line)


def pr_err(k: Kernel, line: str) -> None:
    """Log a line at level error."""
    k.log.append(line)


def _warn(k: Kernel, function: str, text: str) -> None:
    k.emit(("warn", k.at, function, None, text))
    k.log.append(f"WARNING: CPU: {k.at.cpu} at {function}: {text}")


def _first(k: Kernel, text: str) -> str:
    # The function that is about to warn, or "" if it has done so before.
    frame = sys._getframe(2)
    function = frame.f_code.co_name
    place = (frame.f_globals["__name__"], function, text)
    if place in k.warned:
        return ""
    k.warned.add(place)
    return function


def WARN_ON(k: Kernel, condition: object, text: str) -> bool:
    """Warn if `condition` holds, and return whether it does. `text` is the condition as in C."""
    if condition:
        _warn(k, sys._getframe(1).f_code.co_name, text)
    return bool(condition)


def WARN_ON_ONCE(k: Kernel, condition: object, text: str) -> bool:
    """Warn the first time that `condition` holds at this place, and return whether it does."""
    function = _first(k, text) if condition else ""
    if function:
        _warn(k, function, text)
    return bool(condition)


def WARN_ONCE(k: Kernel, condition: object, format: str, *args: Callable[[], object]) -> bool:
    """Warn in words the first time that `condition` holds at this place, and return whether it does.

    The macro's arguments are only worked out when it warns.
    """
    function = _first(k, format) if condition else ""
    if function:
        _warn(k, function, format % tuple([work_out() for work_out in args]))
    return bool(condition)


def BUG_ON(k: Kernel, condition: object, text: str) -> None:
    """Stop the machine if `condition` holds.

    Raises:
        KernelBug: it holds.
    """
    if condition:
        _bug(k, text)


def _bug(k: Kernel, text: str) -> NoReturn:
    k.log.append(f"kernel BUG: {text}")
    k.record()  # the task is gone: what Python undoes on the way out does not happen
    raise KernelBug(text)
