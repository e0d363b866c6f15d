# SPDX-License-Identifier: GPL-2.0-only
"""Instances that are taken apart by their slots are put together as they were."""

from __future__ import annotations

import io
import pickle
from enum import IntEnum

import attrs
import pytest

from kvm_ref.kernel import Resource
from kvm_ref.slotted import reducers, slots_of


class Base:
    __slots__ = ("first",)
    first: object


class Pair(Base):
    __slots__ = ("second", "third")
    second: object
    third: object


class One:
    __slots__ = "only"
    only: object


class Thing(Resource):
    __slots__ = ()


class Loose:
    def __init__(self) -> None:
        self.anything = 1


class Keeping(dict[int, int]):
    __slots__ = ("initial",)


class Secret:
    __slots__ = ("__secret",)


@attrs.frozen
class Value:
    number: int


class Number(IntEnum):
    ONE = 1


@pytest.mark.parametrize(
    ("of", "names"),
    [
        (Base, ["first"]),
        (Pair, ["first", "second", "third"]),
        (One, ["only"]),
        (Loose, None),
        (Keeping, None),
        (Secret, None),
        (Value, None),
        (Number, None),
        (object, []),
    ],
)
def test_which_classes_hold_nothing_but_slots(of: type, names: list[str] | None) -> None:
    """Of all others pickle knows what to do."""
    assert slots_of(of) == names


def again(obj: object) -> object:
    """Take something apart, and put it together."""
    table, needed = reducers([Pair, One, Loose, Thing])
    assert set(table) == {Pair, One, Thing}
    text = io.BytesIO()
    pickler = pickle.Pickler(text, 3)
    pickler.memo = {id(one): (n, one) for n, one in enumerate(needed)}
    pickler.dispatch_table = table
    pickler.dump(obj)
    known = b"".join(
        pickle.BININT1 + bytes([n]) + pickle.BINPERSID + pickle.BINPUT + bytes([n]) + pickle.POP
        for n in range(len(needed))
    )

    class Reader(pickle.Unpickler):
        def persistent_load(self, number: int) -> object:
            return needed[number]

    return Reader(io.BytesIO(known + text.getvalue())).load()


def test_what_refers_to_itself() -> None:
    """Values may refer to the instance, and an instance may be referred to twice."""
    pair, one = Pair(), One()
    pair.first, pair.second, pair.third = 1, pair, one
    one.only = pair
    copy = again([pair, one])
    assert isinstance(copy, list)
    assert copy[0].first == 1
    assert copy[0].second is copy[0]
    assert copy[0].third is copy[1]
    assert copy[1].only is copy[0]


def test_an_attribute_that_is_not_there() -> None:
    """It is not there afterwards either."""
    pair = Pair()
    pair.second = 2
    copy = again(pair)
    assert isinstance(copy, Pair)
    assert copy.second == 2
    assert not hasattr(copy, "first")
    assert not hasattr(copy, "third")


def test_a_resource_that_has_but_its_id() -> None:
    """It is made of that, once however often it is referred to; without its id it has none afterwards."""
    thing, nameless = Thing("thing"), Thing("")
    del nameless.id
    copy = again([thing, thing, nameless])
    assert isinstance(copy, list)
    assert isinstance(copy[0], Thing)
    assert copy[0].id == "thing"
    assert copy[1] is copy[0]
    assert isinstance(copy[2], Thing)
    assert not hasattr(copy[2], "id")
