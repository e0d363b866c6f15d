# SPDX-License-Identifier: GPL-2.0-only
"""The judge of second attempts: what failed once can be had afterwards.

A load into which no fault falls, of a module that is not loaded, works; so does the unload of one that
is loaded, is not built in, and that nobody uses. Unless another hypervisor holds a CPU, which is no fault of KVM's.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import itemgetter

from kvm_ref.errno import EEXIST, ENOENT
from kvm_ref.judges.finding import Finding, verbs_of
from kvm_ref.judges.index import Index
from kvm_ref.judges.whole_trace import WholeTrace
from kvm_ref.text import errno_name
from kvm_ref.trace import Trace
from kvm_ref.vocabulary import Vocabulary


@WholeTrace
def retry(trace: Trace, seen: Sequence[Index], vocabulary: Vocabulary) -> list[Finding]:
    """Find loads and unloads that fail without a reason of their own, after an earlier failure."""
    out: list[Finding] = []
    if not any(_asked(one)[3] for one in seen):
        return out
    loaded: list[str] = []
    users = 0
    foreign: set[str] = set()
    failed = False
    for number, step in enumerate(trace.steps):
        if len(step.verbs) > 1 or step.results == [None]:
            return out
        verb, argument, injected, odd = _asked(seen[number])
        result = step.results[0] or 0
        if failed and odd and (not foreign if verb == "load" else argument in loaded and not users):
            message = f"{verbs_of(trace, number)} gives {errno_name(result)}, though nothing fails in it"
            out.append(Finding(judge="retry", message=message, step=number))
        failed = failed or injected
        if result < 0:
            continue
        if verb == "load":
            loaded.append(argument)
        elif verb == "unload" and argument in loaded:
            loaded.remove(argument)
        elif verb in ("create-vm", "open-dev"):
            users += 1
        elif verb in ("close-vm", "close-dev"):
            users -= 1
        elif verb == "foreign-on":
            foreign.add(argument)
        elif verb == "foreign-off":
            foreign.discard(argument)
    return out


# By verb the errno that has a reason of its own: the module is loaded, or is not.
_DUE = {"load": EEXIST, "unload": ENOENT}


def _asked(seen: Index) -> tuple[str, str, bool, bool]:
    # The verb of a step, its argument, whether a fault fell into it, and whether it fails for no such reason.
    if "retry" not in seen.found:
        verb, _, argument = seen.verbs[0].partition("=")
        # Nearly all faults are errors.
        injected = any(e[0] == "inject" for _, e in seen.errors) or "inject" in map(
            itemgetter(0), seen.events
        )
        result = seen.results[0] or 0
        odd = result < 0 and not injected and verb in _DUE and -result != _DUE[verb]
        seen.found["retry"] = (verb, argument, injected, odd)
    asked: tuple[str, str, bool, bool] = seen.found["retry"]
    return asked
