# SPDX-License-Identifier: GPL-2.0-only
"""What the commands' parsers are made of: one that refuses in one line, and options that several have."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from typing import Any, NoReturn, Protocol

from kvm_ref.misuse import nearest


class Parser(argparse.ArgumentParser):
    """An argument parser that says what was wrong in one line."""

    def error(self, message: str) -> NoReturn:
        """Refuse the command line."""
        self.exit(2, f"kvm-ref: {message} (see {self.prog} --help)\n")

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        # Only the commands are choices here.
        if action.choices is not None and value not in action.choices:
            raise argparse.ArgumentError(None, f"unknown command {value!r}{nearest(value, action.choices)}")

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Read a command line, all of it."""
        found, rest = self.parse_known_args(args, namespace)
        if rest:
            command = found.parser if "parser" in found else self
            first = rest[0].partition("=")[0]
            options = [option for option in command._option_string_actions if option.startswith("--")]
            known = nearest(first, options) if first.startswith("--") else ""
            command.error(f"unknown argument {rest[0]!r}{known}")
        return found


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
