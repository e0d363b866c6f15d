# SPDX-License-Identifier: GPL-2.0-only
"""What the commands' parsers are made of: one that refuses in one line, and options that several have."""

from __future__ import annotations

import argparse
import itertools
import sys
from collections.abc import Callable, Sequence
from typing import Any, NoReturn, Protocol

from kvm_ref.misuse import nearest


class Parser(argparse.ArgumentParser):
    """An argument parser that says what was wrong in one line, and takes an option by its whole name only.

    The default `elsewhere` of a command holds what to say to options that another command has.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.allow_abbrev = False

    def error(self, message: str) -> NoReturn:
        """Refuse the command line."""
        self.exit(2, f"kvm-ref: {message} (see {self.prog} --help)\n")

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        # Only the commands are choices here.
        if action.choices is not None and value not in action.choices:
            raise argparse.ArgumentError(None, f"unknown command {value!r}{nearest(value, action.choices)}")

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Read a command line; what it has of a list may stand around the options, as in most tools."""
        if self._subparsers is None:
            self._check_options(args or ())
        found, rest = super().parse_known_args(args, namespace)
        for action in self._get_positional_actions():
            if action.nargs in ("*", "+") and rest:
                # What stands behind "--" is no option, whatever it begins with.
                end = rest.index("--") if "--" in rest else len(rest)
                words = [word for word in rest[:end] if not word.startswith("-")]
                setattr(found, action.dest, [*getattr(found, action.dest), *words, *rest[end + 1 :]])
                rest = [word for word in rest[:end] if word.startswith("-")]
        return found, rest

    def _check_options(self, args: Sequence[str]) -> None:
        # An option that there is not is told of before what else is wrong: its value may be taken for something.
        for word in itertools.takewhile(lambda word: word != "--", args):
            if word.startswith("--") and word.partition("=")[0] not in self._option_string_actions:
                self._unknown(word)

    def _unknown(self, word: str) -> NoReturn:
        first = word.partition("=")[0]
        elsewhere = (self.get_default("elsewhere") or {}).get(first)
        if elsewhere:
            self.error(elsewhere)
        options = [option for option in self._option_string_actions if option.startswith("--")]
        known = nearest(first, options) if first.startswith("--") else ""
        self.error(f"unknown argument {word!r}{known}")

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Read a command line, all of it."""
        found, rest = self.parse_known_args(args, namespace)
        if rest:
            (found.parser if "parser" in found else self)._unknown(rest[0])
        return found

    def _print_message(self, message: str, file: Any = None) -> None:
        # What cannot be printed, as help to a full disk, is for the caller to tell.
        print(message, end="", file=file or sys.stderr, flush=True)


def choice(name: str, choices: Sequence[str]) -> Callable[[str], str]:
    """Return the type of an argument that is one of `choices`."""

    def check(text: str) -> str:
        if text not in choices:
            raise argparse.ArgumentTypeError(f"unknown {name} {text!r}{nearest(text, choices)}")
        return text

    return check


class Command(Protocol):
    """Adds a command to the command line."""

    def __call__(
        self,
        name: str,
        help: str,
        examples: str,
        among: argparse._SubParsersAction[argparse.ArgumentParser] | None = None,
    ) -> argparse.ArgumentParser:
        """Return the parser of a command, which is one of `among` if that is not None."""


def add_features(parser: argparse.ArgumentParser) -> None:
    """Add the option ``--feature`` to a command."""
    parser.add_argument(
        "--feature",
        action="append",
        default=[],
        metavar="NAME=0|1",
        help="what the CPUs have, as constant_tsc=1",
    )


def add_format(parser: argparse.ArgumentParser, *choices: str) -> None:
    """Add the option ``--format`` to a command."""
    parser.add_argument(
        "--format",
        type=choice("format", choices),
        default="text",
        metavar="|".join(choices),
        help="how to print it (default: text)",
    )
