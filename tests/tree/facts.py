# SPDX-License-Identifier: GPL-2.0-only
"""Functions that acquire, release and fail in every way there is, for walks of C text."""

from __future__ import annotations

from collections.abc import Callable

from kvm_ref.errno import EBUSY, EIO, ENOMEM, ErrPtr
from kvm_ref.vocabulary import NULL, Facts, Failure


def alloc(k: object, size: int) -> object | None:
    raise NotImplementedError


def get(k: object) -> object | ErrPtr:
    raise NotImplementedError


def get_fd(k: object) -> int:
    raise NotImplementedError


def start(k: object, it: object) -> None:
    raise NotImplementedError


def stop(k: object, it: object) -> None:
    raise NotImplementedError


def free(k: object, what: object) -> None:
    raise NotImplementedError


def put(k: object, flags: int, what: object) -> None:
    raise NotImplementedError


def use(k: object, what: object) -> None:
    raise NotImplementedError


def look(k: object, what: object) -> None:
    raise NotImplementedError


def has(k: object) -> bool:
    raise NotImplementedError


def lacks(k: object) -> bool:
    raise NotImplementedError


def number(k: object) -> int:
    raise NotImplementedError


def init(k: object, s: object) -> None:
    raise NotImplementedError


def fini(k: object, s: object) -> None:
    raise NotImplementedError


def attach(k: object, s: object) -> object | None:
    raise NotImplementedError


def on(k: object, mask: object, cpu: int) -> None:
    raise NotImplementedError


def off(k: object, mask: object, cpu: int) -> None:
    raise NotImplementedError


def plain(k: object) -> int:
    raise NotImplementedError


def tell(k: object) -> bool:
    raise NotImplementedError


def helper(k: object) -> None:
    raise NotImplementedError


def own(k: object) -> None:
    raise NotImplementedError


def facts(function: Callable[..., object], *fails: Failure, **more: str) -> Facts:
    return Facts(function.__name__, __name__, function, fails, **more)  # type: ignore[arg-type]


FACTS = {
    one.name: one
    for one in (
        facts(alloc, NULL, acquires="mem"),
        facts(free, releases="mem", obj="what"),
        facts(put, releases="thing", obj="what"),
        facts(get, ErrPtr(ENOMEM), acquires="thing"),
        facts(get_fd, ENOMEM, acquires="fd"),
        facts(start, EBUSY, EIO, acquires="run", obj="'it'"),
        facts(stop, releases="run", obj="f'it'"),
        facts(use, uses="cfg", obj="what"),
        facts(look, uses="mem", obj="what"),
        facts(has, False),
        facts(lacks, True),
        facts(number, EIO),
        facts(init, ENOMEM, acquires="srcu", obj="s"),
        facts(fini, releases="srcu", obj="s"),
        facts(attach, NULL, acquires="srcu", obj="s"),
        facts(on, acquires="cpus", obj="mask[cpu]"),
        facts(off, releases="cpus", obj="mask[cpu]"),
        facts(helper, EIO),
        facts(own, acquires="own", obj="r"),
        facts(plain, uses="x", obj="none"),
        facts(tell),
    )
}
