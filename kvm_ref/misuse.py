# SPDX-License-Identifier: GPL-2.0-only
"""What the user got wrong, in one line: what it was, and what would be right."""

from __future__ import annotations

from collections.abc import Iterable


class Misuse(ValueError):
    """The request cannot be carried out as given. The message is one line; the exit status is 2."""


def unreadable(error: Exception) -> str:
    """Say in a few words why a file could not be read."""
    if isinstance(error, UnicodeError):
        return "it is no text"
    return error.strerror or str(error) if isinstance(error, OSError) else str(error)


def nearest(word: str, known: Iterable[str]) -> str:
    """Return ``: did you mean X?`` for the known name nearest to `word`, or the names there are."""
    # Who makes no mistake need not wait for it.
    import difflib

    names = sorted(known)
    close = difflib.get_close_matches(word, names, n=1, cutoff=0.5)
    if close:
        return f": did you mean {close[0]}?"
    if len(names) <= 16:
        return f": expected one of {', '.join(names)}"
    return ": no name comes near it"
