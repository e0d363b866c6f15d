# SPDX-License-Identifier: GPL-2.0-only
"""Names in a function's text against those in the model's function: its labels, and the CPUs of its loops."""

from __future__ import annotations

import re
from collections.abc import Container, Iterator

import attrs

from kvm_ref.reading import Ladder
from kvm_ref.tree.bodies import Body, Remark
from kvm_ref.tree.operations import Code, Goto, Loop
from kvm_ref.vocabulary import Facts

_OVER_CPUS = re.compile(r"for_each_(possible|present|online)_cpu")


def relabelled(code: Code, ladder: Ladder | None) -> Code:
    """Return a function with the model's labels, if it has as many in the same order by other names."""
    wanted = [one.name for one in ladder.labels] if ladder else []
    names = dict(zip(code.labels, wanted, strict=False))
    other = {mine: model for mine, model in names.items() if mine != model}
    if not other or len(wanted) != len(code.labels) or other.keys() & set(wanted):
        return code
    operations = [
        attrs.evolve(op, label=names.get(op.label, op.label)) if isinstance(op, Goto) else op
        for op in code.operations
    ]
    return attrs.evolve(
        code,
        operations=tuple(operations),
        labels={names[label]: line for label, line in code.labels.items()},
        gotos=tuple((names[label], line) for label, line in code.gotos),
    )


def without_jumps(body: Body, labels: Container[str]) -> Body:
    """Return a body without the jumps to labels that the text does not have: it gives up in other words."""
    items = tuple(item for item in body.items if item[0] != "goto" or item[1] in labels)
    return body if len(items) == len(body.items) else attrs.evolve(body, items=items)


def other_cpus(code: Code, facts: Facts) -> Iterator[Remark]:
    """Yield the loops of a function over other CPUs than those that the model's function goes over."""
    every = {name for name in facts.function.__code__.co_names if _OVER_CPUS.fullmatch(name)}
    for op in code.operations:
        if isinstance(op, Loop) and every and _OVER_CPUS.fullmatch(op.name) and op.name not in every:
            message = f"{code.name}() goes over {op.name}(), the model over {' and '.join(sorted(every))}()"
            yield Remark(code.path, op.line, "differs", message)
