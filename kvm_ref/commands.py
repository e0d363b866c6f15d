# SPDX-License-Identifier: GPL-2.0-only
"""What each command of kvm-ref does with its arguments; a function a command."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from kvm_ref import backend as backends
from kvm_ref import fault as faults
from kvm_ref import report, text
from kvm_ref.backend import Backend
from kvm_ref.cpus import parse_cmdline, parse_commits, parse_cpus
from kvm_ref.fault import Fault
from kvm_ref.linux.module import find, full_name, resolve
from kvm_ref.matrix import VERBS, Matrix
from kvm_ref.matrix import run as run_matrix
from kvm_ref.misuse import Misuse, near, nearest, unreadable
from kvm_ref.output import Output
from kvm_ref.plans import scenarios
from kvm_ref.scenario import Scenario
from kvm_ref.scenario import check as check_scenario
from kvm_ref.scenario import run as run_scenario
from kvm_ref.trace import Trace, load
from kvm_ref.verbs import parse_verb
from kvm_ref.vocabulary import Vocabulary

if TYPE_CHECKING:
    from kvm_ref.scenarios import Named

MAX_JOBS = 256


def _print(lines: Iterable[str]) -> None:
    for line in lines:
        print(line)


def _print_json(data: object) -> None:
    import json

    json.dump(data, sys.stdout, indent=1)
    print()


def _colour() -> bool:
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def _pairs(given: Sequence[str], option: str) -> dict[str, str]:
    out: dict[str, str] = {}
    for pair in given:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise Misuse(f"malformed {option} {pair!r}: expected NAME=VALUE")
        out[name] = value
    return out


def _features(given: Sequence[str]) -> dict[str, bool]:
    out: dict[str, bool] = {}
    for name, value in _pairs(given, "--feature").items():
        if value not in ("0", "1"):
            raise Misuse(f"malformed value {value!r} for feature {name}: expected 0 or 1")
        out[name] = value == "1"
    return out


def _scenario(
    args: argparse.Namespace,
    backend: Backend,
    verbs: Sequence[str],
    plan: Sequence[Fault] = (),
    *,
    shared: bool = False,
) -> Scenario:
    params: dict[str, str] = {}
    if args.cmdline is not None:
        params, _ = parse_cmdline(args.cmdline, backend)
    params.update(_pairs(args.param, "--param"))
    features = _features(args.feature)
    if shared:
        # An option need mean something to one of the backends only.
        params = {name: text for name, text in params.items() if find(backend.modules, name)}
        features = {name: on for name, on in features.items() if name in backend.features}
    params = {resolve(backend.modules, name)[1].key: text for name, text in params.items()}
    return Scenario(
        backend=backend.name,
        verbs=tuple(verbs),
        cpus=parse_cpus(args.cpus),
        params=params,
        commits=parse_commits(args.with_, args.without),
        faults=tuple(plan),
        features=features,
    )


def _note_unknown(args: argparse.Namespace, among: Sequence[Backend]) -> None:
    # A kernel command line may hold anything, but what is meant for KVM and does nothing is told.
    if args.cmdline is None:
        return
    read = [parse_cmdline(args.cmdline, backend) for backend in among]
    known = {name.replace("-", "_") for params, _ in read for name in params}
    full_names = [full_name(m, p) for backend in among for m in backend.modules for p in m.params]
    by_name = {full.partition(".")[2]: full for full in full_names}
    for name in dict.fromkeys(name for _, unknown in read for name in unknown):
        if name.replace("-", "_") not in known:
            # It may be another parameter of the kernel's, or a slip.
            close = near(name.partition(".")[2], by_name, 0.8)
            meant = f": did you mean {by_name[close]}?" if close else ""
            print(f"kvm-ref: {name} is not modelled and makes no difference here{meant}", file=sys.stderr)


def _check_shared(args: argparse.Namespace, among: Sequence[Backend]) -> None:
    # Options for several backends: each must be known to one at least.
    for name in _pairs(args.param, "--param"):
        resolve(tuple(m for backend in among for m in backend.modules), name)
    known = {name for backend in among for name in backend.features}
    for name in _features(args.feature):
        if name not in known:
            raise Misuse(f"unknown feature {name!r}{nearest(name, known)}")


def _named(args: argparse.Namespace) -> Named | None:
    # Have the verbs and parameters of a scenario by name stand where the user's would.
    if args.scenario is None:
        return None
    from kvm_ref.scenarios import named

    chosen = named(args.scenario)
    if args.verbs:
        raise Misuse(f"give either verbs or --scenario {args.scenario}, not both")
    args.verbs = [verb for verb, _ in chosen.verbs]
    args.param = [f"{name}={value}" for name, value in chosen.params.items()] + args.param
    return chosen


def run(args: argparse.Namespace) -> int:
    """Run verbs on one machine; status 1 if a judge found something or a fault never fired."""
    from kvm_ref.judged import judge

    chosen = _named(args)
    if not args.verbs:
        raise Misuse("nothing to do: give verbs, as in kvm-ref run load unload, or --scenario NAME")
    backend = backends.load(args.backend)
    plan = [*(chosen.faults if chosen else ()), *(faults.parse(spec) for spec in args.fail)]
    for spec in args.reboot_at:
        fault = faults.parse(spec)
        if fault.errno is not None:
            raise Misuse(f"malformed --reboot-at {spec!r}: a reboot has no errno")
        plan.append(attrs.evolve(fault, effect="system_state=SYSTEM_RESTART"))
    scenario = _scenario(args, backend, args.verbs, plan)
    done = run_scenario(scenario, backend)
    _note_unknown(args, [backend])
    findings = judge(done, backend).findings
    if args.format == "json":
        data = done.trace.to_json()
        data["findings"] = [f.to_json() for f in findings]
        data["idle"] = [str(f) for f in done.idle]
        _print_json(data)
    elif args.format == "perfetto":
        from kvm_ref import perfetto

        _print_json(perfetto.to_json(done.trace, findings))
    elif args.format == "function_graph":
        _print(text.function_graph(done.trace))
    else:
        _print(report.run(scenario, done, findings, colour=_colour()))
    for fault in done.idle:
        print(f"kvm-ref: the fault {fault} never fired", file=sys.stderr)
    rest = scenario.verbs[len(done.trace.steps) :]
    if rest:
        print(f"kvm-ref: the machine has stopped: {' '.join(rest)} did not run", file=sys.stderr)
    return 1 if findings or done.idle else 0


def matrix(args: argparse.Namespace) -> int:
    """Run every fault of a scenario; status 1 if a judge found something."""
    names = list(dict.fromkeys(args.backend or ["all"]))
    known = list(backends.available())
    for name in names:
        if name not in (*known, "all"):
            raise Misuse(f"unknown backend {name!r}{nearest(name, (*known, 'all'))}")
    if "all" in names:
        names = known
    if args.jobs not in map(str, range(1, MAX_JOBS + 1)):
        raise Misuse(f"malformed --jobs {args.jobs!r}: expected a number of processes, 1 to {MAX_JOBS}")
    _named(args)
    verbs = args.verbs or VERBS
    for verb in verbs:
        parse_verb(verb)
    among = [backends.load(name) for name in names]
    _check_shared(args, among)
    bases: list[Scenario] = []
    for backend in among:
        base = _scenario(args, backend, verbs, shared=len(among) > 1)
        check_scenario(base, backend)
        bases += scenarios(base, backend)
    edges = args.fail_cpus == "edges"
    if args.faults not in ("1", "2"):
        raise Misuse(f"malformed --faults {args.faults!r}: expected 1, or 2 for every pair")
    with Output(args.output) as output:
        if args.format == "html" and output.path is None and sys.stdout.isatty():
            raise Misuse("a terminal shows no HTML: give a file, as in --format html -o matrix.html")
        done = _run_matrix(args, bases, edges=edges, faults=int(args.faults))
        _note_unknown(args, among)
        output.write(_matrix_as(args.format, done, colour=output.path is None and _colour()))
    return 1 if any(row.findings or row.idle for row in done.rows) else 0


def _run_matrix(args: argparse.Namespace, bases: Sequence[Scenario], *, edges: bool, faults: int) -> Matrix:
    progress = _progress if sys.stderr.isatty() else None
    watch = None
    if args.format == "html":
        from kvm_ref.html.seen import Watcher

        watch = Watcher
    if int(args.jobs) == 1:
        return run_matrix(bases, edges=edges, faults=faults, progress=progress, watch=watch)
    from concurrent.futures import ProcessPoolExecutor

    jobs = int(args.jobs)
    with ProcessPoolExecutor(jobs) as executor:
        return run_matrix(
            bases, executor, jobs=jobs, edges=edges, faults=faults, progress=progress, watch=watch
        )


def _matrix_as(form: str, done: Matrix, *, colour: bool) -> Iterable[str]:
    if form == "json":
        import json

        return [json.dumps(done.to_json(), indent=1)]
    if form == "ktap":
        return report.ktap(done)
    if form == "html":
        from kvm_ref.html.page import page

        return [page(done)]
    return report.matrix(done, colour=colour)


def _progress(done: int, count: int) -> None:
    end = "\n" if done == count else ""
    print(f"\rkvm-ref: {done} of {count} done", end=end, file=sys.stderr, flush=True)


def ladder(args: argparse.Namespace) -> int:
    """Show a function's ladder."""
    from kvm_ref import drawing, picture

    known: dict[str, Any] = {}
    for name in backends.available() if args.backend is None else [args.backend]:
        for function, facts in Vocabulary.of(backends.load(name)).items():
            known.setdefault(function, facts)
    if args.function not in known:
        raise Misuse(f"unknown function {args.function!r}{nearest(args.function, known)}")
    shown = drawing.of_model(known[args.function])
    if args.format == "json":
        _print_json(drawing.to_json(shown))
    else:
        _print(picture.FORMATS[args.format](shown))
    return 0


def list_(args: argparse.Namespace) -> int:
    """List what there is."""
    from kvm_ref import listing

    if args.backend is not None:
        backends.load(args.backend)
    rows = listing.LISTS[args.what](args.backend or "")
    if args.format == "json":
        _print_json(rows)
    else:
        _print(report.table(rows))
    return 0


def compare(args: argparse.Namespace) -> int:
    """Compare traces; status 1 if they differ."""
    from kvm_ref import compare as comparing

    if len(args.traces) > 2:
        raise Misuse(f"compare takes one trace or two, not {len(args.traces)}")
    if len(args.traces) == 2 and args.param:
        raise Misuse("--param is for the model's run: it goes with one trace, not two")
    traces = [_read(path) for path in args.traces]
    if len(traces) == 2:
        found = comparing.compare(*traces)
        against = args.traces[1]
    else:
        params = _pairs(args.param, "--param")
        found = comparing.against_model(traces[0], params)
        against = "the model"
    _print(report.comparison(args.traces[0], against, found))
    return 1 if found.difference else 0


def _read(path: str) -> Trace:
    try:
        content = Path(path).read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise Misuse(f"cannot read the trace {path!r}: {unreadable(error)}") from None
    return load(content, path)


def tree(args: argparse.Namespace) -> int:
    """Do what a command of ``kvm-ref tree`` says."""
    if args.tree_command is None:
        raise Misuse("no command given: expected one of check, walk, ladder, audit (see kvm-ref tree --help)")
    from kvm_ref.tree import commands

    return commands.COMMANDS[args.tree_command](args)


def latency(args: argparse.Namespace) -> int:
    """Estimate the time until the first VM."""
    from kvm_ref.latency import commands

    return commands.latency(args, _features(args.feature))


COMMANDS = {
    "run": run,
    "matrix": matrix,
    "ladder": ladder,
    "list": list_,
    "compare": compare,
    "latency": latency,
    "tree": tree,
}
