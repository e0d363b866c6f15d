# SPDX-License-Identifier: GPL-2.0-only
"""What the ``kvm-ref tree`` commands print, as text and as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import attrs

from kvm_ref.text import errno_name, tree
from kvm_ref.tree.audit import Audited
from kvm_ref.tree.check import Held
from kvm_ref.tree.defects import Defect
from kvm_ref.tree.result import Checked
from kvm_ref.tree.ways import Way


def text(path: str, version: str, done: Sequence[Checked], *, every: bool) -> Iterator[str]:
    """Yield what came of holding a tree against the model; with `every` each function."""
    yield f"# {path}, Linux {version}"
    for one in done:
        yield from _backend(one, every)
    defects = [defect for one in done for defect in one.defects]
    for defect in dict.fromkeys(defects):
        yield ""
        yield from explain(defect)
    equal = sum(held.equal for one in done for held in one.held)
    cases = sum(held.cases for one in done for held in one.held)
    yield ""
    yield f"{equal} of {cases} things that the model's functions do are in the tree, in the same order"


def another(path: str, version: str, missing: Sequence[str]) -> Iterator[str]:
    """Yield that a tree has another design than the model."""
    yield f"# {path}, Linux {version}"
    yield f"this tree has another design than the model: there is no {', '.join(f'{n}()' for n in missing)}"
    yield "nothing was compared; its ladders can be audited all the same:"
    yield f"    kvm-ref tree audit {path}/virt/kvm/kvm_main.c --function kvm_init"


def _backend(one: Checked, every: bool) -> Iterator[str]:
    equal = sum(held.equal == held.cases for held in one.held)
    untried = sum(len(held.untried) for held in one.held)
    yield (
        f"{one.backend}: {equal} of {len(one.held)} functions equal at every fault, "
        f"{sum(h.equal for h in one.held)} of {sum(h.cases for h in one.held)} cases"
        f"; {untried} jumps and returns that no run of the model takes"
    )
    for name in one.missing:
        yield f"    {name}() is not in this tree"
    for commit, has in one.commits:
        yield f"    your tree {'has' if has else 'does not have'} {commit.hash}: {commit.title}"
    for held in one.held:
        if held.error:
            yield f"    {held.path}:{held.line}: {held.error}"
        elif every or held.parted or held.remarks:
            yield f"    {held.path}:{held.line}: {held.name}() {held.equal} of {held.cases}"
            if every and held.untried:
                yield f"        not taken: lines {', '.join(map(str, held.untried))}"


def explain(defect: Defect) -> Iterator[str]:
    """Yield a defect in full: where, what, and the way there."""
    yield f"{defect.at.path}:{defect.at.line}: {defect.rule}: {defect.message}"
    if defect.fault:
        yield f"    when {defect.fault} fails"
    for at in defect.flow:
        yield f"    {at.path}:{at.line}: {at.text}"


def to_json(done: Sequence[Checked]) -> dict[str, Any]:
    """Return what came of holding a tree against the model as the object that ``json.dump`` takes."""
    return {
        "backends": [
            {
                "backend": one.backend,
                "missing": list(one.missing),
                "commits": [{"commit": c.hash, "title": c.title, "present": has} for c, has in one.commits],
                "functions": [_held(held) for held in one.held],
                "guessed": list(one.guessed),
            }
            for one in done
        ],
        "defects": [d.to_json() for d in dict.fromkeys(d for one in done for d in one.defects)],
    }


def _held(held: Held) -> dict[str, Any]:
    return {
        "function": held.name,
        "file": held.path,
        "line": held.line,
        "cases": held.cases,
        "equal": held.equal,
        "untried": list(held.untried),
        "error": held.error,
        "differences": [
            {
                "fault": parted.case.fault,
                "verb": parted.case.verb,
                "file": parted.difference.path,
                "line": parted.difference.line,
                "text": parted.difference.text,
                "model": parted.difference.model,
            }
            for parted in held.parted
        ],
    }


def way(one: Way, path: str, version: str) -> Iterator[str]:
    """Yield a way through a function as a tree of calls."""
    step = one.trace.steps[0]
    yield f"# {path}, Linux {version}"
    for fault in one.trace.faults:
        yield f"# fault: {fault['function']}#{fault['nth']}"
    for (file, line, condition), taken in one.assumed:
        yield f"# assumed: {file}:{line}: {condition} is {'true' if taken else 'false'}"
    yield "# CPU  TASK      CALLS"
    yield from tree(step.events or ())
    yield f"{step.verbs[0]}(): {errno_name(step.results[0])}"


def audit(done: Sequence[Audited]) -> Iterator[str]:
    """Yield what the audit found: each function, then what is wrong."""
    for one in done:
        if one.error:
            yield f"{one.error}"
            continue
        more = ", and there are more" if one.more else ""
        yield f"{one.path}:{one.line}: {one.name}(): {one.ways} ways, {one.faults} calls failed{more}"
    defects = list(dict.fromkeys(defect for one in done for defect in one.defects))
    for defect in defects:
        yield ""
        yield from explain(defect)
    yield ""
    yield f"{len(done)} functions, {len(defects)} findings"


def audit_to_json(done: Sequence[Audited]) -> dict[str, Any]:
    """Return what the audit found as the object that ``json.dump`` takes."""
    return {"format": "kvm-ref-audit/1", "functions": [attrs.asdict(one) for one in done]}
