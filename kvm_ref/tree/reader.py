# SPDX-License-Identifier: GPL-2.0-only
"""Reading functions for several backends: what their files share is read once."""

from __future__ import annotations

from collections.abc import Container
from typing import cast

import attrs

from kvm_ref.tree.config import Config
from kvm_ref.tree.operations import Code
from kvm_ref.tree.parse import Parsed, ParseError, parse
from kvm_ref.tree.source import File, Function
from kvm_ref.tree.statements import lower


class _Asked(Container[str]):
    # Names, and which of them were asked for.

    def __init__(self, names: Container[str]) -> None:
        self.names = names
        self.answers: dict[str, bool] = {}

    def __contains__(self, name: object) -> bool:
        answer = self.answers[str(name)] = name in self.names
        return answer

    def same(self, names: Container[str]) -> bool:
        return all((name in names) == answer for name, answer in self.answers.items())


@attrs.frozen
class _Read:
    # A function, and what it asked for when it was read.
    code: Code
    options: dict[str, bool]
    spoken: _Asked
    functions: _Asked


def read(
    file: File | None, function: Function, config: Config, spoken: Container[str], functions: Container[str]
) -> Code:
    """Return a function of a file as `lower` does; what asks for the same, with the same answers, is shared.

    Raises:
        ParseError: the function cannot be read.
    """
    try:
        return _read(file, function, config, spoken, functions)
    except RecursionError:
        at = f"{function.path}:{function.line}"
        message = f"{at}: cannot read {function.name}(): it is nested too deeply"
        raise ParseError(message, function.line) from None


def _read(
    file: File | None, function: Function, config: Config, spoken: Container[str], functions: Container[str]
) -> Code:
    if file is None:
        return lower(parse(function), config, spoken, functions)
    known = cast("list[_Read]", file.kept.setdefault(f"code of {function.name}()", []))
    for one in known:
        # Each option is asked for, as it is when the function is read.
        same = [config.get(name) == answer for name, answer in one.options.items()]
        if all(same) and one.spoken.same(spoken) and one.functions.same(functions):
            return one.code
    before, config.asked = config.asked, {}
    asked = _Asked(spoken), _Asked(functions)
    try:
        code = lower(_parsed(file, function), config, *asked)
        known.append(_Read(code, config.asked, *asked))
    finally:
        config.asked = {**before, **config.asked}
    return code


def _parsed(file: File, function: Function) -> Parsed:
    key = f"tree of {function.name}()"
    known = file.kept.get(key)
    if not isinstance(known, Parsed):
        file.kept[key] = known = parse(function)
    return known
