# SPDX-License-Identifier: GPL-2.0-only
"""The configuration of a kernel, and which lines of a C file it leaves active."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from pathlib import Path

import attrs

from kvm_ref.misuse import Misuse, unreadable
from kvm_ref.tree.blank import CONTINUED, SPACES

_SET = re.compile(r"(CONFIG_\w+)=([yn])")
_VALUE = re.compile(r"(CONFIG_\w+)=(y|m|n|\".*\"|-?\d+|0[xX][0-9a-fA-F]+)")
_UNSET = re.compile(r"# (CONFIG_\w+) is not set")
_TOKEN = re.compile(r"\s*(\d\w*|\w+|&&|\|\||[=!<>]=|<<|>>|\S)")
_NUMBER = re.compile(r"(0[xX][0-9a-fA-F]+|0[0-7]*|[1-9]\d*)[uUlL]*")

# How tightly a binary operator of #if binds, and what it does; && and || come apart.
_OPERATORS: dict[str, tuple[int, Callable[[int, int], int]]] = {
    "||": (1, lambda a, b: int(bool(a or b))),
    "&&": (2, lambda a, b: int(bool(a and b))),
    "|": (3, operator.or_),
    "^": (4, operator.xor),
    "&": (5, operator.and_),
    "==": (6, operator.eq),
    "!=": (6, operator.ne),
    "<": (7, operator.lt),
    ">": (7, operator.gt),
    "<=": (7, operator.le),
    ">=": (7, operator.ge),
    "<<": (8, lambda a, b: a << (b & 63)),
    ">>": (8, lambda a, b: a >> (b & 63)),
    "+": (9, operator.add),
    "-": (9, operator.sub),
    "*": (10, operator.mul),
    # Of unknown numbers, which are 0, the quotient is unknown, too.
    "/": (10, lambda a, b: a // b if b else 0),
    "%": (10, lambda a, b: a % b if b else 0),
}
_UNARY: dict[str, Callable[[int], int]] = {
    "!": operator.not_,
    "-": operator.neg,
    "+": operator.pos,
    "~": operator.invert,
}


def integer(text: str) -> int | None:
    """Return the value of an integer constant of C, None if the text is none."""
    found = _NUMBER.fullmatch(text)
    if not found:
        return None
    digits = found[1]
    return int(digits, 8 if digits[0] == "0" and digits.isdigit() else 0)


class Config:
    """What is configured: decides preprocessor conditions and IS_ENABLED().

    Args:
        values: whether an option or any other macro is set, by its name.
        default: what an option is taken for that is not among `values`. Other macros, such as MODULE and
            CONFIG_KVM_MODULE, are not set unless `values` says so.

    Attributes:
        guessed: the options that were asked for without being known.
        asked: the options that were asked for, and the answers.
    """

    def __init__(self, values: Mapping[str, bool], default: bool = True) -> None:
        self.values = dict(values)
        self.default = default
        self.guessed: set[str] = set()
        self.asked: dict[str, bool] = {}
        self._numbers: dict[str, int] = {}

    @classmethod
    def read(cls, path: str | Path) -> Config:
        """Read a .config file. Options that it does not name are not set; what is a module is set.

        Raises:
            Misuse: the file cannot be read, or a line of it is none of a .config file.
        """
        try:
            lines = Path(path).read_text("utf-8").splitlines()
        except (OSError, ValueError) as error:
            raise Misuse(f"{path}: {unreadable(error)}") from None
        config = cls({}, default=False)
        for number, line in enumerate(map(str.strip, lines), 1):
            if found := _VALUE.fullmatch(line):
                name, value = found.groups()
                config.values[name] = value != "n"
                if value == "m":
                    config.values[name + "_MODULE"] = True
                if value[-1].isdigit() or value.startswith("0x"):
                    config._numbers[name] = int(value, 0)
            elif found := _UNSET.fullmatch(line):
                config.values[found[1]] = False
            elif line and not line.startswith("# ") and line != "#":
                expected = "expected CONFIG_NAME=VALUE or '# CONFIG_NAME is not set'"
                raise Misuse(f"{path}:{number}: {line[:60]!r}: {expected}")
        return config

    def set(self, text: str) -> None:
        """Take a setting from the command line: ``CONFIG_NAME=y`` or ``CONFIG_NAME=n``.

        Raises:
            Misuse: it is no such setting.
        """
        found = _SET.fullmatch(text.strip())
        if not found:
            raise Misuse(f"--set {text}: expected CONFIG_NAME=y or CONFIG_NAME=n")
        self.values[found[1]] = found[2] == "y"
        self._numbers.pop(found[1], None)

    def get(self, name: str) -> bool:
        """Say whether an option or any other macro is set."""
        self.asked[name] = answer = self._get(name)
        return answer

    def _get(self, name: str) -> bool:
        known = self.values.get(name)
        if known is not None:
            return known
        if not name.startswith("CONFIG_") or name.endswith("_MODULE"):
            return False
        self.guessed.add(name)
        return self.default

    def number(self, name: str) -> int:
        """Return what a macro is worth as a number: 1 if all that is known is that it is set."""
        return self._numbers[name] if name in self._numbers else int(self.get(name))

    def condition(self, text: str) -> bool:
        """Decide what stands behind ``#if``. Of a name that nobody knows the value is 0, as in C.

        Raises:
            Misuse: it is no such expression.
        """
        try:
            return _Condition(self, text).decide()
        except RecursionError:
            raise Misuse(f"#if {text.strip()[:40]}...: nested too deeply") from None


class _Condition:
    # One expression, and how far it has been read.

    def __init__(self, config: Config, text: str) -> None:
        self.config = config
        self.text = text
        self.tokens: list[str] = [*_TOKEN.findall(text.replace("\\\n", " ")), ""]
        self.at = 0

    def decide(self) -> bool:
        value = self.chosen(live=True)
        if self.tokens[self.at]:
            raise self.error()
        return bool(value)

    def error(self) -> Misuse:
        what = self.tokens[self.at]
        text = " ".join(self.text.split())
        return Misuse(f"#if {text}: {repr(what) if what else 'the end'} is not expected there")

    def take(self, token: str = "") -> str:
        found = self.tokens[self.at]
        if token and found != token:
            raise self.error()
        self.at += 1
        return found

    def chosen(self, *, live: bool) -> int:
        value = self.binary(1, live=live)
        if self.tokens[self.at] != "?":
            return value
        self.take()
        yes = self.chosen(live=live and bool(value))
        self.take(":")
        no = self.chosen(live=live and not value)
        return yes if value else no

    def binary(self, tightly: int, *, live: bool) -> int:
        # What is not live is not evaluated, so that no option counts as asked for.
        left = self.unary(live=live)
        while (found := _OPERATORS.get(self.tokens[self.at])) and found[0] >= tightly:
            op = self.take()
            right = self.binary(
                found[0] + 1, live=live and not (op == "&&" and not left) and not (op == "||" and left)
            )
            left = found[1](left, right) if live else 0
        return left

    def unary(self, *, live: bool) -> int:
        token = self.tokens[self.at]
        if token in _UNARY:
            self.take()
            return _UNARY[token](self.unary(live=live))
        if token == "(":
            self.take()
            value = self.chosen(live=live)
            self.take(")")
            return value
        number = integer(token)
        if number is not None:
            self.take()
            return number
        if not token.isidentifier():
            raise self.error()
        self.take()
        return self.name(token, live)

    def name(self, name: str, live: bool) -> int:
        if name == "defined" and self.tokens[self.at] != "(":
            asked = self.tokens[self.at]
            if not asked.isidentifier():
                raise self.error()
            self.take()
            return int(live and self.config.get(asked))
        if self.tokens[self.at] != "(":
            return self.config.number(name) if live else 0
        inner = self.parentheses()
        if not live or len(inner) != 1:
            return 0
        module = self.config.values.get(inner[0] + "_MODULE", False)
        match name:
            case "defined":
                return int(self.config.get(inner[0]))
            case "IS_ENABLED" | "IS_REACHABLE":
                return int(self.config.get(inner[0]) or module)
            case "IS_BUILTIN":
                return int(self.config.get(inner[0]) and not module)
            case "IS_MODULE":
                return int(module)
        return 0

    def parentheses(self) -> list[str]:
        # The tokens between a parenthesis and the one that closes it.
        first, depth = self.at + 1, 0
        while token := self.take():
            depth += (token == "(") - (token == ")")
            if not depth:
                return self.tokens[first : self.at - 1]
        self.at -= 1
        raise self.error()


_DIRECTIVE = re.compile(
    rb"^[ \t]*#[ \t]*(\w*)([^\n\\\x01]*(?:[\\\x01](?:\r\n|.)[^\n\\\x01]*)*)", re.MULTILINE | re.DOTALL
)
_CONDITIONALS = frozenset({b"if", b"ifdef", b"ifndef", b"elif", b"elifdef", b"elifndef", b"else", b"endif"})
_WORD = re.compile(r"[A-Za-z_]\w*")
_SPLICED = re.compile(r"[\\\x01]\r?\n")


@attrs.frozen
class Active:
    """What preprocessor conditions leave of a C file.

    Attributes:
        text: the text, in which all preprocessor lines, and what they leave out, are blanks.
        defines: the ``#define`` lines, each with its offset; what continues a line stays marked.
    """

    text: bytes
    defines: tuple[tuple[int, bytes], ...]


def active(text: bytes, config: Config, path: str) -> Active:
    """Return what a configuration leaves of `uncommented` text.

    Raises:
        Misuse: conditions do not nest, or one of them cannot be read; `path` and the line are in the message.
    """
    out: list[bytes] = []
    defines: list[tuple[int, bytes]] = []
    # Of each #if around: whether it is in active text, whether a branch was taken, and where it stands.
    around: list[tuple[bool, bool, int]] = []
    live, done = True, 0
    for found in _DIRECTIVE.finditer(text):
        start, end = found.span()
        if live:
            out.append(text[done:start])
            out.append(text[start:end].translate(SPACES))
            done = end
        word = found[1]
        if word not in _CONDITIONALS:
            if live and word == b"define":
                defines.append((start, found[0]))
            continue
        if not live:
            out.append(text[done:end].translate(SPACES))
            done = end
        kind = word.decode()
        if kind.startswith("if"):
            outer, before, first = live, False, start
        elif around:
            outer, before, first = around.pop()
        else:
            raise Misuse(f"{path}:{_line(text, start)}: #{kind} without #if")
        if kind == "endif":
            live = outer
            continue
        try:
            live = (
                outer
                and not before
                and _holds(kind.removeprefix("el"), found[2].decode("utf-8", "replace"), config)
            )
        except Misuse as error:
            raise Misuse(f"{path}:{_line(text, start)}: {error}") from None
        around.append((outer, before or live, first))
    if around:
        raise Misuse(f"{path}:{_line(text, around[-1][2])}: #if without #endif: is the file cut off?")
    out.append(text[done:])
    return Active(b"".join(out).replace(CONTINUED, b" "), tuple(defines))


def _holds(word: str, rest: str, config: Config) -> bool:
    if word == "se":  # what is left of "else"
        return True
    rest = " ".join(_SPLICED.sub(" ", rest).split())
    if word == "if":
        return config.condition(rest)
    name = _WORD.match(rest)
    if not name:
        raise Misuse(f"#{word} {rest}: expected the name of a macro")
    return config.get(name[0]) == (word == "ifdef")


def _line(text: bytes, offset: int) -> int:
    return text.count(b"\n", 0, offset) + 1
