# SPDX-License-Identifier: GPL-2.0-only
"""What a function's text calls. The functions below are read, never run."""

from __future__ import annotations

import ast
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from kvm_ref.calls import Block, Branch, Call, Leave, Loop, Text, calls_in, calls_of, children, to_json
from kvm_ref.errno import KernelError
from kvm_ref.kernel import Kernel
from kvm_ref.linux import workqueue
from kvm_ref.linux.mutex import Mutex, guard
from kvm_ref.unwind import unchecked
from kvm_ref.virt.eventfd import kvm_irqfd_exit
from kvm_ref.vocabulary import kernel_function

A, B, C = Call("a"), Call("b"), Call("c")


@kernel_function()
def a(k: Kernel, *more: object) -> int:
    return 0


@kernel_function()
def b(k: Kernel) -> int:
    return 0


@kernel_function()
def c(k: Kernel) -> int:
    return 0


def both(k: Kernel) -> None:
    a(k)
    b(k)


def gives(k: Kernel) -> int:
    a(k)
    return 0


def quiet(k: Kernel) -> None:
    len([])


def endless(k: Kernel) -> None:
    a(k)
    endless(k)


def in_order(k: Kernel, x: Any) -> None:
    x.y = a(k)
    c(k) + b(k)


def by_turns(k: Kernel, x: Any) -> None:
    for _ in range(a(k)):
        b(k)
    while a(k):
        if x:
            continue
        if x is None:
            break
        c(k)
    for _ in range(3):
        quiet(k)
    [b(k) for _ in x]


def by_choice(k: Kernel, x: Any) -> None:
    if x:
        a(k)
    elif b(k):
        c(k)
    if x:
        quiet(k)
    a(k) if x else b(k)
    b(k) and c(k)


def through_others(k: Kernel, x: Any) -> None:
    both(k)
    gives(k)
    quiet(k)
    workqueue.destroy_workqueue(k, x)
    kvm_irqfd_exit(k)
    endless(k)


def through_pointers(k: Kernel, x: Any) -> None:
    k.arch.kvm_arch_disable_virtualization_cpu(k)
    (k.arch.other or a)(k)  # type: ignore[attr-defined]  # text to be read, never run
    (a if x else b)(k)
    x(k)
    (lambda: a(k))
    k.read("x")
    x.append(1)
    len(x)
    a()  # type: ignore[call-arg]  # likewise
    Mutex(k)  # type: ignore[arg-type]  # likewise

    def within() -> None:
        a(k)


def with_errors(k: Kernel, x: Any) -> None:
    try:
        a(k)
        x = 1
        b(k)
    except KernelError:
        c(k)
    else:
        b(k)
    finally:
        a(k)
    with unchecked:
        a(k)
        b(k)
    with guard(k, x):
        c(k)


def early(k: Kernel, x: Any) -> int:
    if x:
        return a(k)
    if not x:
        raise KernelError(b(k))  # type: ignore[arg-type]  # likewise
    return c(k)


@pytest.mark.parametrize(
    ("function", "done"),
    [
        (in_order, (A, C, B)),
        (
            by_turns,
            (
                A,
                Loop((B,)),
                Loop((A, Branch(((Leave(turn=True),), ())), Branch(((Leave(turn=True),), ())), C)),
                Loop((B,)),
            ),
        ),
        (
            by_choice,
            (
                Branch(((A,), (B, Branch(((C,), ()))))),
                Branch(((A,), (B,))),
                B,
                Branch(((C,), ())),
            ),
        ),
        (
            through_others,
            (
                Block((A, B)),
                Block((A,)),
                Call("destroy_workqueue"),
                Call("kvm_irqfd_exit", config="HAVE_KVM_IRQCHIP"),
                Block((A,)),
            ),
        ),
        (
            through_pointers,
            (
                Call("kvm_arch_disable_virtualization_cpu", indirect=True),
                Branch(((Call("other", indirect=True),), (A,))),
                Branch(((A,), (B,))),
                Call("x", indirect=True),
                Branch(((A,), ())),
            ),
        ),
        (
            with_errors,
            (A, Branch(((B, Branch(((B,), (C,)))), (C,))), A, A, Branch(((B,), ())), C),
        ),
        (
            early,
            (Branch(((A, Leave()), ())), Branch(((B, Leave()), ())), C, Leave()),
        ),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_what_a_function_does(function: Callable[..., object], done: object) -> None:
    """Calls come in the order of evaluation, within the loops and branches that they stand in."""
    text = Text(function)
    assert text.does(text.body) == done


def test_a_function_within_a_function() -> None:
    """Functions are found wherever they stand in their file."""

    def inner(k: Kernel) -> None:
        a(k)

    text = Text(inner)
    assert text.does(text.body) == (A,)


def test_a_function_without_text() -> None:
    """What was made while running has no text, and does nothing that could be read."""
    names: dict[str, Any] = {}
    exec("def made():\n    pass", names)
    text = Text(names["made"])
    assert (text.node, text.body, text.k) == (None, [], "")


def test_as_json() -> None:
    """What is done can be written as plain data."""
    done = (A, Call("x", indirect=True), Loop((B,)), Branch(((C, Leave()), ())), Block((Leave(turn=True),)))
    assert to_json(done) == [
        {"call": "a"},
        {"indirect": "x"},
        {"loop": [{"call": "b"}]},
        {"branch": [[{"call": "c"}, {"leave": "function"}], []]},
        {"block": [{"leave": "loop"}]},
    ]
    assert [call.name for call in calls_of(done)] == ["a", "x", "b", "c"]


def test_children_are_those_of_the_standard_library() -> None:
    """Every node of this file has the children that ast.iter_child_nodes() yields, in that order."""
    for node in ast.walk(ast.parse(Path(__file__).read_text(encoding="utf-8"))):
        assert children(node) == list(ast.iter_child_nodes(node))


def test_calls_in_the_order_of_their_ends() -> None:
    """A call comes behind those in its arguments, and behind those of what it is an attribute of."""
    tree = ast.parse("f(g(1), *h(x.y)).i(j(k))[l()] + m(n=o())", mode="eval")
    assert [ast.unparse(call.func).rpartition(".")[2] for call in calls_in([tree.body])] == list("ghfjilom")


def test_threads_parse_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    """In Python 3.11 ast.parse() fails at times if another thread is at it; so no two ever are."""
    parse = ast.parse
    # A text is read once; nobody reads those of tests.
    unread = [
        test_what_a_function_does,
        test_a_function_within_a_function,
        test_a_function_without_text,
        test_as_json,
        test_threads_parse_in_turn,
    ]
    inside = threading.Semaphore(1)
    met: list[bool] = []

    def slowly(text: str) -> ast.Module:
        alone = inside.acquire(blocking=False)
        met.append(not alone)
        time.sleep(0.01)
        if alone:
            inside.release()
        return parse(text)

    with ThreadPoolExecutor(4) as pool, monkeypatch.context() as patched:
        patched.setattr(ast, "parse", slowly)
        texts = list(pool.map(Text, unread))
    assert all(text.node for text in texts)
    assert len(met) == len(unread)
    assert not any(met)
