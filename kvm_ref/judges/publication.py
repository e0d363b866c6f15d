# SPDX-License-Identifier: GPL-2.0-only
"""The judge of publication: the device node is published last and withdrawn first.

Once /dev/kvm is there, user space may come in; so nothing may be acquired by a load that has
published it, and nothing released by an unload that has not withdrawn it.
"""

from __future__ import annotations

from kvm_ref.judges.each_step import EachStep
from kvm_ref.judges.finding import Finding, Place
from kvm_ref.judges.index import Deed, Index, place_of, resource_of
from kvm_ref.trace import Trace

_NODE = "miscdevice"


@EachStep
def publication(trace: Trace, number: int, seen: Index) -> list[Finding]:
    """Find what a load acquires after the node is there, and an unload releases while it still is."""
    step = trace.steps[number]
    verb = step.verbs[0].partition("=")[0] if len(step.verbs) == 1 else ""
    if step.results != [0] or verb not in ("load", "unload"):
        return []
    what = (
        "acquired after /dev/kvm was published"
        if verb == "load"
        else "released while /dev/kvm was still there"
    )
    out: list[Finding] = []
    for _, _, key, event, _ in _wrong(seen, verb):
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
    nodes = [n for n, (_, _, key, *_) in enumerate(seen.deeds) if key[0] == _NODE]
    if not nodes:
        return []
    if verb == "load":
        return [d for d in seen.deeds[nodes[-1] + 1 :] if d[1] == "acquire"]
    # What is released within misc_deregister() is the node itself.
    begun = place_of(seen.events, seen.deeds[nodes[0]][3])
    early = set(map(id, seen.events[:begun]))
    return [d for d in seen.deeds[: nodes[0]] if d[1] == "release" and id(d[3]) in early]
