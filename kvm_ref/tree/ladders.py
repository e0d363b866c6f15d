# SPDX-License-Identifier: GPL-2.0-only
"""The goto ladder of a function as its C text has it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from kvm_ref import calls
from kvm_ref.drawing import Drawing
from kvm_ref.reading import Jump, Label, Ladder
from kvm_ref.tree.operations import Asm, Call, Code, Goto, Operation, Return

# Calls that tell somebody what happened, and that no jump is owed to.
_TALK = ("pr_", "kvm_err", "kvm_info", "dev_", "printk", "PTR_ERR", "WARN")


def drawing(code: Code) -> Drawing:
    """Return the ladder of a function, and its other ways out, as they stand in the text."""
    operations = code.operations
    jumps = tuple(_jumps(operations))
    lines = sorted(code.labels.items(), key=lambda label: label[1])
    ends = [*(line for _, line in lines[1:]), 1 << 30][: len(lines)]
    labels = tuple(
        Label(name, tuple(_undo(operations, line, end)), line)
        for (name, line), end in zip(lines, ends, strict=True)
    )
    first = lines[0][1] if lines else 1 << 30
    returns = [op.line for op in operations[:-1] if isinstance(op, Return) and op.line < first]
    ladder = Ladder(code.name, jumps, labels) if jumps or labels else None
    ways = tuple(f"return, line {line}" for line in dict.fromkeys(returns))
    return Drawing(code.name, code.path, ladder, ways)


def _jumps(operations: Iterable[Operation]) -> Iterator[Jump]:
    # Each goto, with the call before it whose result was asked for.
    last = ""
    for op in operations:
        if isinstance(op, Call) and not op.name.startswith(_TALK):
            last = op.name or op.member
        elif isinstance(op, Goto):
            yield Jump(op.label, (last,) if last else (), op.line)
        elif isinstance(op, Asm):
            for label, _ in op.labels:
                yield Jump(label, (), op.line)
        elif isinstance(op, Return):
            last = ""


def _undo(operations: Iterable[Operation], start: int, end: int) -> Iterator[calls.Call]:
    for op in operations:
        if isinstance(op, Call) and start <= op.line < end and not op.name.startswith(_TALK):
            yield calls.Call(op.name or op.member, indirect=not op.name)
