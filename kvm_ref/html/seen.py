# SPDX-License-Identifier: GPL-2.0-only
"""What the page keeps of each run of a matrix: the fate of each resource, and the unwind."""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from kvm_ref.html.fates import Fate, fates
from kvm_ref.html.unwinding import Node, Trees
from kvm_ref.judges import Finding
from kvm_ref.plans import Plan
from kvm_ref.trace import Trace
from kvm_ref.vocabulary import Vocabulary


@attrs.frozen
class Seen:
    """What a row of the page shows.

    Attributes:
        fates: resources and what became of them; what is missing was not acquired.
        unwind: a node for each verb, from that on which the fault fell into.
    """

    fates: tuple[Fate, ...]
    unwind: tuple[Node, ...]


class Watcher:
    """Keeps what the page shows; to be given to `kvm_ref.matrix.run` as `watch`."""

    def __init__(self) -> None:
        self._trees = Trees()

    def __call__(self, plan: Plan, trace: Trace, findings: Sequence[Finding], vocabulary: Vocabulary) -> Seen:
        """Return what is to be kept of a run."""
        return Seen(
            fates(plan, trace, findings, vocabulary),
            self._trees.of(plan, trace, vocabulary),
        )
