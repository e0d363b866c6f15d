# SPDX-License-Identifier: GPL-2.0-only
"""Judges that look at a whole trace: what one step does is judged by what others did before."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from kvm_ref.judges.finding import Finding
from kvm_ref.judges.index import Index, indexes
from kvm_ref.trace import Trace
from kvm_ref.vocabulary import Vocabulary

# Looks at a trace; of each step it is given the index.
Look = Callable[[Trace, Sequence[Index], Vocabulary], list[Finding]]


class WholeTrace:
    """A judge that is given the index of each step, so that it is asked for once for all; use it as a decorator."""

    def __init__(self, look: Look) -> None:
        self.look = look
        self.__name__ = look.__name__
        self.__doc__ = look.__doc__

    def __call__(self, trace: Trace, vocabulary: Vocabulary) -> list[Finding]:
        """Return what is found in the trace."""
        return self.look(trace, indexes(trace, vocabulary), vocabulary)
