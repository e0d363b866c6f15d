# SPDX-License-Identifier: GPL-2.0-only
"""Reading a C file from disk."""

from __future__ import annotations

import stat
from pathlib import Path

from kvm_ref.misuse import Misuse, nearest, unreadable

_LIMIT = 8 << 20


def read_text(path: Path) -> bytes:
    """Return what a C file holds.

    Raises:
        Misuse: there is no such file, it cannot be read, or it is no C text.
    """
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):
            raise Misuse(f"{path}: no regular file: expected C text")
        if found.st_size > _LIMIT:
            raise Misuse(f"{path}: enormous: {found.st_size >> 20} MiB, expected C text of 8 MiB at most")
        text = path.read_bytes()
    except FileNotFoundError:
        there = [one.name for one in path.parent.iterdir()] if path.parent.is_dir() else []
        raise Misuse(f"{path}: there is no such file{nearest(path.name, there) if there else ''}") from None
    except Misuse:
        raise
    except (OSError, ValueError) as error:
        raise Misuse(f"{path}: {unreadable(error)}") from None
    at = text.find(b"\0")
    if at >= 0:
        raise Misuse(f"{path}: no C text: byte {at} is NUL")
    return text
