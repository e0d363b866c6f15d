# SPDX-License-Identifier: GPL-2.0-only
"""The command line of ``kvm-ref latency``."""

from __future__ import annotations

from kvm_ref.options import Command, add_features, add_format

_EXAMPLES = (
    "  kvm-ref latency --cpus 1-4096\n"
    "  kvm-ref latency --backend arm64 --cpus 8,64,192\n"
    "  kvm-ref latency --feature constant_tsc=1 --cpus 256\n"
    "  kvm-ref latency --cost idle_exit=133 --format svg > latency.svg"
)


def add(command: Command) -> None:
    """Add the command to the command line."""
    p = command(
        "latency", "estimate how long the first VM waits for virtualization, by a cost model", _EXAMPLES
    )
    p.add_argument("--backend", default="x86-svm", metavar="NAME", help="the architecture (default: x86-svm)")
    p.add_argument(
        "--cpus",
        default="1-4096",
        metavar="N|LIST|RANGE",
        help="how many CPUs; of a range its ends and the powers of two between (default: 1-4096)",
    )
    p.add_argument(
        "--cost",
        action="append",
        default=[],
        metavar="NAME=MICROSECONDS",
        help="set a cost; may be repeated (the table ends with all of them)",
    )
    add_features(p)
    add_format(p, "text", "json", "svg")
