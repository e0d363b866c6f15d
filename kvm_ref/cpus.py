# SPDX-License-Identifier: GPL-2.0-only
"""CPUs, parameters and commits as a user gives them: a count, a list, this machine, a kernel command line."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterable, Sequence
from pathlib import Path

from kvm_ref import backend as backends
from kvm_ref.backend import Backend
from kvm_ref.linux.cpumask import NR_CPUS, parse_list
from kvm_ref.linux.module import full_name, param_set_bool
from kvm_ref.misuse import Misuse, unreadable
from kvm_ref.scenario import Cpus, commits_of

SYSFS = Path("/sys/devices/system/cpu")


def parse_cpus(text: str, sysfs: Path | None = None) -> Cpus:
    """Read a number of CPUs, a list of them (``0-3,8``), or ``host``.

    Raises:
        Misuse: it is none of these, or this machine's masks cannot be read.
    """
    given, text = text, text.strip()
    if text == "host":
        return host(sysfs)
    if text.isascii() and text.isdigit():
        if len(text) > 9 or not 1 <= int(text) <= NR_CPUS:
            raise Misuse(f"malformed --cpus {given!r}: expected 1 to {NR_CPUS} CPUs")
        return Cpus.of(tuple(range(int(text))))
    try:
        return Cpus.of(parse_list(text))
    except ValueError as error:
        raise Misuse(
            f"malformed --cpus {given!r}: {error}; expected a number, a list as 0-3,8, or host"
        ) from None


def host(sysfs: Path | None = None) -> Cpus:
    """Return this machine's possible, present and online CPUs.

    Raises:
        Misuse: they cannot be read.
    """
    sysfs = sysfs or SYSFS
    masks = []
    for mask in ("possible", "present", "online"):
        try:
            masks.append(parse_list((sysfs / mask).read_text(encoding="ascii")))
        except (OSError, ValueError) as error:
            why = unreadable(error)
            raise Misuse(
                f"cannot read {str(sysfs / mask)!r}: {why}; give --cpus as a number or a list"
            ) from None
    possible, present, online = masks
    return Cpus(possible, present, online)


def words(text: str) -> list[str]:
    """Split a kernel command line: at spaces, except within double quotes (lib/cmdline.c).

    Raises:
        Misuse: a quote is not closed.
    """
    out: list[str] = []
    word, quoted, started = "", False, False
    for char in text:
        if char == '"':
            quoted, started = not quoted, True
        elif char.isspace() and not quoted:
            if started:
                out.append(word)
            word, started = "", False
        else:
            word, started = word + char, True
    if quoted:
        raise Misuse(f"malformed kernel command line: the quote before {word[:20]!r} is not closed")
    return [*out, word] if started else out


def parse_cmdline(text: str, backend: Backend) -> tuple[dict[str, str], list[str]]:
    """Read the parameters of KVM's modules from a kernel command line, or from ``@FILE``.

    Returns:
        The parameters that the model knows, and the names of those of KVM's that it does not.

    Raises:
        Misuse: the file cannot be read, or the line is malformed.
    """
    if text.startswith("@"):
        try:
            text = Path(text[1:]).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise Misuse(f"cannot read the command line from {text[1:]!r}: {unreadable(error)}") from None
    known = {full_name(m, p): p for m in backend.modules for p in m.params}
    spelt = {name.replace("-", "_"): name for name in known}
    prefixes = tuple({name.partition(".")[0].replace("-", "_") + "." for name in _namespaces(backend)})
    params: dict[str, str] = {}
    unknown: list[str] = []
    for word in words(text):
        if word == "--":
            break
        name, equals, value = word.partition("=")
        plain = name.replace("-", "_")
        if plain in spelt:
            param = known[spelt[plain]]
            # Who writes no value says yes, where that can be said (kernel/params.c: param_set_bool()).
            if not equals and param.set is not param_set_bool:
                raise Misuse(f"{name} on the kernel command line has no value: expected {param.expects}")
            params[spelt[plain]] = value if equals else "1"
        elif plain.startswith(prefixes):
            unknown.append(name)
    return params, unknown


def _namespaces(backend: Backend) -> Iterable[str]:
    for module in backend.modules:
        yield module.name
        for param in module.params:
            yield full_name(module, param)


def parse_commits(added: Sequence[str], out: Sequence[str]) -> dict[str, bool]:
    """Return which commits are added (True) and which are taken out (False).

    Raises:
        Misuse: one is unknown, or is both.
    """
    commits = {**dict.fromkeys(added, True), **dict.fromkeys(out, False)}
    try:
        commits_of(commits)
    except Misuse:
        _name_owner(commits)
        raise
    for one, other in itertools.product(added, out):
        if one.startswith(other) or other.startswith(one):
            raise Misuse(f"commit {one} is both added and taken out: expected --with or --without")
    return commits


def _name_owner(commits: Iterable[str]) -> None:
    # A commit is known when the backend that has it is loaded.
    unknown = [commit for commit in commits if not _known(commit)]
    for name in backends.available():
        # Others may be broken; that is not what was asked.
        with contextlib.suppress(Misuse):
            backends.load(name)
        for commit in unknown:
            if _known(commit):
                raise Misuse(f"commit {commit!r} is one of {name}: expected --backend {name}")


def _known(commit: str) -> bool:
    try:
        commits_of({commit: True})
    except Misuse:
        return False
    return True
