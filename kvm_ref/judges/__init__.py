# SPDX-License-Identifier: GPL-2.0-only
"""Judges: each reads a trace and says what is not as it should be. None looks into a machine."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from kvm_ref.judges.bug import bug
from kvm_ref.judges.double_release import double_release
from kvm_ref.judges.each_step import EachStep
from kvm_ref.judges.errno_chain import errno_chain
from kvm_ref.judges.error_set import error_set
from kvm_ref.judges.finding import Finding
from kvm_ref.judges.hardware_state import hardware_state
from kvm_ref.judges.index import Index, indexes
from kvm_ref.judges.label_order import label_order
from kvm_ref.judges.leak import leak
from kvm_ref.judges.lock_held import lock_held
from kvm_ref.judges.publication import publication
from kvm_ref.judges.reached import Reached
from kvm_ref.judges.retry import retry
from kvm_ref.judges.step_by_step import StepByStep, walk
from kvm_ref.judges.use_after_release import use_after_release
from kvm_ref.judges.user_errno import user_errno
from kvm_ref.judges.virtualization import virtualization
from kvm_ref.judges.whole_trace import WholeTrace
from kvm_ref.trace import Trace
from kvm_ref.vocabulary import Vocabulary

__all__ = ["JUDGES", "Finding", "Judge", "Reached", "judge_all"]

Judge = Callable[[Trace, Vocabulary], list[Finding]]

JUDGES: Mapping[str, Judge] = {
    "leak": leak,
    "double_release": double_release,
    "use_after_release": use_after_release,
    "label_order": label_order,
    "errno_chain": errno_chain,
    "hardware_state": hardware_state,
    "lock_held": lock_held,
    "publication": publication,
    "virtualization": virtualization,
    "error_set": error_set,
    "user_errno": user_errno,
    "retry": retry,
    "bug": bug,
}


_EACH_STEP = [judge for judge in JUDGES.values() if isinstance(judge, EachStep)]
_STEP_BY_STEP = tuple(judge for judge in JUDGES.values() if isinstance(judge, StepByStep))


def judge_all(trace: Trace, vocabulary: Vocabulary, seen: Sequence[Index] | None = None) -> list[Finding]:
    """Return what all judges find, judge by judge; `seen` are the indexes of the steps, if they are known."""
    seen = indexes(trace, vocabulary) if seen is None else seen
    found = walk(trace, seen, vocabulary, _STEP_BY_STEP, _EACH_STEP)
    out: list[Finding] = []
    for judge in JUDGES.values():
        if isinstance(judge, WholeTrace):
            out += judge.look(trace, seen, vocabulary)
        elif not isinstance(judge, (EachStep, StepByStep)):
            out += judge(trace, vocabulary)
        elif found:
            for some in found:
                out += some.get(judge, ())
    return out
