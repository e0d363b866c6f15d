# SPDX-License-Identifier: GPL-2.0-only
"""The command kvm-ref.

Exit status: 0 all is as expected, 1 something was found, 2 the request makes no sense.
"""

from __future__ import annotations

import argparse
import gc
import io
import sys
from collections.abc import Callable, Mapping, Sequence

import kvm_ref
from kvm_ref import streams
from kvm_ref.errno import KernelError
from kvm_ref.misuse import Misuse
from kvm_ref.options import Command, Parser, add_features, add_format, choice
from kvm_ref.trace import TraceError

EXAMPLES = """\
examples:
  kvm-ref matrix                            every fault, on every backend
  kvm-ref matrix --backend arm64 load       every fault while arm64 KVM comes up
  kvm-ref run --backend x86-svm --fail misc_register load
  kvm-ref run --backend x86-vmx --fail kvm_arch_enable_virtualization_cpu@1=EBUSY load unload
  kvm-ref run --backend x86-svm foreign-on=2 load foreign-off=2 load
  kvm-ref ladder kvm_init --format mermaid
  kvm-ref compare trace-of-a-kernel.json

A fault is FUNCTION[#NTH][@CPU][=ERRNO]. NTH counts the calls since the first verb, CPU is the CPU
that the call runs on, ERRNO replaces the natural one. `kvm-ref list faults` names the functions.
"""


def _machine(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--cpus",
        default="4",
        metavar="N|LIST|host",
        help="a number of CPUs, a list (0-3,8), or this machine's (default: 4)",
    )
    parser.add_argument(
        "--param", action="append", default=[], metavar="NAME=VALUE", help="set a module parameter"
    )
    parser.add_argument(
        "--cmdline", metavar="TEXT|@FILE", help="take parameters from a kernel command line (@/proc/cmdline)"
    )
    add_features(parser)
    parser.add_argument(
        "--with",
        action="append",
        default=[],
        dest="with_",
        metavar="COMMIT",
        help="add an upstream commit to 6.12.117",
    )
    parser.add_argument(
        "--without", action="append", default=[], metavar="COMMIT", help="take a commit out of 6.12.117"
    )


def _named(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--scenario",
        metavar="NAME",
        help="run the scenario of this name instead of verbs (kvm-ref list scenarios)",
    )


def _machine_override(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--param",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="run the model with this parameter, whatever the trace says",
    )


LISTS = (
    "backends",
    "functions",
    "faults",
    "labels",
    "commits",
    "judges",
    "verbs",
    "scenarios",
    "features",
    "params",
)


def _run(command: Command) -> None:
    p = command(
        "run",
        "run verbs on one machine and show what happens",
        "  kvm-ref run load unload\n"
        "  kvm-ref run --backend x86-svm --fail alloc_cpumask_var_node#3 load\n"
        "  kvm-ref run --backend arm64 --param kvm-arm.mode=protected load\n"
        "  kvm-ref run --scenario other-hypervisor-second\n"
        "  kvm-ref run --reboot-at register_syscore load --format json\n"
        "  kvm-ref run --format perfetto load create-vm > open-it-in-ui.perfetto.dev.json",
    )
    p.add_argument("--backend", default="x86-svm", metavar="NAME", help="the architecture (default: x86-svm)")
    _machine(p)
    p.add_argument(
        "--fail",
        action="append",
        default=[],
        metavar="SPEC",
        help="fail a call: FUNCTION[#NTH][@CPU][=ERRNO]",
    )
    p.add_argument(
        "--reboot-at",
        action="append",
        default=[],
        metavar="FUNCTION",
        help="the system goes down while this call runs: FUNCTION[#NTH][@CPU]",
    )
    add_format(p, "text", "json", "function_graph", "perfetto")
    _named(p)
    p.add_argument("verbs", nargs="*", metavar="VERB", help="what to do, in order (kvm-ref list verbs)")


def _matrix(command: Command) -> None:
    p = command(
        "matrix",
        "run every fault of a scenario, one at a time, and judge each run",
        "  kvm-ref matrix\n"
        "  kvm-ref matrix --backend x86-svm --with b31e7c24b475\n"
        "  kvm-ref matrix --backend x86-svm --cpus 64 --fail-cpus edges --jobs 2 load\n"
        "  kvm-ref matrix --backend x86-svm -- load create-vm offline=2 close-vm unload\n"
        "  kvm-ref matrix --backend riscv --faults 2 load create-vm close-vm unload\n"
        "  kvm-ref matrix --format ktap\n"
        "  kvm-ref matrix --format html -o matrix.html",
    )
    p.add_argument(
        "--backend",
        action="append",
        default=[],
        metavar="NAME|all",
        help="an architecture; may be repeated (default: all)",
    )
    _machine(p)
    p.add_argument(
        "--fail-cpus",
        type=choice("choice", ("all", "edges")),
        default="all",
        metavar="all|edges",
        help="fail calls repeated for each CPU on all CPUs, or the first and last only (default: all)",
    )
    p.add_argument(
        "--faults",
        default="1",
        metavar="1|2",
        help="how many calls fail in one run; 2 makes every pair, also on the way back (default: 1)",
    )
    p.add_argument("--jobs", default="1", metavar="N", help="processes of this machine (default: 1)")
    add_format(p, "text", "json", "ktap", "html")
    p.add_argument(
        "-o",
        "--output",
        metavar="FILE",
        help="write it to a file; html needs one, or a pipe (default: -, which is stdout)",
    )
    _named(p)
    p.add_argument(
        "verbs", nargs="*", metavar="VERB", help="what to do, in order (default: load unload load unload)"
    )
    every = "matrix fails every call, one at a time, and has no {}: kvm-ref run has it"
    p.set_defaults(elsewhere={option: every.format(option) for option in ("--fail", "--reboot-at")})


def _ladder(command: Command) -> None:
    p = command(
        "ladder",
        "show a function's goto ladder, or its ways out if it has none",
        "  kvm-ref ladder kvm_init\n  kvm-ref ladder init_hyp_mode --backend arm64 --format dot",
    )
    p.add_argument("function", metavar="FUNCTION", help="as in the C source")
    p.add_argument("--backend", metavar="NAME", help="the architecture, where several have the function")
    add_format(p, "text", "json", "dot", "mermaid", "svg")


def _list(command: Command) -> None:
    p = command("list", "list what there is", "  kvm-ref list faults --backend riscv\n  kvm-ref list commits")
    p.add_argument("what", metavar="|".join(LISTS), type=choice("list", LISTS), help="what to list")
    p.add_argument("--backend", metavar="NAME", help="only what this architecture has")
    add_format(p, "text", "json")


def _compare(command: Command) -> None:
    p = command(
        "compare",
        "compare a trace with the model's run of the same scenario, or two traces",
        "  kvm-ref compare kernel.json\n  kvm-ref compare before.json after.json",
    )
    p.add_argument("traces", nargs="+", metavar="TRACE", help="one or two trace files")
    _machine_override(p)


def _latency(command: Command) -> None:
    from kvm_ref.latency import line

    line.add(command)


def _tree(command: Command) -> None:
    from kvm_ref.tree import line

    line.add(command)


# What adds each command to the command line, in the order of the help.
_COMMANDS: Mapping[str, Callable[[Command], None]] = {
    "run": _run,
    "matrix": _matrix,
    "ladder": _ladder,
    "list": _list,
    "compare": _compare,
    "latency": _latency,
    "tree": _tree,
}


def parser(only: str | None = None) -> Parser:
    """Return the parser of the whole command line, or of one command `only`: to make all takes long."""
    top = Parser(
        prog="kvm-ref",
        description="Run how Linux KVM comes up and goes down, with any call failing.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("--version", action="version", version=f"kvm-ref {kvm_ref.__version__}")
    commands = top.add_subparsers(dest="command", metavar="COMMAND", parser_class=Parser)

    def command(
        name: str,
        help: str,
        examples: str,
        among: argparse._SubParsersAction[argparse.ArgumentParser] | None = None,
    ) -> argparse.ArgumentParser:
        p = (among or commands).add_parser(
            name,
            help=help,
            description=help[0].upper() + help[1:] + ".",
            epilog="examples:\n" + examples,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        p.set_defaults(parser=p)
        return p

    for name, add in _COMMANDS.items():
        if only in (None, name):
            add(command)
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    whole = argv is None
    if whole:
        # Traces hold no reference cycles; collecting among a million tuples would double the time.
        gc.disable()
        streams.mend()
    if isinstance(sys.stdout, io.TextIOWrapper):
        # What a terminal cannot show is no reason to stop.
        sys.stdout.reconfigure(errors="replace")
    try:
        words = sys.argv[1:] if argv is None else argv
        top = parser(words[0] if words and words[0] in _COMMANDS else None)
        args = top.parse_args(words)
        if args.command is None:
            top.error(f"no command given: expected one of {', '.join(_COMMANDS)}")
        from kvm_ref import commands

        status = commands.COMMANDS[args.command](args)
        print(end="", flush=True)
        if whole:
            # Nor is there anything to collect at the end, when Python would look once more.
            gc.freeze()
        return status
    except (Misuse, TraceError) as error:
        print(f"kvm-ref: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    except KernelError:
        raise  # a bug of the model's, though an OSError
    except OSError as error:
        streams.discard(sys.stdout)
        if isinstance(error, BrokenPipeError):
            return 0  # the reader has seen enough
        print(f"kvm-ref: cannot go on: {error.strerror}", file=sys.stderr)
        return 2
