# SPDX-License-Identifier: GPL-2.0-only
"""What came of holding a tree against one backend: differences, what explains them, and what is wrong."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator, Sequence

import attrs

from kvm_ref.kernel import Commit
from kvm_ref.tree.check import Check, Held, is_kvm
from kvm_ref.tree.defects import Defect, merged, of_held, of_ways
from kvm_ref.tree.evidence import Evidence
from kvm_ref.tree.explore import explore
from kvm_ref.tree.operations import Code
from kvm_ref.tree.program import Interest
from kvm_ref.tree.roles import Roles
from kvm_ref.tree.source import Tree

# The functions of the design that the model has; a tree without them has another one.
_DESIGN = ("kvm_init_virtualization", "kvm_enable_virtualization", "kvm_disable_virtualization")


@attrs.frozen
class Checked:
    """One backend's part of a tree, held against the model.

    Attributes:
        backend: its name.
        names: the functions that the model can compare.
        held: those that were compared.
        missing: functions of the model that the tree does not have.
        commits: upstream commits that the tree has and the model's kernel has not, or the other way
            round, each with whether the tree has it.
        defects: what is wrong.
        guessed: options that were asked for without being known.
    """

    backend: str
    names: tuple[str, ...]
    held: tuple[Held, ...]
    missing: tuple[str, ...]
    commits: tuple[tuple[Commit, bool], ...]
    defects: tuple[Defect, ...]
    guessed: tuple[str, ...]

    @property
    def equal(self) -> bool:
        """Whether text and model agree on everything."""
        return not self.missing and all(one.equal == one.cases and not one.remarks for one in self.held)


def another_design(tree: Tree) -> list[str]:
    """Return the functions that the model stands on and that a tree does not have: none, or all."""
    text = tree.text("virt/kvm/kvm_main.c").decode("utf-8", "replace")
    missing = [name for name in _DESIGN if f"{name}(" not in text]
    return missing if len(missing) == len(_DESIGN) else []


def checked(check: Check, wanted: Sequence[str] = ()) -> Checked:
    """Hold the functions that are wanted, or all, of a tree against the model."""
    names = check.names()
    missing = [
        n for n in names if n not in check.program and check.has_body(n) and (not wanted or n in wanted)
    ]
    held = list(check.all(wanted))
    commits: list[tuple[Commit, bool]] = []
    differing = [one.name for one in held if one.parted]
    if differing:
        held, commits = _explained(check, held, differing)
    defects = merged(_defects(check, held))
    return Checked(
        backend=check.backend.name,
        names=tuple(names),
        held=tuple(one for one in held if one.name not in missing),
        missing=tuple(missing),
        commits=tuple(commits),
        defects=tuple(defects),
        guessed=tuple(sorted(check.program.config.guessed)),
    )


def _explained(
    check: Check, held: list[Held], differing: Sequence[str]
) -> tuple[list[Held], list[tuple[Commit, bool]]]:
    # A commit explains differences if a model with it, or without it, has none of them.
    out = {one.name: one for one in held}
    commits = []
    # A commit is named in the module of the functions that it changes.
    modules = {check.vocabulary[name].module for name in differing}
    near = {id(value) for name in modules for value in vars(sys.modules[name]).values()}
    for commit in [commit for commit in Commit.known.values() if id(commit) in near]:
        evidence = Evidence(check.backend, commits={commit.hash: not commit.default})
        if not _may_differ(check, evidence):
            continue
        other = Check(check.tree, check.backend, check.program.config, evidence, check.program)
        better = [
            found
            for name in differing
            if out[name].parted
            and name in evidence.cases
            and (found := other.held(name)).equal == found.cases
            and not found.error
        ]
        if better:
            commits.append((commit, not commit.default))
            out |= {one.name: one for one in better}
    return list(out.values()), commits


def _may_differ(check: Check, evidence: Evidence) -> bool:
    # A tree with functions that only one of two models has is not like the other one.
    gone, new = check.evidence.cases.keys() - evidence.cases, evidence.cases.keys() - check.evidence.cases
    return not (gone and all(name in check.program for name in gone)) and (
        not new or any(name in check.program for name in new)
    )


def _defects(check: Check, held: Sequence[Held]) -> Iterator[Defect]:
    # What a difference is, and what the judges find on the ways of that function that concerns it.
    roles = Roles(check.vocabulary, check.program)
    interest = Interest(check.program, roles)
    for one in held:
        code = check.program.code(one.name)
        if code is None:
            continue
        if not one.parted:
            yield from of_held(one, check.vocabulary)
            yield from _in_new_steps(check, one, code, roles, interest)
            continue
        yield from of_held(one, check.vocabulary)
        concerned = {
            kind
            for parted in one.parted
            for _, name, _ in (parted.difference.did, parted.difference.due)
            for kind in _kinds(check, name)
        }
        for defect in of_ways(list(explore(interest, roles, code)), roles, one.name):
            if any(defect.message.startswith(f"{kind} ") for kind in concerned):
                yield defect


def _in_new_steps(check: Check, held: Held, code: Code, roles: Roles, interest: Interest) -> Iterator[Defect]:
    # The model knows nothing of a step that a tree adds; where that jumps to, the judges have to say.
    ladder = check.vocabulary[held.name].ladder
    if ladder is None or not is_kvm(code.path):
        return
    if not Counter(n for n, _ in code.gotos) - Counter(j.label for j in ladder.gotos):
        return
    new = {line for _, line in code.gotos if line in held.untried}
    for defect in of_ways(list(explore(interest, roles, code)), roles, held.name):
        if any(at.path == code.path and at.line in new for at in defect.flow):
            yield defect


def _kinds(check: Check, name: str) -> set[str]:
    # The kinds of resource that a function acquires and releases, itself or through others.
    seen = {name}
    todo = [name]
    out: set[str] = set()
    while todo:
        one = todo.pop()
        facts = check.vocabulary.get(one)
        if facts is not None:
            out |= {facts.acquires, facts.releases}
        code = check.program.code(one)
        for called in sorted(code.calls() - seen) if code else ():
            seen.add(called)
            todo.append(called)
    return out - {""}
