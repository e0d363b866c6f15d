# SPDX-License-Identifier: GPL-2.0-only
"""What ``kvm-ref latency`` does with its arguments, and its table."""

from __future__ import annotations

import argparse
import json
import textwrap
from collections.abc import Iterator, Mapping, Sequence

from kvm_ref import backend as backends
from kvm_ref.backend import Backend
from kvm_ref.latency.costs import Costs
from kvm_ref.latency.first_vm import Row, measure, sizes, to_json
from kvm_ref.report import WIDTH
from kvm_ref.scenario import KERNEL

_HEAD = (
    ("", "enabled at load", "", "on demand", "", ""),
    ("CPUs", "load", "first VM", "load", "serialised", "broadcast"),
)
_UNDER = " " * 30


def latency(args: argparse.Namespace, features: Mapping[str, bool]) -> int:
    """Estimate the time until the first VM on CPUs that have some features."""
    backend = backends.load(args.backend)
    costs = Costs.read(args.cost)
    rows = measure(backend, sizes(args.cpus), costs, features)
    if args.format == "json":
        print(json.dumps(to_json(backend, rows, costs), indent=1))
    elif args.format == "svg":
        from kvm_ref.latency import plot

        print(plot.to_svg(backend, rows, costs))
    else:
        print("\n".join(table(backend, rows, costs)))
    return 0


def table(backend: Backend, rows: Sequence[Row], costs: Costs) -> Iterator[str]:
    """Yield the times as aligned columns, and then the costs."""
    yield f"# {backend.name}, Linux {KERNEL}; microseconds, by the costs below"
    cells = [*_HEAD, *((str(row.cpus), *(f"{time:.1f}" for time in row.times().values())) for row in rows)]
    widths = [max(10, *(len(line[n]) for line in cells[1:])) + 2 for n in range(len(_HEAD[0]))]
    # The two heads above stand over several columns.
    yield (
        " " * widths[0] + _over(_HEAD[0][1], sum(widths[1:3])) + _over(_HEAD[0][3], sum(widths[3:])).rstrip()
    )
    for line in cells[1:]:
        yield "".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True))
    yield ""
    yield "# costs in microseconds, and where they are from"
    for name, cost in costs.to_json().items():
        yield f"{name:<18}  {cost['us']:>8g}  {cost['what']}"
        yield from textwrap.wrap(cost["source"], WIDTH, initial_indent=_UNDER, subsequent_indent=_UNDER)


def _over(head: str, width: int) -> str:
    return f"  {f' {head} '.center(width - 2, '-')}"
