# SPDX-License-Identifier: GPL-2.0-only
"""The directives ``ladder`` and ``ladders``: goto ladders, drawn from the model's own text."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import ClassVar

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from kvm_ref import backend as backends
from kvm_ref.drawing import of_model
from kvm_ref.ladder_svg import to_svg
from kvm_ref.vocabulary import Facts, Vocabulary, facts_of


def function(name: str, backend: str = "") -> Facts:
    """Return a modelled function, of the first backend that has it or of the one that is named."""
    known = (Vocabulary.of(backends.load(b)) for b in ([backend] if backend else backends.available()))
    return next(vocabulary[name] for vocabulary in known if name in vocabulary)


def in_file(name: str, path: Path) -> Facts:
    """Return a function of a Python file that belongs to no installed backend."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # What reads a function's text looks its module up.
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    facts = facts_of(getattr(module, name))
    assert facts is not None
    return facts


class Ladder(SphinxDirective):
    """Draws the ladder of the function that is named."""

    required_arguments = 1
    option_spec: ClassVar = {"backend": directives.unchanged, "file": directives.unchanged}

    def run(self) -> list[nodes.Node]:
        """Return the picture."""
        # The picture changes with the code, not with the page.
        self.env.note_reread()
        name, options = self.arguments[0], self.options
        if "file" in options:
            facts = in_file(name, Path(self.env.srcdir) / options["file"])
        else:
            facts = function(name, options.get("backend", ""))
        return [_drawn(facts)]


class Ladders(SphinxDirective):
    """Draws all ladders that there are, a section for each file."""

    def run(self) -> list[nodes.Node]:
        """Return the sections."""
        self.env.note_reread()
        files: dict[str, dict[str, Facts]] = {}
        for backend in backends.available():
            for name, facts in Vocabulary.of(backends.load(backend)).items():
                if facts.ladder:
                    files.setdefault(facts.file, {}).setdefault(name, facts)
        out: list[nodes.Node] = []
        for file in sorted(files, key=lambda file: (not file.startswith("virt/"), file)):
            section = nodes.section("", nodes.title(file, file), ids=[nodes.make_id(file)], names=[file])
            section += [_drawn(facts) for facts in files[file].values()]
            out.append(section)
        return out


def _drawn(facts: Facts) -> nodes.Node:
    return nodes.container("", nodes.raw("", to_svg(of_model(facts)), format="html"), classes=["ladder"])


def setup(app: Sphinx) -> dict[str, bool]:
    """Add the directive."""
    app.add_directive("ladder", Ladder)
    app.add_directive("ladders", Ladders)
    return {"parallel_read_safe": True}
