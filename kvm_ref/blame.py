# SPDX-License-Identifier: GPL-2.0-only
"""Which upstream commit mends a finding: the one with which the same run no longer has it.

Nothing says so beforehand: the run is made again on a kernel that contains the commit.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable, Mapping

from kvm_ref.judges import Finding
from kvm_ref.kernel import Commit
from kvm_ref.scenario import commits_of

_NUMBER = re.compile(r"[#@]\d+")


@functools.lru_cache(maxsize=4096)
def _alike(resource: str) -> str:
    return _NUMBER.sub("", resource)


class Blame:
    """Names the commits; asked once for findings that are alike.

    Args:
        chosen: the commits that the kernel was given or that were taken out of it, by hash.
    """

    def __init__(self, chosen: Mapping[str, bool]) -> None:
        contained = commits_of(chosen)
        self._candidates = [c for _, c in sorted(Commit.known.items()) if c not in contained]
        self._known: dict[tuple[str, str, str], str] = {}

    def __call__(
        self,
        findings: Iterable[Finding],
        again: Callable[[str], Iterable[Finding]],
        *,
        fault: str,
        command: str,
    ) -> list[Finding]:
        """Return the findings with what the judges did not know.

        Args:
            findings: what one run has.
            again: what the same run has on a kernel that also contains the commit of this hash.
            fault: the run's faults, as text.
            command: the command that makes the run again.
        """
        out = []
        findings = tuple(findings)
        for f in findings:
            # One of many of a kind, or that of one CPU of many, is mended as the others are.
            alike = (f.judge, _alike(f.resource), f.label)
            if alike not in self._known:
                self._known[alike] = self._commit(f, findings, again)
            commit = self._known[alike]
            # What attrs.evolve() does, without asking each time which fields there are.
            out.append(
                Finding(f.judge, f.message, f.step, f.label, f.resource, f.acquired, fault, commit, command)
            )
        return out

    def _commit(
        self, finding: Finding, findings: Iterable[Finding], again: Callable[[str], Iterable[Finding]]
    ) -> str:
        # Of two that mend it, the one that does not put another finding in its place.
        there = {(f.judge, f.resource) for f in findings}
        first = ""
        for commit in self._candidates:
            found = {(f.judge, f.resource) for f in again(commit.hash)}
            if (finding.judge, finding.resource) not in found:
                if found <= there:
                    return commit.hash
                first = first or commit.hash
        return first
