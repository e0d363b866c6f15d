# SPDX-License-Identifier: GPL-2.0-only
"""What a step comes to: which resources it takes away, and which it leaves behind.

Within a step much is acquired and released again. Where it does not matter what else is held, the
ledger need not go through it deed by deed for every trace that has this step.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from kvm_ref.judges.index import Deed, Index, Key
from kvm_ref.trace import Event

# One life of a resource: what it is, the step and the event that acquired it, and another life of the
# same name that was not over then.
Life = tuple[Key, int, Event, "Life | None"]


def lives(life: Life) -> Iterator[Life]:
    """Yield a life, and those of the same name that are not over, the last that began first."""
    one: Life | None = life
    while one:
        yield one
        one = one[3]


class Net:
    """What a step comes to, where nothing is wrong with it.

    Attributes:
        needs: what must be held before it.
        fresh: what must not be held before it.
        gone: what is not any more, or is not the same, if it was held before.
    """

    def __init__(self, needs: set[Key], fresh: set[Key], gone: set[Key], left: dict[Key, Event]) -> None:
        self.needs = needs
        self.fresh = fresh
        self.gone = gone
        self._left = left

    def after(self, number: int, held: dict[Key, Life]) -> dict[Key, Life] | None:
        """Return what is held after the step, or None if what was held before does not suit it.

        Neither is to be changed, for they may be the same.
        """
        if not (held.keys() >= self.needs and self.fresh.isdisjoint(held)):
            return None
        left: dict[Key, Life] = {key: (key, number, event, None) for key, event in self._left.items()}
        if not self.gone:
            return {**held, **left} if held and left else left or held
        after = dict(held)
        for key in self.gone:
            life = after.pop(key, None)
            if life and life[3]:
                return None
        after.update(left)
        return after


def net_of(seen: Index) -> Net | None:
    """Return what a step comes to, or None if that cannot be told without what was before."""
    if "net" not in seen.found:
        seen.found["net"] = _net(seen.deeds)
    net: Net | None = seen.found["net"]
    return net


def _net(deeds: Sequence[Deed]) -> Net | None:
    # None if a deed is wrong, or has a second life of a name begin. Most steps begin by acquiring one thing
    # after the other.
    first = next((n for n, deed in enumerate(deeds) if deed[1] != "acquire"), len(deeds))
    left: dict[Key, Event] = {key: event for _, _, key, event, _ in deeds[:first]}
    if len(left) < first:
        return None
    needs: set[Key] = set()
    fresh: set[Key] = set(left)
    gone: set[Key] = set()
    for _, deed, key, event, facts in deeds[first:]:
        if deed == "acquire":
            if key in left or (key in needs and key not in gone):
                return None
            left[key] = event
            if key not in gone:
                fresh.add(key)
        elif key in left:
            if deed == "release":
                del left[key]
        elif key in fresh or key in gone:
            # It is not held any more.
            if deed == "use" or not facts.idempotent:
                return None
        else:
            if deed == "release":
                gone.add(key)
            if deed == "use" or not facts.idempotent:
                needs.add(key)
    return Net(needs, fresh, gone, left)
