# SPDX-License-Identifier: GPL-2.0-only
"""Judges that look at one step alone.

Runs share steps. What such a judge finds in a step it finds in every run that has this step at the
same place, so it need look only once.
"""

from __future__ import annotations

from collections.abc import Callable

from kvm_ref.judges.finding import Finding
from kvm_ref.judges.index import Index, indexes
from kvm_ref.trace import Trace
from kvm_ref.vocabulary import Vocabulary

# Looks at the step of a number. Of the rest of the trace it may ask only whether it is whole.
Look = Callable[[Trace, int, Index], list[Finding]]


class EachStep:
    """A judge that is asked step by step; use it as a decorator."""

    def __init__(self, look: Look) -> None:
        self.look = look
        self.__name__ = look.__name__
        self.__doc__ = look.__doc__

    def __call__(self, trace: Trace, vocabulary: Vocabulary) -> list[Finding]:
        """Return what is found in all steps."""
        steps = enumerate(indexes(trace, vocabulary))
        return [f for number, seen in steps for f in self.look(trace, number, seen)]
