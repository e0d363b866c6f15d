# SPDX-License-Identifier: GPL-2.0-only
"""The judge of second attempts: what failed once can be had afterwards.

A load into which no fault falls, of a module that is not loaded, works; so does the unload of one that
is loaded, is not built in, and that nobody uses. Unless another hypervisor holds a CPU, which is no fault of KVM's.
"""

from __future__ import annotations

from operator import itemgetter
from typing import NamedTuple

from kvm_ref.errno import EEXIST, ENOENT
from kvm_ref.judges.finding import Finding, verbs_of
from kvm_ref.judges.index import Index
from kvm_ref.judges.step_by_step import Moment, StepByStep
from kvm_ref.text import errno_name


class _Known(NamedTuple):
    # The modules that are loaded; how many files are open; which CPUs another hypervisor holds; whether a
    # fault fell into a step; and whether the trace goes on in a way that can be judged.
    loaded: tuple[str, ...] = ()
    users: int = 0
    foreign: frozenset[str] = frozenset()
    failed: bool = False
    judged: bool = True


def _look(was: _Known, at: Moment) -> tuple[_Known, list[Finding]]:
    """Find loads and unloads that fail without a reason of their own, after an earlier failure."""
    loaded, users, foreign, failed, judged = was
    step = at.step
    if not judged or len(step.verbs) > 1 or step.results == [None]:
        return was._replace(judged=False), []
    out: list[Finding] = []
    verb, argument, odd = _asked(at.seen)
    result = step.results[0] or 0
    if failed and odd and (not foreign if verb == "load" else argument in loaded and not users):
        message = f"{verbs_of(at.trace, at.number)} gives {errno_name(result)}, though nothing fails in it"
        out.append(Finding(judge="retry", message=message, step=at.number))
    failed = failed or _injected(at.seen)
    if result < 0:
        return was if failed == was.failed else was._replace(failed=failed), out
    if verb == "load":
        loaded = (*loaded, argument)
    elif verb == "unload" and argument in loaded:
        nth = loaded.index(argument)
        loaded = loaded[:nth] + loaded[nth + 1 :]
    elif verb in ("create-vm", "open-dev"):
        users += 1
    elif verb in ("close-vm", "close-dev"):
        users -= 1
    elif verb == "foreign-on":
        foreign = foreign | {argument}
    elif verb == "foreign-off":
        foreign = foreign - {argument}
    return _Known(loaded, users, foreign, failed), out


retry = StepByStep("retry", _Known(), _look)


# By verb the errno that has a reason of its own: the module is loaded, or is not.
_DUE = {"load": EEXIST, "unload": ENOENT}


def _asked(seen: Index) -> tuple[str, str, bool]:
    # The verb of a step, its argument, and whether it fails for no such reason, nor by a fault.
    if "retry" not in seen.found:
        verb, _, argument = seen.verbs[0].partition("=")
        result = seen.results[0] or 0
        odd = result < 0 and verb in _DUE and -result != _DUE[verb] and not _injected(seen)
        seen.found["retry"] = (verb, argument, odd)
    asked: tuple[str, str, bool] = seen.found["retry"]
    return asked


def _injected(seen: Index) -> bool:
    # Whether a fault fell into a step; nearly all faults are errors.
    return any(e[0] == "inject" for _, e in seen.errors) or "inject" in map(itemgetter(0), seen.events)
