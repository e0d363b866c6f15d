# SPDX-License-Identifier: GPL-2.0-only
"""The goto ladder: C's way to unwind a function that fails half-way.

In C a failing step jumps to a label, and control falls through that label and all below it, each
undoing one step more. Here a ladder stays a ladder::

    with ladder(k) as goto:
        with goto("err_b"):
            acquire_b(k)
        with goto("err_c"):
            acquire_c(k)
        return

    if goto.reached("err_c"):
        release_b(k)
    if goto.reached("err_b"):
        release_a(k)
    raise goto.error

A `KernelError` raised in a ``with goto(label)`` block leaves a ``goto`` event and ends the ladder;
one raised elsewhere in the ladder leaves the function, as ``return r`` does. A block that raises `NoError`
jumps too, where C does so with nothing wrong. Labels fall through in the order in which `ladder.reached`
is asked. A label with nothing of its own to undo, or that the good path runs through as well, is
asked without ``if``.
"""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager
from types import TracebackType
from typing import TYPE_CHECKING, Self

from kvm_ref.errno import KernelError

if TYPE_CHECKING:
    from kvm_ref.kernel import Kernel


class NoError(Exception):
    """A jump without an error: ``with goto("out"):`` and in it ``if done: raise NoError``."""


class _Unchecked:
    __slots__ = ()

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> bool:
        return isinstance(error, KernelError)


# ``with unchecked:`` around a call: C calls it for its effect, and does not look at what it returns.
unchecked = _Unchecked()


class ladder:
    """The goto ladder of the calling function: its jumps, and the labels that they reach."""

    __slots__ = ("_error", "_k", "_label", "_target")

    def __init__(self, k: Kernel) -> None:
        self._k = k
        # The label that the present block jumps to if it fails, and the one that was jumped to: None
        # once control has come there.
        self._label = ""
        self._target: str | None = ""
        self._error: KernelError | None = None

    def __call__(self, label: str) -> AbstractContextManager[object, bool | None]:
        """Jump to `label` if the block that follows fails."""
        self._label = label
        return self

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> bool | None:
        # Both the end of a block with a label and, without one, the end of the ladder.
        if error is None:
            self._label = ""
            return None
        label = self._label
        self._label = ""
        if not label:
            return error is self._error or isinstance(error, NoError)
        if isinstance(error, KernelError):
            assert error.errno is not None
            self._error = error.with_traceback(None)
            value = -error.errno
        elif isinstance(error, NoError):
            value = None
        else:
            return False
        self._target = label
        k = self._k
        k.emit(("goto", k.at, sys._getframe(1).f_code.co_name, {"label": label}, value))
        return False

    def reached(self, label: str) -> bool:
        """Say whether control comes to `label`: by a jump to it, or falling from one above."""
        if self._target == label:
            self._target = None
        return self._target is None

    @property
    def error(self) -> KernelError:
        """The error that the ladder ends with; asked once.

        It is handed over, not kept: an error that refers to a frame that refers to it would
        outlive the run.
        """
        error = self._error
        assert error is not None
        self._error = None
        return error

    @property
    def failed(self) -> bool:
        """Whether there was a jump with an error; asked where the good path runs through a label too."""
        return self._error is not None
