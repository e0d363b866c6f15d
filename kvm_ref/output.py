# SPDX-License-Identifier: GPL-2.0-only
"""Where a command's output goes: to stdout, or to a file.

Whether a file can be written is known before the work begins. What it holds is replaced when all of the
new is written, and stays if that fails.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Self

from kvm_ref.misuse import Misuse, unreadable
from kvm_ref.streams import CLOSED

# A disk that has no room for so many bytes is full; how long the output will be is not known before.
ROOM = 1 << 16
# /dev/full, which can be opened and not written (Documentation/admin-guide/devices.txt).
FULL = os.makedev(1, 7)


class Output:
    """Takes what a command prints; to be used in a ``with``, which ends with nothing left half done.

    Args:
        path: the file; None or "-" is stdout.

    Raises:
        Misuse: the file cannot be written, or stdout is closed.
    """

    def __init__(self, path: str | None) -> None:
        self.path = None if path == "-" else path
        self._beside: Path | None = None
        if self.path is None:
            if not sys.stdout.writable():
                raise Misuse(CLOSED)
        else:
            with self._refusing():
                self._reserve(self.path)

    def _reserve(self, path: str) -> None:
        if not path:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
        # A link stays a link; what it points to is written.
        self._target = target = Path(os.path.realpath(path))
        exists = target.exists()
        if target.is_dir() or path.endswith(os.sep):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        if exists and not os.access(target, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        if exists and not target.is_file():
            if target.stat().st_rdev == FULL:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return  # another device or a pipe takes what comes
        # Few need it, and it takes others along.
        import tempfile

        try:
            descriptor, name = tempfile.mkstemp(prefix=".kvm-ref-", dir=target.parent)
        except PermissionError:
            if not exists:
                raise
            return  # only the file itself can be written
        except FileNotFoundError:
            if not target.parent.is_dir():
                raise
            raise FileNotFoundError(errno.ENOENT, "its folder takes no new file") from None  # as /proc
        self._beside = Path(name)
        try:
            os.fchmod(descriptor, stat.S_IMODE(target.stat().st_mode) if exists else 0o666 & ~_umask())
            with open(descriptor, "wb") as file:
                file.write(bytes(ROOM))
        except OSError:
            self._beside.unlink()
            raise

    def write(self, lines: Iterable[str]) -> None:
        """Write all that there is to be written.

        Raises:
            Misuse: the file cannot take it.
        """
        text = "".join([f"{line}\n" for line in lines])
        if self.path is None:
            sys.stdout.write(text)
            return
        content = text.encode(errors="replace")
        with self._refusing():
            if self._beside is None:
                self._target.write_bytes(content)
            else:
                self._beside.write_bytes(content)
                self._beside.replace(self._target)
                self._beside = None

    @contextlib.contextmanager
    def _refusing(self) -> Iterator[None]:
        try:
            yield
        except (OSError, ValueError) as error:
            raise Misuse(f"cannot write {self.path!r}: {unreadable(error)}") from None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._beside:
            self._beside.unlink(missing_ok=True)


def _umask() -> int:
    # It can be asked only by setting it.
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
