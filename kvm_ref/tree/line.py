# SPDX-License-Identifier: GPL-2.0-only
"""The command line of ``kvm-ref tree``."""

from __future__ import annotations

import argparse

from kvm_ref.options import Command, add_format

_TREE = "  kvm-ref tree check ~/linux --backend x86-svm\n  kvm-ref tree audit drivers/char/misc.c"
_CHECK = (
    "  kvm-ref tree check ~/linux\n"
    "  kvm-ref tree check ~/linux --backend x86-vmx --function vmx_init\n"
    "  kvm-ref tree check ~/linux --set CONFIG_HYPERV=n --format sarif"
)
_WALK = (
    "  kvm-ref tree walk ~/linux kvm_init --fail misc_register\n"
    "  kvm-ref tree walk ~/linux kvm_create_vm --backend arm64 --format json"
)
_LADDER = "  kvm-ref tree ladder ~/linux kvm_init\n  kvm-ref tree ladder ~/linux init_hyp_mode --format dot"
_AUDIT = (
    "  kvm-ref tree audit drivers/net/ethernet/me/main.c --function me_probe --pairs me.pairs\n"
    "  kvm-ref tree audit virt/kvm/kvm_main.c --format sarif"
)


def _of_tree(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("tree", metavar="TREE", help="the directory of a kernel's source")
    parser.add_argument("function", metavar="FUNCTION", help="as in the C source")
    parser.add_argument(
        "--backend", default="", metavar="NAME", help="the architecture, where several have the function"
    )
    _kconfig(parser)


def _functions(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--function", action="append", default=[], metavar="NAME", help="only this function; may be repeated"
    )


def _kconfig(parser: argparse.ArgumentParser) -> None:
    given = parser.add_mutually_exclusive_group()
    given.add_argument("--config", default="", metavar="FILE", help="the kernel's configuration (.config)")
    given.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="CONFIG_X=y|n",
        help="an option of the kernel's configuration; may be repeated",
    )


def add(command: Command) -> None:
    """Add the commands to the command line."""
    tree = command("tree", "hold a kernel tree's C text against the model", _TREE)
    among = tree.add_subparsers(dest="tree_command", metavar="COMMAND", parser_class=type(tree))

    p = command("check", "compare every function with the model, at every fault", _CHECK, among)
    p.add_argument("tree", metavar="TREE", help="the directory of a kernel's source")
    p.add_argument(
        "--backend",
        action="append",
        default=[],
        metavar="NAME|all",
        help="an architecture; may be repeated (default: all)",
    )
    _functions(p)
    _kconfig(p)
    add_format(p, "text", "json", "sarif")

    p = command("walk", "show one way through a function as a trace", _WALK, among)
    _of_tree(p)
    p.add_argument("--fail", metavar="SPEC", help="fail a call: FUNCTION[#NTH][=ERRNO]")
    add_format(p, "text", "json")

    p = command("ladder", "show a function's goto ladder as the text has it", _LADDER, among)
    _of_tree(p)
    add_format(p, "text", "json", "dot", "mermaid", "svg")

    p = command("audit", "look for what unwinds wrongly in any C file, without a model", _AUDIT, among)
    p.add_argument("files", nargs="+", metavar="FILE.c", help="C files")
    _functions(p)
    p.add_argument(
        "--pairs",
        action="append",
        default=[],
        metavar="FILE",
        help="more functions that acquire and release, a line each: ACQUIRES RELEASES FAILURE",
    )
    _kconfig(p)
    add_format(p, "text", "json", "sarif")
