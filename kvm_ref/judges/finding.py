# SPDX-License-Identifier: GPL-2.0-only
"""What a judge finds, and the words for where in a trace something happened."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs

from kvm_ref.judges.index import Index, Jumped
from kvm_ref.judges.nesting import Nesting, nesting
from kvm_ref.trace import Event, Trace


@attrs.define
class Finding:
    """Something that is not as it should be. Do not change one, for runs share it.

    Attributes:
        judge: which judge says so.
        message: what is wrong, in one line.
        step: the step of the trace in which it went wrong, counted from 0.
        label: the goto label that the function at fault unwound through ("kvm_init:err_virt"), or "".
        resource: what it is about, as "kind:id", or "".
        acquired: the calls in which the resource was acquired, innermost first, and the step.
        fault: the fault that was put in, as text, if the one who judges knows it.
        commit: the upstream commit that mends it, if known.
        command: a command that shows it again.
    """

    judge: str
    message: str
    step: int
    label: str = ""
    resource: str = ""
    acquired: str = ""
    fault: str = ""
    commit: str = ""
    command: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return the finding as the object that ``json.dump`` takes."""
        return attrs.asdict(self)


def verbs_of(trace: Trace, step: int) -> str:
    """Name a step for a reader: ``step 2 (unload)``."""
    return f"step {step + 1} ({' '.join(trace.steps[step].verbs)})"


def user_of(events: Sequence[Event]) -> str:
    """Return the task that carries out a step: the first that is no hotplug thread and no interrupt."""
    for event in events:
        task = event[1].task
        if task != "ipi" and not task.startswith("cpuhp/"):
            return task
    return ""


class Place:
    """Where in a trace an event is: the calls around it, and the labels that they jumped to."""

    def __init__(self, trace: Trace, step: int, event: Event) -> None:
        self.step = verbs_of(trace, step)
        self.nesting = nesting(trace.steps[step])
        self.here = self.nesting.place(event)

    def __str__(self) -> str:
        """Name the calls and the step: ``kvm_init_debug < kvm_init < svm_init, step 1 (load)``."""
        names = self.nesting.names(self.here)
        return f"{names}, {self.step}" if names else self.step

    def label(self, seen: Index, *, later: bool = False) -> str:
        """Return the label that a call here had jumped to by then, or jumped to `later`, or "".

        The innermost call that jumped counts, and its last jump.
        """
        if not seen.gotos:
            return ""
        jumps = _jumps(seen, self.nesting)
        for start in self.nesting.calls(self.here):
            for jump in reversed(jumps.get(start, ())):
                if later or jump.place < self.here:
                    return f"{jump.event[2]}:{jump.label}"
        return ""


def _jumps(seen: Index, calls: Nesting) -> dict[int, list[Jumped]]:
    # The jumps of a step with an error, by the place where the call began that they are of.
    if "jumps" not in seen.found:
        by_call: dict[int, list[Jumped]] = {}
        seen.found["jumps"] = by_call
        for jump in seen.failures():
            by_call.setdefault(calls.jumped(jump.place, seen), []).append(jump)
    jumps: dict[int, list[Jumped]] = seen.found["jumps"]
    return jumps
