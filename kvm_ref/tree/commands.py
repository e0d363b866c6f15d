# SPDX-License-Identifier: GPL-2.0-only
"""What each ``kvm-ref tree`` command does with its arguments; a function a command."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable

from kvm_ref import backend as backends
from kvm_ref import picture
from kvm_ref.backend import Backend
from kvm_ref.drawing import to_json
from kvm_ref.fault import Fault
from kvm_ref.fault import parse as parse_fault
from kvm_ref.misuse import Misuse, nearest
from kvm_ref.tree import pairs, report, sarif
from kvm_ref.tree.audit import Audit, Files
from kvm_ref.tree.check import Assumed, Check, configuration
from kvm_ref.tree.config import Config
from kvm_ref.tree.evidence import Evidence
from kvm_ref.tree.ladders import drawing
from kvm_ref.tree.program import Interest
from kvm_ref.tree.result import Checked, another_design, checked
from kvm_ref.tree.roles import Roles
from kvm_ref.tree.source import Tree
from kvm_ref.tree.walk import Walk
from kvm_ref.vocabulary import Facts, declared

FORMAT = "kvm-ref-tree/1"


def _print(lines: Iterable[str]) -> None:
    for line in lines:
        print(line)


def _json(data: object) -> None:
    json.dump(data, sys.stdout, indent=1)
    print()


def _config(args: argparse.Namespace, backend: Backend | None) -> Config:
    # The configuration that was given, or what the backend's model stands for.
    if args.config:
        config = Config.read(args.config)
    else:
        config = configuration(backend) if backend else Assumed({})
    for text in args.set:
        config.set(text)
    return config


def _backends(names: list[str]) -> list[Backend]:
    named = [backends.load(name) for name in names if name != "all"]
    return named if named and "all" not in names else [backends.load(name) for name in backends.available()]


def check(args: argparse.Namespace) -> int:
    """Hold a tree against the model; status 1 if they differ."""
    tree = Tree(args.tree)
    missing = another_design(tree)
    if missing:
        if args.format == "json":
            _json({"format": FORMAT, "tree": args.tree, "kernel": tree.version, "missing": missing})
        elif args.format == "sarif":
            _json(sarif.log([], [f"there is no {name}()" for name in missing]))
        else:
            _print(report.another(args.tree, tree.version, missing))
        return 1
    done: list[Checked] = []
    for backend in _backends(args.backend):
        done.append(checked(Check(tree, backend, _config(args, backend)), args.function))
    known = {held.name for one in done for held in one.held}
    for name in args.function:
        if name not in known:
            names = [n for one in done for n in one.names]
            raise Misuse(f"the model has no function {name!r} to compare{nearest(name, names)}")
    if args.format == "json":
        _json({"format": FORMAT, "tree": args.tree, "kernel": tree.version} | report.to_json(done))
    elif args.format == "sarif":
        errors = [held.error for one in done for held in one.held if held.error]
        errors += [f"{name}() is not in this tree" for one in done for name in one.missing]
        _json(sarif.log([d for one in done for d in one.defects], errors))
    else:
        _print(report.text(args.tree, tree.version, done, every=bool(args.function)))
    return int(any(not one.equal for one in done))


def _found(tree: Tree, args: argparse.Namespace) -> tuple[Check, Backend]:
    # The first backend whose part of the tree has the function.
    names: list[str] = []
    for backend in _backends([args.backend] if args.backend else ["x86-svm", *backends.available()]):
        found = Check(tree, backend, _config(args, backend), Evidence(backend, faults=False))
        if args.function in found.program:
            return found, backend
        names += found.program.names()
    raise Misuse(f"{args.tree} has no function {args.function!r}{nearest(args.function, names)}")


def walk(args: argparse.Namespace) -> int:
    """Walk one way through a function of a tree; status 1 if the call that is to fail is not on any."""
    tree = Tree(args.tree)
    found, backend = _found(tree, args)
    code = found.program.code(args.function)
    if code is None:
        raise Misuse(str(found.program.errors[args.function]))
    fault: Fault | None = None if args.fail is None else parse_fault(args.fail)
    roles = Roles(found.vocabulary, found.program)
    if fault is not None and fault.cpu is not None:
        raise Misuse(f"--fail {args.fail}: a walk of text is on no CPU: expected FUNCTION[#NTH][=ERRNO]")
    if fault is not None and fault.function not in roles:
        raise Misuse(f"no call of {fault.function!r} can fail{nearest(fault.function, roles)}")
    ways = Walk(Interest(found.program, roles), roles, fault).ways(code)
    way = next((way for way in ways if fault is None or way.fired), None)
    if way is None:
        print(f"kvm-ref: {fault} is on no way through {args.function}()", file=sys.stderr)
        return 1
    way.trace.source["backend"] = backend.name
    if args.format == "json":
        _json(way.trace.to_json())
    else:
        _print(report.way(way, args.tree, tree.version))
    return 0


def ladder(args: argparse.Namespace) -> int:
    """Show the ladder of a function of a tree."""
    found, _ = _found(Tree(args.tree), args)
    code = found.program.code(args.function)
    if code is None:
        raise Misuse(str(found.program.errors[args.function]))
    shown = drawing(code)
    if args.format == "json":
        _json(to_json(shown))
    else:
        _print(picture.FORMATS[args.format](shown))
    return 0


def _facts() -> dict[str, Facts]:
    # Every function of every backend, by all its names.
    _backends([])
    out: dict[str, Facts] = {}
    for facts in declared():
        for name in (facts.name, facts.former):
            if name:
                out.setdefault(name, facts)
    return out


def audit(args: argparse.Namespace) -> int:
    """Walk and judge functions of C files; status 1 if something is wrong."""
    facts = _facts()
    for path in args.pairs:
        facts |= pairs.read(path)
    done = list(Audit(Files(args.files), facts, _config(args, None)).all(args.function))
    defects = [defect for one in done for defect in one.defects]
    if args.format == "json":
        _json(report.audit_to_json(done))
    elif args.format == "sarif":
        _json(sarif.log(defects, [one.error for one in done if one.error]))
    else:
        _print(report.audit(done))
    return int(bool(defects) or any(one.error for one in done))


COMMANDS = {"check": check, "walk": walk, "ladder": ladder, "audit": audit}
