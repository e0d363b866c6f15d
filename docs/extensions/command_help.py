# SPDX-License-Identifier: GPL-2.0-only
"""The directive ``command-help``: what ``--help`` says, of each command of kvm-ref."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from unittest import mock

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from kvm_ref.cli import parser


def helps() -> Iterator[tuple[str, str]]:
    """Yield each command, those that have commands of their own first, with its help."""
    with mock.patch.dict(os.environ, {"COLUMNS": "100", "NO_COLOR": "1"}):
        yield from _of(parser())


def _of(command: argparse.ArgumentParser) -> Iterator[tuple[str, str]]:
    yield command.prog, command.format_help()
    for action in command._actions:
        if isinstance(action, argparse._SubParsersAction):
            for sub in action.choices.values():
                yield from _of(sub)


class CommandHelp(SphinxDirective):
    """Shows the help of all commands, a section each."""

    def run(self) -> list[nodes.Node]:
        """Return the sections."""
        self.env.note_reread()
        out: list[nodes.Node] = []
        for name, text in helps():
            section = nodes.section("", nodes.title(name, name), ids=[nodes.make_id(name)], names=[name])
            section += nodes.literal_block(text, text, language="none")
            out.append(section)
        return out


def setup(app: Sphinx) -> dict[str, bool]:
    """Add the directive."""
    app.add_directive("command-help", CommandHelp)
    return {"parallel_read_safe": True}
