# SPDX-License-Identifier: GPL-2.0-only
"""A kernel tree, its C files, and what they define: functions, variables and tables of functions."""

from __future__ import annotations

import functools
import re
from pathlib import Path

import attrs

from kvm_ref.misuse import Misuse, unreadable
from kvm_ref.tree.blank import closing, masked, plain, split, uncommented
from kvm_ref.tree.config import Active, Config, active
from kvm_ref.tree.files import read_text
from kvm_ref.tree.variables import LAST_NAME, variables

_MAKEFILE = re.compile(r"^(VERSION|PATCHLEVEL|SUBLEVEL|EXTRAVERSION)[ \t]*=[ \t]*(\S*)", re.MULTILINE)

_BRACE = re.compile(rb"[{}]")
_CALL = re.compile(rb"([A-Za-z_]\w*)\s*\(")
_BEHIND = re.compile(rb"(?:\s|__\w+\b(?:\s*\((?:[^()]|\([^()]*\))*\))?)*")
_MACRO = re.compile(r"[A-Z][A-Z0-9_]*")
_FIRST = re.compile(rb"\(\s*(\w+)\s*[,)]")
_SYSCALL = re.compile(r"\w*SYSCALL_DEFINE\d:")
_STORAGE = re.compile(rb"\b(?:static|extern|inline|register|_Noreturn)\b")
_STARS = re.compile(r"\s*\*[\s*]*")
_POINTER_TO_FUNCTION = re.compile(rb"\(\s*\*+\s*(\w+)")
_MEMBER = re.compile(rb"\.(\w+)\s*=\s*&?\s*([A-Za-z_]\w*)\s*(?=[,}])")
_GIVEN = re.compile(rb"[,(=&?:]\s*(\w+)\s*(?=[,;)}:])")
_NO_NAME = frozenset({b"NULL", b"true", b"false"})
_BEGUN = re.compile(rb"\s*(?:static|extern|const|struct|union|enum|typedef|void|bool|int|u?long|unsigned)\b")


@attrs.frozen
class Function:
    """A function's definition.

    Attributes:
        path: the file, relative to the kernel tree.
        line: the line in the file where `text` starts.
        text: from the start of the definition's first line to the closing brace; what is not active, and
            comments, are blanks.
        raw: the same as it stands in the file.
        params: the names of the parameters, "" for one without a name.
        returns: the type that it returns, without storage class and attributes.
    """

    name: str
    path: str
    line: int
    text: bytes = attrs.field(repr=False)
    raw: bytes = attrs.field(repr=False)
    params: tuple[str, ...]
    returns: str


@attrs.frozen
class _Block:
    # Braces at file level: what stands before them since the last one, and where they open and close.
    start: int
    opened: int
    closed: int


@attrs.frozen
class _Head:
    # What stands before a function's body: where it starts, its name, and where the parameters are.
    start: int
    name: str
    returns: str
    opened: int
    closed: int


class File:
    """A C file.

    Args:
        path: its name, relative to the kernel tree.
        text: what it holds.
        config: the configuration that decides what is active.

    Raises:
        Misuse: from each method, when the text is first looked at: it is cut off, its braces do not match, or
            its preprocessor conditions cannot be followed. The message starts with PATH:LINE.
    """

    def __init__(self, path: str, text: bytes, config: Config) -> None:
        self.path = path
        self.text = text
        self.config = config
        # What was made of it, by those who made it: syntax trees, macros.
        self.kept: dict[str, object] = {}
        self._known: dict[str, Function] = {}
        # The offset whose line was asked for last, and that line.
        self._asked = (0, 1)

    @functools.cached_property
    def _active(self) -> Active:
        return active(uncommented(self.text), self.config, self.path)

    @property
    def active(self) -> bytes:
        """The text in which comments, preprocessor lines and what they leave out are blanks."""
        return self._active.text

    @property
    def defines(self) -> tuple[tuple[int, bytes], ...]:
        """The active ``#define`` lines without comments, each with its offset."""
        return self._active.defines

    @functools.cached_property
    def _bare(self) -> bytes:
        # The active text without what is in quotes, too.
        bare = masked(self.active)
        at = bare.find(b"/*")
        if at >= 0:
            raise self._wrong(at, "cut off inside a comment")
        return bare

    def function(self, name: str) -> Function | None:
        """Return the active definition of a function, or None if the file has none of that name."""
        known = self._known.get(name)
        if known or name not in self._functions:
            return known
        head, block = self._functions[name]
        start = max(self.text.rfind(b"\n", 0, head.start) + 1, block.start)
        end = block.closed + 1
        self._known[name] = known = Function(
            name=name,
            path=self.path,
            line=self.line(start),
            text=self.active[start:end],
            raw=self.text[start:end],
            params=_params(self._bare, head),
            returns=head.returns,
        )
        return known

    def functions(self) -> list[str]:
        """Return the names of all active definitions, in order. ``SYSCALL_DEFINE3:reboot`` is one of them."""
        return list(self._functions)

    def initializers(self) -> dict[str, list[tuple[str, int]]]:
        """Return, for each member that variables of the file set to a name, the names and their lines."""
        out: dict[str, list[tuple[str, int]]] = {}
        for block in self._blocks:
            if b"=" not in self._bare[block.start : block.opened]:
                continue
            for found in _MEMBER.finditer(self._bare, block.opened, block.closed + 1):
                if found[2] not in _NO_NAME:
                    line = self.line(found.start(1))
                    out.setdefault(found[1].decode(), []).append((found[2].decode(), line))
        return out

    @functools.cached_property
    def given(self) -> frozenset[str]:
        """The names that stand where a value does, and not a call: what a pointer may point to."""
        return frozenset(name.decode() for name in _GIVEN.findall(self.active))

    def statics(self) -> dict[str, int | None]:
        """Return the file's variables and what they hold at first; None if that is no plain constant."""
        pieces, done = [], 0
        for block, head in self._heads:
            pieces.append(self._bare[done : block.opened])
            pieces.append(b";" if head else b"{}")
            done = block.closed + 1
        pieces.append(self._bare[done:])
        out: dict[str, int | None] = {}
        for chunk in b"".join(pieces).split(b";"):
            out.update(variables(chunk))
        return out

    @functools.cached_property
    def _functions(self) -> dict[str, tuple[_Head, _Block]]:
        out: dict[str, tuple[_Head, _Block]] = {}
        for block, head in self._heads:
            if head:
                out.setdefault(head.name, (head, block))
        return out

    @functools.cached_property
    def _heads(self) -> list[tuple[_Block, _Head | None]]:
        return [(block, self._head(block)) for block in self._blocks]

    @functools.cached_property
    def _blocks(self) -> list[_Block]:
        bare, out = self._bare, []
        start, opened, depth = 0, 0, 0
        for found in _BRACE.finditer(bare):
            at = found.start()
            if found[0] == b"{":
                if not depth:
                    opened = at
                depth += 1
                continue
            depth -= 1
            if depth < 0:
                raise self._wrong(at, "a } that closes nothing")
            if not depth:
                out.append(_Block(max(start, bare.rfind(b";", start, opened) + 1), opened, at))
                start = at + 1
        end = len(bare.rstrip())
        if depth:
            head = self._head(_Block(max(start, bare.rfind(b";", start, opened) + 1), opened, end))
            inside = f"{head.name}()" if head else f"the braces of line {self.line(opened)}"
            raise self._wrong(end, f"cut off inside {inside}")
        if end and not out and b";" not in bare:
            raise self._wrong(end - len(bare.strip()), "no C text: neither a declaration nor a function")
        rest = bare[max(start, bare.rfind(b";", start) + 1) :]
        if _BEGUN.match(rest) or rest.count(b"(") > rest.count(b")"):
            raise self._wrong(end, "cut off inside a declaration")
        return out

    def _head(self, block: _Block) -> _Head | None:
        # What stands before a block, if that is the body of a function.
        head = self._bare[block.start : block.opened]
        if b"(" not in head or b"=" in head:
            return None
        head = plain(head)
        start, done = 0, 0
        for found in _CALL.finditer(head):
            if found.start() < done:
                continue
            opened = found.end() - 1
            done = closing(head, opened) + 1
            if not _BEHIND.fullmatch(head, done):
                # Macros may stand before the definition without a semicolon.
                start = done
                continue
            name, returns = found[1].decode(), _type(head[start : found.start()])
            if not returns and _MACRO.fullmatch(name):
                first = _FIRST.match(head, opened)
                if not first:
                    return None
                name = f"{name}:{first[1].decode()}"
            at = block.start
            start = len(head) - len(head[start:].lstrip())
            returns = returns or ("long" if _SYSCALL.match(name) else "int")
            return _Head(at + start, name, returns, at + opened, at + done - 1)
        return None

    def line(self, offset: int) -> int:
        """Return the line of an offset."""
        # Who asks for many goes forward, mostly.
        done, line = self._asked if self._asked[0] <= offset else (0, 1)
        line += self.text.count(b"\n", done, offset)
        self._asked = offset, line
        return line

    def _wrong(self, offset: int, what: str) -> Misuse:
        return Misuse(f"{self.path}:{self.line(offset)}: {what}")


def _type(text: bytes) -> str:
    words = " ".join(_STORAGE.sub(b" ", text).decode("utf-8", "replace").split())
    return _STARS.sub(_stars, words)


def _stars(found: re.Match[str]) -> str:
    return " " + "".join(found[0].split())


def _params(bare: bytes, head: _Head) -> tuple[str, ...]:
    pieces = split(bare, head.opened + 1, head.closed)
    if _SYSCALL.match(head.name):
        # The name, and then each type and each parameter by itself.
        return tuple(bare[start:end].strip().decode("utf-8", "replace") for start, end in pieces[2::2])
    out = []
    for start, end in pieces:
        text = plain(bare[start:end]).strip()
        found = _POINTER_TO_FUNCTION.search(text) or LAST_NAME.search(text)
        if found:
            out.append(found[1].decode())
        elif text not in (b"", b"void", b"..."):
            out.append("")
    return tuple(out)


class Tree:
    """A kernel's source tree.

    Raises:
        Misuse: the directory is none.
    """

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root)
        if not self.root.is_dir():
            raise Misuse(f"{root}: no directory: expected a kernel's source tree")
        makefile = self.root / "Makefile"
        try:
            text = makefile.read_text("utf-8") if makefile.is_file() else ""
        except (OSError, ValueError) as error:
            raise Misuse(f"{makefile}: {unreadable(error)}") from None
        numbers = dict(_MAKEFILE.findall(text))
        if not numbers.get("VERSION") or not numbers.get("PATCHLEVEL"):
            raise Misuse(f"{root}: no kernel tree: it has no Makefile with VERSION and PATCHLEVEL")
        if not (self.root / "virt/kvm").is_dir():
            raise Misuse(f"{root}: no kernel tree with KVM: it has no directory virt/kvm")
        names = ("VERSION", "PATCHLEVEL", "SUBLEVEL")
        self.version = ".".join(n for n in map(numbers.get, names) if n) + numbers.get("EXTRAVERSION", "")
        self._texts: dict[str, bytes] = {}
        self._files: dict[str, list[tuple[dict[str, bool], File]]] = {}

    def exists(self, path: str) -> bool:
        """Say whether the tree has a file, relative to its root."""
        return (self.root / path).is_file()

    def file(self, path: str, config: Config) -> File:
        """Return a C file of the tree, as a configuration sees it.

        Configurations that give the same answers to what the file asks share it.

        Raises:
            Misuse: there is no such file, or it is no C text.
        """
        shared = self._files.setdefault(path, [])
        for asked, file in shared:
            if all(config.get(name) == answer for name, answer in asked.items()):
                return file
        file = File(path, self.text(path), config)
        before, config.asked = config.asked, {}
        _ = file.active
        shared.append((config.asked, file))
        config.asked = {**before, **config.asked}
        return file

    def text(self, path: str) -> bytes:
        """Return what a file holds; `path` is relative to the tree's root. It is read once.

        Raises:
            Misuse: there is no such file, it cannot be read, or it is no C text.
        """
        if path not in self._texts:
            self._texts[path] = read_text(self.root / path)
        return self._texts[path]
