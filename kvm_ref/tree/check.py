# SPDX-License-Identifier: GPL-2.0-only
"""A tree held against the model: every function of one backend that the tree's files have, at every fault."""

from __future__ import annotations

import re
import sys
from collections.abc import Collection, Iterator, Mapping

import attrs

from kvm_ref.backend import Backend
from kvm_ref.tree.balance import unbalanced
from kvm_ref.tree.bodies import Difference, Remark
from kvm_ref.tree.cases import Case
from kvm_ref.tree.config import Config
from kvm_ref.tree.evidence import Evidence
from kvm_ref.tree.failures import astray, unset
from kvm_ref.tree.match import Agreement, Limit, Match
from kvm_ref.tree.names import other_cpus, relabelled, without_jumps
from kvm_ref.tree.needless import Without, needless
from kvm_ref.tree.operations import Code, Goto, Return
from kvm_ref.tree.program import Interest, Program
from kvm_ref.tree.source import Tree
from kvm_ref.vocabulary import Facts, Vocabulary, mirrored

# Options that are not set unless asked for: those for debugging, and those of KVM that an architecture
# selects, but for the ones that its backend names. All others are.
_UNUSUAL = re.compile(
    r"CONFIG_(PREEMPT_RT|LOCKDEP|PROVE_\w+|DEBUG_\w+|KASAN\w*|(HAVE_|NEED_)?KVM_\w+|\w+_DEBUG)"
)
# Where inline functions and macros are that stand between functions of the model.
_HEADERS = ("include/linux/cpu.h", "include/linux/fs.h")


@attrs.frozen
class Parted:
    """A run of the model that the text does not allow: where they part, and which run it is."""

    case: Case
    difference: Difference


@attrs.frozen
class Held:
    """One function, held against the model.

    Attributes:
        path, line: where its definition starts; "" and 0 if the tree has none.
        cases: how many different things the model's function does.
        equal: how many of them the text allows.
        parted: the others.
        untried: lines of jumps and returns that no run of the model comes to.
        error: why it could not be read, or "".
        remarks: what is wrong on ways out of it, whether a run of the model takes them or not.
    """

    name: str
    path: str
    line: int
    cases: int
    equal: int
    parted: tuple[Parted, ...]
    untried: tuple[int, ...]
    error: str
    remarks: tuple[Remark, ...] = ()


def configuration(backend: Backend, known: Mapping[str, bool] | None = None) -> Config:
    """Return the configuration that a backend's model stands for, with what else is known of it."""
    options = {facts.config for facts in Vocabulary.of(backend).values()} | backend.config
    values = {f"CONFIG_{name}": name in backend.config for name in options if name}
    return Assumed({**values, **(known or {})})


class Assumed(Config):
    """A configuration of which not much is known: unusual options are not set, all others are."""

    def _get(self, name: str) -> bool:
        if name not in self.values and _UNUSUAL.fullmatch(name):
            self.guessed.add(name)
            return False
        return super()._get(name)


def is_kvm(path: str) -> bool:
    """Say whether a file belongs to KVM itself."""
    return path.startswith("virt/kvm/") or "/kvm/" in path


class Check:
    """Holds a tree against one backend of the model.

    Args:
        tree: the tree.
        backend: the backend.
        config: the configuration of the tree.
        evidence: what the model does, if it is known already.
        program: the tree's functions, if they were read already.
    """

    def __init__(
        self,
        tree: Tree,
        backend: Backend,
        config: Config,
        evidence: Evidence | None = None,
        program: Program | None = None,
    ) -> None:
        self.tree = tree
        self.backend = backend
        self.evidence = evidence or Evidence(backend)
        vocabulary = Vocabulary.of(backend)
        self.vocabulary = {
            name: facts
            for name, facts in vocabulary.items()
            if not facts.config or facts.config in backend.config
        }
        paths = self._paths()
        spoken = _predicates(self.vocabulary)
        self.program = program or Program(tree, paths, config, tables=self._tables(paths), spoken=spoken)
        self.interest = Interest(self.program, self.vocabulary)
        self._locks = frozenset(self.evidence.locks)
        self._optional = frozenset(
            name
            for name, facts in self.vocabulary.items()
            if _tells(facts) and (name not in self.program or not is_kvm(facts.file))
        )

    def _paths(self) -> list[str]:
        # The files of what is compared, and the headers with the functions that it uses.
        sources = {self.vocabulary[name].file for name in self.names()}
        modules = {facts.module for facts in self.vocabulary.values()}
        headers = {mirrored(name) for name in sys.modules if _belongs(name, modules)}
        headers |= {facts.file for facts in self.vocabulary.values()}
        headers |= set(_HEADERS)
        root = self.tree.root
        beside = {(root / path).parent for path in sources if not path.startswith("include/")}
        asm = {root / "arch" / path.split("/")[1] / "include/asm" for path in sources if "/kvm/" in path}
        found = [one for folder in beside for one in folder.glob("*.h")]
        found += [one for folder in asm for one in folder.glob("kvm*.h")]
        headers |= {str(one.relative_to(root)) for one in found}
        files = {path for path in sources if path.endswith(".c")}
        return [*sorted(files), *sorted(path for path in headers if path.endswith(".h"))]

    def _tables(self, paths: list[str]) -> list[str]:
        # A vendor's operations may be listed in a file of which nothing else is modelled.
        root = self.tree.root
        folders = {(root / path).parent for path in paths if path.startswith("arch/") and "/kvm/" in path}
        found = {str(one.relative_to(root)) for folder in folders for one in folder.glob("*.c")}
        return sorted(found.difference(paths))

    def names(self) -> list[str]:
        """Return the functions that are compared: KVM's own, and the others of which the model has a body."""
        out = []
        for name in sorted(self.evidence.cases):
            facts = self.vocabulary.get(name)
            # What stands for a header does what its functions do in a way of its own.
            if facts is None or not mirrored(facts.module).endswith(".c"):
                continue
            if is_kvm(facts.file) or self.has_body(name):
                out.append(name)
        return out

    def has_body(self, name: str) -> bool:
        """Say whether the model's function does anything that can be compared."""
        return any(case.body.items for case in self.evidence.cases[name].values())

    def held(self, name: str) -> Held:
        """Compare one function with all that the model's does."""
        cases = self.evidence.cases[name]
        code = self.program.code(name)
        if code is None:
            error = self.program.errors.get(name)
            where = (self.program.path(name), error.line) if error else ("", 0)
            return Held(name, *where, len(cases), 0, (), (), str(error or "") or "not in this tree")
        parted: list[Parted] = []
        passed: set[int] = set()
        ladder = self.vocabulary[name].ladder
        code = relabelled(code, ladder)
        labels = frozenset(jump.label for jump in ladder.gotos) if ladder else frozenset()
        if not labels <= code.labels.keys():
            # Some jumps are put in other words: what counts is what is done.
            cases = {
                n: attrs.evolve(case, body=without_jumps(case.body, code.labels)) for n, case in cases.items()
            }
            labels = frozenset()
        for case in cases.values():
            match = Match(self.interest, code, case.body, self._locks, self._optional, labels)
            try:
                found = match.run()
            except Limit as limit:
                return Held(name, code.path, code.line, len(cases), 0, (), (), str(limit))
            if isinstance(found, Agreement):
                passed |= found.lines
            else:
                parted.append(Parted(case, found))
        untried = tuple(sorted(_leaves(code) - passed))
        equal = len(cases) - len(parted)
        bodies = [case.body for case in cases.values()]
        remarks = [
            *unbalanced(code, self.interest),
            *astray(code, bodies, self.interest, ladder),
            *unset(code, ladder, untried),
            *other_cpus(code, self.vocabulary[name]),
        ]
        if not parted:
            remarks += needless(
                code,
                bodies,
                lambda body: Without(self.interest, code, body, self._locks, self._optional, labels),
                self.vocabulary,
            )
        return Held(name, code.path, code.line, len(cases), equal, tuple(parted), untried, "", tuple(remarks))

    def all(self, wanted: Collection[str] = ()) -> Iterator[Held]:
        """Compare all functions, or those that are wanted."""
        for name in self.names():
            if wanted and name not in wanted:
                continue
            if name in self.program or self.has_body(name):
                # What does nothing in the model, and is no function of the text, is a macro there.
                yield self.held(name)


def _leaves(code: Code) -> set[int]:
    return {op.line for op in code.operations[:-1] if isinstance(op, (Goto, Return))}


def _tells(facts: Facts) -> bool:
    # A function that only tells something, as boot_cpu_has(), or cpu_data() of which a fault leaves 0: the model
    # asks where it matters.
    plain = not (facts.acquires or facts.releases or facts.uses)
    returns = facts.function.__annotations__.get("return")
    return plain and (returns == "bool" or (returns == "int" and facts.fails == (False,)))


def _predicates(vocabulary: Mapping[str, Facts]) -> frozenset[str]:
    return frozenset(name for name, facts in vocabulary.items() if _tells(facts))


def _belongs(module: str, known: Collection[str]) -> bool:
    # Whether a module is one of the model's, or lies beside one of them.
    package = module.rpartition(".")[0]
    return module in known or any(name.rpartition(".")[0] == package for name in known)
