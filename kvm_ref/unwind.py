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
one raised elsewhere in the ladder leaves the function, as ``return r`` does. Labels fall through
in the order in which `Goto.reached` is asked. A label with nothing of its own to undo, or that the
good path runs through as well, is asked without ``if``.
"""

from __future__ import annotations

import sys
from types import TracebackType
from typing import TYPE_CHECKING

from kvm_ref.errno import KernelError

if TYPE_CHECKING:
    from kvm_ref.kernel import Kernel


class ladder:
    """Open the goto ladder of the calling function."""

    __slots__ = ("_fell", "_k", "_label", "_target", "error", "function")

    def __init__(self, k: Kernel) -> None:
        self._k = k
        self._label = ""
        self._target = ""
        self._fell = False
        self.function = sys._getframe(1).f_code.co_name
        self.error: KernelError | None = None

    def __enter__(self) -> Goto:
        return Goto(self)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> bool:
        return error is not None and error is self.error


class Goto:
    """The jumps of one ladder, and the labels that they reach."""

    __slots__ = ("_label", "_ladder")

    def __init__(self, ladder: ladder) -> None:
        self._ladder = ladder
        self._label = ""

    def __call__(self, label: str) -> Goto:
        """Jump to `label` if the block that follows fails."""
        self._label = label
        return self

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        if error is not None and isinstance(error, KernelError):
            jump = self._ladder
            assert error.errno is not None
            jump._target = self._label
            jump.error = error.with_traceback(None)
            k = jump._k
            k.emit(("goto", k.at, jump.function, {"label": self._label}, -error.errno))

    def reached(self, label: str) -> bool:
        """Say whether control comes to `label`: by a jump to it, or falling from one above."""
        jump = self._ladder
        if jump._target == label:
            jump._fell = True
        return jump._fell

    @property
    def error(self) -> KernelError:
        """The error that the ladder ends with; asked once.

        It is handed over, not kept: an error that refers to a frame that refers to it would
        outlive the run.
        """
        error = self._ladder.error
        assert error is not None
        self._ladder.error = None
        return error

    @property
    def failed(self) -> bool:
        """Whether there was a jump; asked where the good path runs through a label too."""
        return self._ladder.error is not None
