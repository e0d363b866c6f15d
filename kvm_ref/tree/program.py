# SPDX-License-Identifier: GPL-2.0-only
"""The C functions that one backend's kernel consists of, as far as the model mirrors their files."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Mapping
from typing import Protocol

from kvm_ref.misuse import Misuse
from kvm_ref.tree.config import Config
from kvm_ref.tree.expressions import Place
from kvm_ref.tree.flow import Idle, idle
from kvm_ref.tree.locks import is_lock
from kvm_ref.tree.macros import leaves, macros
from kvm_ref.tree.mentions import Mentions
from kvm_ref.tree.operations import Call, Code, Operation
from kvm_ref.tree.parse import ParseError
from kvm_ref.tree.reader import read
from kvm_ref.tree.source import File, Function
from kvm_ref.tree.values import Memory, Pointer, Value

_OPTION = re.compile(rb"\bIS_(?:ENABLED|REACHABLE|BUILTIN|MODULE)\s*\(\s*(\w+)")


class Texts(Protocol):
    """C files by name: a kernel tree, or some files."""

    version: str

    def exists(self, path: str) -> bool:
        """Say whether there is such a file."""

    def file(self, path: str, config: Config) -> File:
        """Return a file, as a configuration sees it."""


class Program:
    """Functions of some files of a tree, by name.

    Args:
        tree: the tree.
        paths: the files, those that are looked into first coming first; what isn't there is passed over.
        config: the configuration.
        tables: files of which only the tables of functions are read.
        spoken: functions that C text may write as a macro or a member, without calling anything.
    """

    def __init__(
        self,
        tree: Texts,
        paths: Iterable[str],
        config: Config,
        *,
        tables: Iterable[str] = (),
        spoken: frozenset[str] = frozenset(),
    ) -> None:
        self.tree = tree
        self.config = config
        self.spoken = spoken
        self.files = [tree.file(path, config) for path in paths if tree.exists(path)]
        self._where: dict[str, File] = {}
        for file in reversed(self.files):
            try:
                self._where.update(dict.fromkeys(file.functions(), file))
            except Misuse:
                # Headers play games with braces that no C file does.
                if not file.path.endswith(".h"):
                    raise
        self._macros = {name: macro for file in reversed(self.files) for name, macro in macros(file).items()}
        self._codes: dict[str, Code | None] = {}
        self._mentions = Mentions(spoken)
        self._mentioned: dict[str, set[str]] = {}
        self._targets: dict[str, set[str]] = {}
        sources = [file for file in self.files if not file.path.endswith(".h")]
        for file in [*sources, *(tree.file(path, config) for path in tables)]:
            for member, values in file.initializers().items():
                self._targets.setdefault(member, set()).update(name for name, _ in values)
        # The functions that could not be read, and why.
        self.errors: dict[str, ParseError] = {}

    def __contains__(self, name: object) -> bool:
        return name in self._where

    def names(self) -> list[str]:
        """Return the names of all functions."""
        return list(self._where)

    def path(self, name: str) -> str:
        """Return the file that a function is in."""
        return self._where[name].path

    def code(self, name: str) -> Code | None:
        """Return a function, or None if it is not there or cannot be read."""
        if name not in self._codes:
            self._codes[name] = self._read(name)
        return self._codes[name]

    def mentioned(self, name: str) -> set[str]:
        """Return what a function may call: all that `code` calls, and more. It is not parsed for that."""
        found = self._mentioned.get(name)
        if found is None:
            function = self._definition(name)
            found = self._mentioned[name] = self._mentions.of(function.text) if function else set()
        return found

    def ask(self, name: str) -> None:
        """Ask for the options that a function asks for, as reading it does."""
        function = self._definition(name)
        for option in _OPTION.findall(function.text) if function else ():
            self.config.get(option.decode())

    def _definition(self, name: str) -> Function | None:
        file = self._where.get(name)
        return file.function(name) if file else self._macros.get(name)

    def _read(self, name: str) -> Code | None:
        function = self._definition(name)
        if function is None:
            return None
        try:
            code = read(self._where.get(name), function, self.config, self.spoken, self._where)
            self._refuse_jumps(code)
            return code
        except ParseError as error:
            self.errors[name] = error
            return None

    def _refuse_jumps(self, code: Code) -> None:
        # A macro that leaves its caller is no function.
        for op in code.operations:
            if not isinstance(op, Call) or op.name in self._where:
                continue
            macro = self._macros.get(op.name)
            if macro and leaves(macro):
                at, does = f"{code.path}:{op.line}", f"{op.name}() is a macro that jumps or returns"
                raise ParseError(f"{at}: cannot read {code.name}(): {does}", op.line)

    def targets(self, call: Call, memory: Memory, prefix: str) -> set[str]:
        """Return the functions that a call through a pointer may reach, as far as that is known."""
        pointer = call.pointer.value(memory, prefix) if call.pointer else None
        if isinstance(pointer, Pointer) and pointer.target in self._where:
            return {pointer.target}
        if isinstance(call.pointer, Place):
            return {name for name in self._targets.get(call.member, ()) if name in self._where}
        return set()

    @functools.cached_property
    def given(self) -> frozenset[str]:
        """The names that stand where a value does, and not a call: what a pointer may point to."""
        return frozenset().union(*(file.given for file in self.files if not file.path.endswith(".h")))

    @functools.cached_property
    def statics(self) -> dict[str, Value]:
        """The variables of the files that start with a known number."""
        sources = [file for file in self.files if not file.path.endswith(".h")]
        return {
            name: value for file in sources for name, value in file.statics().items() if value is not None
        }


class Interest:
    """What a walk of a program looks at: calls of certain functions, locks, and what leads to them.

    Args:
        program: the text.
        known: the functions.
    """

    def __init__(self, program: Program, known: Mapping[str, object]) -> None:
        self.program = program
        self.known = known
        self._matters: dict[str, bool] = {}
        self._idle: dict[Code, Mapping[int, Idle]] = {}
        self._waits: dict[str, bool] = {}

    def leads(self, name: str) -> bool:
        """Say whether a function calls, itself or through others, something of interest."""
        found = self._matters.get(name)
        if found is None:
            self._matters[name] = found = self._may_lead(name) and self._reaches(name)
        return found

    def _may_lead(self, name: str) -> bool:
        # Whether it leads to something of interest by the looks of the text: most functions do not.
        seen = {name}
        todo = [name]
        while todo:
            for called in self.program.mentioned(todo.pop()):
                if self._matters.get(called) or called in self.known or is_lock(called):
                    return True
                if called not in seen and called not in self._matters:
                    seen.add(called)
                    todo.append(called)
        self._matters.update(dict.fromkeys(seen, False))
        for one in seen:
            self.program.ask(one)
        return False

    def _reaches(self, name: str) -> bool:
        seen = {name}
        todo = [name]
        while todo:
            code = self.program.code(todo.pop())
            for called in sorted(code.calls()) if code else ():
                if self._matters.get(called) or called in self.known or is_lock(called):
                    return True
                if called not in seen and called not in self._matters:
                    seen.add(called)
                    todo.append(called)
        return False

    def waits(self, name: str) -> bool:
        """Say whether a function waits, itself or in others, until another task has done something."""
        found = self._waits.get(name)
        if found is None:
            seen = {name}
            todo = [name]
            while todo:
                more = self.program.mentioned(todo.pop()) - seen
                seen |= more
                todo += more
            self._waits[name] = found = "wait_for_completion" in seen
        return found

    def _interesting(self, name: str) -> bool:
        return name in self.known or is_lock(name) or self.leads(name)

    def idle(self, code: Code) -> Mapping[int, Idle]:
        """Return the conditions of a function that decide about nothing of interest."""
        found = self._idle.get(code)
        if found is None:
            self._idle[code] = found = idle(code, self._does)
        return found

    def _does(self, op: Operation) -> bool:
        return isinstance(op, Call) and (not op.name or self._interesting(op.name))
