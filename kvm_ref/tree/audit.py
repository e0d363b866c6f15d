# SPDX-License-Identifier: GPL-2.0-only
"""The audit of any C file: its functions that unwind are walked and judged, without a model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import attrs

from kvm_ref.misuse import Misuse, nearest
from kvm_ref.tree.config import Config
from kvm_ref.tree.defects import Defect, merged, of_ways
from kvm_ref.tree.explore import explore
from kvm_ref.tree.files import read_text
from kvm_ref.tree.operations import Code
from kvm_ref.tree.program import Interest, Program
from kvm_ref.tree.roles import Roles
from kvm_ref.tree.source import File
from kvm_ref.vocabulary import Facts

# What else does the same: at another time, or more thoroughly.
_ALSO = {
    "debugfs_remove": "debugfs_remove_recursive",
    "kfree_rcu": "kfree",
    "kfree_rcu_mightsleep": "kfree",
    "kfree_sensitive": "kfree",
    "kvfree_rcu": "kvfree",
    "kvfree_rcu_mightsleep": "kvfree",
    "kvfree_sensitive": "kvfree",
    "vfree": "kvfree",
}


class Files:
    """Some C files, wherever they lie.

    Args:
        paths: their names.
    """

    version = ""

    def __init__(self, paths: Sequence[str]) -> None:
        self.paths = tuple(paths)

    def exists(self, path: str) -> bool:
        """Say whether a file is one of them."""
        return path in self.paths

    def file(self, path: str, config: Config) -> File:
        """Return a file.

        Raises:
            Misuse: it cannot be read, or is no C text.
        """
        text = read_text(Path(path))
        if not path.endswith((".c", ".h")):
            raise Misuse(f"{path}: no C file: expected a name that ends in .c or .h")
        return File(path, text, config)


@attrs.frozen
class Audited:
    """A function that was walked.

    Attributes:
        ways: how many ways there are through it.
        faults: how many calls were made to fail.
        more: there are more ways than were walked.
        defects: what is wrong.
        error: why it could not be read, or "".
    """

    name: str
    path: str
    line: int
    ways: int
    faults: int
    more: bool
    defects: tuple[Defect, ...]
    error: str = ""


class Audit:
    """Walks and judges functions of some files.

    Args:
        files: the files.
        facts: what is known of the functions that they call.
        config: the configuration.
    """

    def __init__(self, files: Files, facts: Mapping[str, Facts], config: Config) -> None:
        self.program = Program(files, files.paths, config)
        # What a file itself defines is walked, whatever the vocabulary says of a function of that name.
        every = {**{name: facts[same] for name, same in _ALSO.items() if same in facts}, **facts}
        roles = {name: one for name, one in every.items() if name not in self.program}
        self.roles = Roles(roles)
        self.interest = Interest(self.program, self.roles)

    def names(self) -> list[str]:
        """Return the functions that have something to undo: those that acquire, themselves or through others."""
        return [name for name in self.program.names() if self._acquires(name)]

    def _acquires(self, name: str) -> bool:
        # What cannot be read goes by its looks: it is told as an error.
        code = self.program.code(name)
        called = code.calls() if code else self.program.mentioned(name)
        return any(one in self.roles and self.roles[one].acquires for one in called)

    def function(self, name: str) -> Audited:
        """Walk and judge one function.

        Raises:
            Misuse: there is no such function.
        """
        if name not in self.program:
            raise Misuse(f"unknown function {name!r}{nearest(name, self.program.names())}")
        code = self.program.code(name)
        if code is None:
            error = self.program.errors[name]
            return Audited(name, self.program.path(name), error.line, 0, 0, False, (), str(error))
        return self._walk(code)

    def _walk(self, code: Code) -> Audited:
        ways = list(explore(self.interest, self.roles, code))
        faults = {str(one.fault) for one in ways if one.fault}
        more = any(one.more for one in ways)
        defects = tuple(merged(of_ways(ways, self.roles, code.name)))
        return Audited(code.name, code.path, code.line, len(ways), len(faults), more, defects)

    def all(self, wanted: Sequence[str] = ()) -> Iterator[Audited]:
        """Walk and judge the functions that are wanted, or all that have something to undo."""
        for name in wanted or self.names():
            yield self.function(name)
