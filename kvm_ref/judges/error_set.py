# SPDX-License-Identifier: GPL-2.0-only
"""The judge of error labels: who unwinds has an error, and gives one back.

A ladder that jumps without an error, or that succeeds after it has unwound, tells its caller that
what was just taken down is there.
"""

from __future__ import annotations

from kvm_ref.judges.each_step import EachStep
from kvm_ref.judges.finding import Finding
from kvm_ref.judges.index import ERRORS, Index, named
from kvm_ref.trace import Event, Trace


@EachStep
def error_set(trace: Trace, number: int, seen: Index) -> list[Finding]:
    """Find jumps to labels without an error set, and functions that succeed after one."""
    out: list[Finding] = []
    for jump in seen.failures():
        function, value = jump.event[2], jump.event[4]
        message = ""
        if value not in ERRORS:
            message = f"{function}() jumps to {jump.label} without an error: {value}"
        elif jump.exit is not None and _succeeds(seen, jump.exit):
            message = f"{function}() returns 0 after it jumped to {jump.label}"
        if message:
            label = f"{function}:{jump.label}"
            out.append(Finding(judge="error_set", message=message, step=number, label=label))
    return out


def _succeeds(seen: Index, leave: Event) -> bool:
    # Of a bool, 0 is no success.
    zero = leave[4].__class__ is int and leave[4] == 0
    return zero and not any(False in facts.fails for facts in named(seen.vocabulary, leave[2]))
