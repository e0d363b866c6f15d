# SPDX-License-Identifier: GPL-2.0-only
"""The judge of error labels: who unwinds has an error, and gives one back.

A ladder that jumps without an error, or that succeeds after it has unwound, tells its caller that
what was just taken down is there.
"""

from __future__ import annotations

from kvm_ref.judges.finding import Finding
from kvm_ref.judges.index import ERRORS, index
from kvm_ref.trace import Trace
from kvm_ref.vocabulary import Vocabulary


def error_set(trace: Trace, vocabulary: Vocabulary) -> list[Finding]:
    """Find jumps to labels without an error set, and functions that succeed after one."""
    out: list[Finding] = []
    for number, step in enumerate(trace.steps):
        seen = index(step, vocabulary)
        for jump in seen.jumps() if seen.gotos else ():
            function, value = jump.event[2], jump.event[4]
            message = ""
            if value not in ERRORS:
                message = f"{function}() jumps to {jump.label} without an error: {value}"
            elif jump.exit is not None and jump.exit[4].__class__ is int and jump.exit[4] == 0:
                message = f"{function}() returns 0 after it jumped to {jump.label}"
            if message:
                label = f"{function}:{jump.label}"
                out.append(Finding(judge="error_set", message=message, step=number, label=label))
    return out
