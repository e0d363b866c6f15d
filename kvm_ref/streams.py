# SPDX-License-Identifier: GPL-2.0-only
"""Standard output and standard error as the command finds them: they may be closed, or take nothing."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from typing import TextIO

from kvm_ref.misuse import Misuse

CLOSED = "standard output is closed: expected a terminal, a pipe or a file"


class Closed(io.StringIO):
    """Stands for a standard output that is closed, and refuses what is written to it."""

    def writable(self) -> bool:
        """Say so, to whoever asks before the work begins."""
        return False

    def write(self, text: str) -> int:
        """Refuse a text.

        Raises:
            Misuse: there is one.
        """
        if text:
            raise Misuse(CLOSED)
        return 0


class Messages(io.TextIOWrapper):
    """A standard error that loses what it cannot take: a message that nobody sees changes no exit status."""

    def write(self, text: str) -> int:
        """Write a text at once, if that can be done."""
        try:
            super().write(text)
            super().flush()
        except OSError:
            discard(self)
        return len(text)


def discard(stream: TextIO) -> None:
    """Have a stream lose what it holds, and all that comes: it cannot be written, not even when Python shuts down."""
    with contextlib.suppress(io.UnsupportedOperation):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def mend() -> None:
    """Give this process a standard output and a standard error that can be used."""
    # Otherwise the next file to be opened would be what others take for the standard output.
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(descriptor)
    # Python has none where there is no descriptor.
    if not isinstance(sys.stdout, io.TextIOBase):
        sys.stdout = Closed()
    if isinstance(sys.stderr, io.TextIOWrapper):
        sys.stderr = Messages(sys.stderr.buffer, sys.stderr.encoding, sys.stderr.errors, line_buffering=True)
    else:
        sys.stderr = io.StringIO()
