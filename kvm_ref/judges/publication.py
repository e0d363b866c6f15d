# SPDX-License-Identifier: GPL-2.0-only
"""The judge of publication: the device node is published last and withdrawn first.

Once /dev/kvm is there, user space may come in; so nothing may be acquired by a load that has
published it, and nothing released by an unload that has not withdrawn it.
"""

from __future__ import annotations

from kvm_ref.judges.finding import Finding, Place
from kvm_ref.judges.index import Deed, Index, index, place_of, resource_of
from kvm_ref.trace import Trace
from kvm_ref.vocabulary import Vocabulary

_NODE = "miscdevice"


def publication(trace: Trace, vocabulary: Vocabulary) -> list[Finding]:
    """Find what a load acquires after the node is there, and an unload releases while it still is."""
    out: list[Finding] = []
    for number, step in enumerate(trace.steps):
        if len(step.verbs) > 1 or step.results != [0]:
            continue
        verb = step.verbs[0].partition("=")[0]
        if verb not in ("load", "unload"):
            continue
        seen = index(step, vocabulary)
        known = ("publication", 0)
        if known not in seen.found:
            seen.found[known] = _wrong(seen, verb)
        what = (
            "acquired after /dev/kvm was published"
            if verb == "load"
            else "released while /dev/kvm was still there"
        )
        for _, key, event, _ in seen.found[known]:
            place = Place(trace, number, event)
            resource = resource_of(key)
            out.append(
                Finding(
                    judge="publication",
                    message=f"{resource} is {what}, in {place}",
                    step=number,
                    resource=resource,
                    acquired=str(place) if verb == "load" else "",
                )
            )
    return out


def _wrong(seen: Index, verb: str) -> list[Deed]:
    nodes = [n for n, (_, key, *_) in enumerate(seen.deeds) if key[0] == _NODE]
    if not nodes:
        return []
    if verb == "load":
        return [d for d in seen.deeds[nodes[-1] + 1 :] if d[0] == "acquire"]
    # What is released within misc_deregister() is the node itself.
    begun = place_of(seen.events, seen.deeds[nodes[0]][2])
    before = [d for d in seen.deeds[: nodes[0]] if d[0] == "release"]
    return [d for d in before if place_of(seen.events, d[2]) < begun]
