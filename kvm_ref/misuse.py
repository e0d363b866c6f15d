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


def one_line(text: str) -> str:
    """Return a text of another's in one line."""
    return " ".join(text.split())


def told(error: BaseException) -> str:
    """Say in one line what was raised by code of another's."""
    return ": ".join(filter(None, (type(error).__name__, one_line(str(error)))))


def near(word: str, known: Iterable[str], likeness: float = 0.5) -> str:
    """Return the known name nearest to `word`, or "" if none is as alike as that, of 1. Case does not count."""
    # Who makes no mistake need not wait for it.
    import difflib

    spelt = {name.lower(): name for name in sorted(known)}
    return "".join(
        spelt[close] for close in difflib.get_close_matches(word.lower(), spelt, n=1, cutoff=likeness)
    )


def nearest(word: str, known: Iterable[str]) -> str:
    """Return ``: did you mean X?`` for the known name nearest to `word`, or the names there are."""
    names = sorted(known)
    close = near(word, names)
    if close:
        return f": did you mean {close}?"
    if len(names) <= 16:
        return f": expected one of {', '.join(names)}"
    return ": no name comes near it"
