# SPDX-License-Identifier: GPL-2.0-only
"""The judge of BUG(): the kernel has no way out of one, so no fault may lead there."""

from __future__ import annotations

from kvm_ref.judges.finding import Finding, verbs_of
from kvm_ref.trace import Trace
from kvm_ref.vocabulary import Vocabulary

# Verbs that do not come back, whatever they do.
_ENDS = ("reboot", "poweroff", "halt", "kexec")
_BUG = "kernel BUG: "


def bug(trace: Trace, vocabulary: Vocabulary) -> list[Finding]:
    """Find verbs that did not come back, because the machine stopped in a BUG()."""
    out: list[Finding] = []
    for number, step in enumerate(trace.steps):
        if None not in step.results:
            continue
        told = [line for line in trace.log if line.startswith(_BUG)]
        for verb, result in zip(step.verbs, step.results, strict=True):
            if result is None and (told or verb not in _ENDS):
                what = told[-1].removeprefix(_BUG) if told else "no line of the log says where"
                message = f"{verbs_of(trace, number)} ends in a BUG(): {what}"
                out.append(Finding(judge="bug", message=message, step=number))
    return out
