# SPDX-License-Identifier: GPL-2.0-only
"""Expressions lowered: what is called, in which order, and what is left out."""

from __future__ import annotations

import pytest
from tree.snippets import body, code, way, ways

from kvm_ref.tree.config import Config
from kvm_ref.tree.operations import Branch, Call, Return
from kvm_ref.tree.values import Pointer, Value


@pytest.mark.parametrize(
    ("statements", "a", "runs"),
    [
        # Of && and || the right side is left out where the left one decides.
        ("return a && g();", 0, "return 0"),
        ("return a && g();", 1, "g() return 1"),
        ("return a || g();", 1, "return 1"),
        ("return a || g();", 0, "g() return 1"),
        ("if ((a || g()) && h()) k(); return 0;", 1, "h() k() return 0"),
        ("if (a && (g() || h())) k(); return 0;", 1, "g() k() return 0"),
        ("if (!(a && g()) && h()) k(); return 0;", 0, "h() k() return 0"),
        ("if (!!(a || g())) k(); return 0;", 0, "g() k() return 0"),
        ("if (likely(a) && !unlikely(!h())) k(); return 0;", 1, "h() k() return 0"),
        # One side of ?: is evaluated; GNU's has the condition once.
        ("return a ? g() : h();", 0, "h() return 2"),
        ("return a ? g() : h();", 5, "g() return 1"),
        ("return a ? a > 1 ? 10 : g() : h();", 2, "return 10"),
        ("return g() ?: h();", 0, "g() return 1"),
        ("return !g() ?: h();", 0, "g() h() return 2"),
        ("return a ?: h();", 0, "h() return 2"),
        # Calls come in the order of the text, those among arguments before the call that they are for.
        ("return k(g(), h(), 7);", 0, "g() h() k(1, 2, 7) return 0"),
        ("return g() + h() * 10;", 0, "g() h() return 21"),
        ("return k(k(k(1)));", 0, "k(1) k(0) k(0) return 0"),
        ("x[g()] = h(); return x[1];", 0, "h() g() return 2"),
        ("return (g(), a, h());", 0, "g() h() return 2"),
        ("g()->x = h(); return 0;", 0, "h() g() return 0"),
        ("return *g() ? 1 : 1;", 0, "g() return 1"),
    ],
)
def test_calls_come_in_order(statements: str, a: Value, runs: str) -> None:
    """What C does not evaluate is not called, and what it does is called in its order."""
    assert set(ways(body(statements), a, g=1, h=2, k=0)) == {runs}


@pytest.mark.parametrize(
    ("statements", "runs"),
    [
        ("return a++ * 10 + a;", "return 34"),
        ("return ++a * 10 + a;", "return 44"),
        ("return a-- * 10 + a;", "return 32"),
        ("return --a * 10 + a;", "return 22"),
        ("a += 2; return a;", "return 5"),
        ("a -= 2; return a;", "return 1"),
        ("a *= a; return a;", "return 9"),
        ("a |= 4; a &= 6; a ^= 1; return a;", "return 7"),
        ("a <<= 1; return a;", "return ?"),
        ("a += g(); return a;", "g() return 4"),
        ("b = a = g(); return a * 10 + b;", "g() return 11"),
        ("if ((a = g()) == 1) h(a); return 0;", "g() h(1) return 0"),
        ("if ((a = g())) h(a); return 0;", "g() h(1) return 0"),
        ("v.x = 1; v.x++; v.x += 5; return v.x;", "return 7"),
        ("g(a++, a++); return a;", "g(3, 4) return 5"),
        ("(void)a; g((u64)a); return (int)-1;", "g(3) return -1"),
    ],
)
def test_assignments_and_updates(statements: str, runs: str) -> None:
    """Before and after are told apart, and a compound assignment reads what it sets."""
    assert way(statements, 3, g=1) == runs


def test_what_cannot_be_assigned_to_is_passed_over() -> None:
    """An assignment to something that is no place in the text still calls what it calls."""
    assert way("(a + g()) = h(); return a;", 2) == "h() g() return 2"
    assert way("(a + g())++; return a;", 2) == "g() return 2"


@pytest.mark.parametrize(
    ("statements", "runs"),
    [
        ("per_cpu(x, 1) = 3; return per_cpu(x, 1);", "return 3"),
        ("per_cpu(x, 1) = 3; return per_cpu(x, 2);", "return ?"),
        ("per_cpu(x, 1) = 3; return *per_cpu_ptr(&x, 1);", "return 3"),
        ("*per_cpu_ptr(x, a) = 3; return *per_cpu_ptr(x, a);", "return 3"),
        ("per_cpu_ptr(p, 1)->y = 3; return per_cpu_ptr(p, 1)->y;", "return 3"),
        ("this_cpu_write(x, 3); return __this_cpu_read(x);", "return 3"),
        ("__this_cpu_write(x, 3); return *this_cpu_ptr(&x);", "return 3"),
        ("raw_cpu_ptr(&x)->y = 3; return this_cpu_ptr(&x)->y;", "return 3"),
        ("WRITE_ONCE(b, 3); return READ_ONCE(b);", "return 3"),
        ("rcu_assign_pointer(v.p, a); return rcu_dereference(v.p);", "return 5"),
        ("smp_store_release(&v, 3); return smp_load_acquire(&v);", "return 3"),
        ("int r = xchg(&a, 1); return r * 10 + a;", "return 51"),
        ("int *p = g(); xchg(p, 2); return *p;", "g() return 2"),
        ("BUILD_BUG_ON(g()); static_assert(g()); return 0;", "return 0"),
        ("lockdep_assert_held(&kvm->lock); lockdep_assert_cpus_held(); return 0;", "return 0"),
        ('return WARN(a, "%d", g());', "g() return 1"),
        ('return WARN_ONCE(!a, "no");', "return 0"),
        ("return WARN_ON(g()) + IS_ERR(h());", "g() h() return ?"),
        ("xchg(); this_cpu_ptr(1, 2, 3); return 0;", "xchg() this_cpu_ptr(1, 2, 3) return 0"),
        ("WRITE_ONCE(g(), 3); return 0;", "g() return 0"),
        ("WRITE_ONCE(3, 3); return 0;", "WRITE_ONCE(3, 3) return 0"),
    ],
)
def test_macros_that_read_and_set_variables(statements: str, runs: str) -> None:
    """Per-CPU variables, single accesses and assertions are no calls, but do what they do."""
    assert way(statements, 5) == runs


def test_options_are_those_of_the_configuration() -> None:
    """IS_ENABLED() and its like are known when the function is lowered."""
    text = "int f(void) { return IS_ENABLED(CONFIG_A) * 100 + IS_BUILTIN(CONFIG_B) * 10 + IS_ENABLED(C); }"
    config = Config({"CONFIG_A": True, "CONFIG_B": False})
    assert ways(code(text, config=config)) == ["return 100"]
    assert way("return IS_ENABLED();") == "IS_ENABLED() return ?"


@pytest.mark.parametrize(
    ("call", "runs"),
    [
        ("v.init(1)", "->init(1)"),
        ("a->ops->init(1, g())", "g() ->init(1, ?)"),
        ("(*a->init)(1)", "->init(1)"),
        ("(a->init)()", "->init()"),
        ("a(1)", "->a(1)"),
        ("(*a)(1)", "->a(1)"),
        ("(&*a)(1)", "->a(1)"),
        ("table[2](1)", "->table[2](1)"),
        ("g(1)(2)", "g(1) ->g(1)(2)"),
        ("static_call(kvm_x86_init)(1)", "->init(1)"),
        ("static_call_cond(kvm_x86_exit)()", "->exit()"),
        ("kvm_x86_call(init)(a)", "->init(7)"),
        ("kvm_pmu_call(reset)()", "->reset()"),
    ],
)
def test_calls_through_pointers_bear_the_member(call: str, runs: str) -> None:
    """A call through a member, a variable or a static call is told by the name of what holds it."""
    assert way(f"{call}; return 0;", 7) == f"{runs} return 0"


def test_a_local_variable_hides_a_function() -> None:
    """What a parameter is called cannot be called by its name; before its declaration it can."""
    assert way("get(); int (*get)(void) = other; get(); return 0;") == "get() ->get() return 0"


def test_names_that_speak_for_calls() -> None:
    """A function that the text writes as a macro or a member is called where it is named."""
    spoken = ("kvm_ready", "a_ready", "kvm_arch_ok")
    text = "int f(struct s *a) { if (kvm_ready && kvm_arch.ok) return kvm_arch_ok(2); return a->ready; }"
    found = code(text, spoken=spoken)
    assert ways(found, kvm_ready=1, kvm_arch_ok=1) == ["kvm_ready() kvm_arch_ok() kvm_arch_ok(2) return 1"]
    assert ways(found, kvm_ready=0, a_ready=3) == ["kvm_ready() a_ready() return 3"]
    hidden = code("int f(int kvm_ready) { return kvm_ready; }", spoken=spoken)
    assert ways(hidden, 4) == ["return 4"]


def test_a_function_by_its_name_is_a_pointer_to_it() -> None:
    """It is so with and without an ampersand, unless a variable has that name."""
    text = "int f(int a) { return a == 1 ? one : a == 2 ? &one : two; }"
    found = code(text, functions=("one", "a"))
    assert [ways(found, n) for n in (1, 2, 3)] == [["return &one"], ["return &one"], ["return ?"]]


def test_texts_and_lines_are_those_of_the_file() -> None:
    """Each operation bears its line, each argument and condition its text on one line."""
    found = code("\nint f(int a)\n{\n\tif (a &&\n\t    a\n\t    > 2)\n\t\treturn g(a +\n\t\t\t1, &b);\n}\n")
    tests = [(op.text, op.line) for op in found.operations if isinstance(op, Branch)]
    calls = [(op.texts, op.line) for op in found.operations if isinstance(op, Call)]
    returns = [op.line for op in found.operations if isinstance(op, Return)]
    assert tests == [("a", 4), ("a > 2", 5)]
    assert calls == [(("a + 1", "&b"), 7)]
    assert returns == [7, 9]
    assert (found.name, found.path, found.line, found.params) == ("f", "a.c", 2, ("a",))


@pytest.mark.parametrize(
    ("head", "void", "pointer"),
    [
        ("void f(void)", True, False),
        ("static struct s *f(void)", False, True),
        ("bool f(void)", False, False),
    ],
)
def test_what_a_function_returns(head: str, void: bool, pointer: bool) -> None:
    """It is known whether a function returns nothing, or a pointer."""
    found = code(f"{head} {{ g(); }}")
    assert (found.void, found.pointer) == (void, pointer)
    assert (found.calls(), ways(found)) == ({"g"}, ["g() return"])


def test_pointers_are_what_is_looked_through() -> None:
    """The variables before an arrow are pointers to something."""
    assert body("a->x = 1; return g(b.x)->y;").pointers == {"a"}


def test_the_variables_that_hold_the_error() -> None:
    """They are those that are returned, bare or as an error pointer, in the order of the text."""
    found = body("int r; if (a) return ERR_PTR(-r); if (b) return global; if (c) return a + 1; return a;")
    assert found.errors() == ("r", "a")


def test_addresses_of_what_has_none() -> None:
    """Of the address of what is no place nothing is known; what it calls is called."""
    assert way("return &(struct s){ .x = g() };") == "g() return ?"
    assert way("return &(a + 1);", 1) == "return ?"


def test_strings_are_pointers() -> None:
    """A text is not NULL, in one piece or in several."""
    assert way('return "a" && "b" "c";') == "return 1"
    assert way('return g("a", "b" "c");', g=Pointer("x")) == 'g(&"a", &"b" "c") return &x'


def test_what_is_not_understood_calls_what_it_calls() -> None:
    """Of an expression that nobody knows nothing is known, but its calls are made; types are none."""
    assert way("return _Generic(a, int: g(), default: h());") == "g() h() return ?"
    assert way("return (struct s){ .x = g() }.x + sizeof(struct s);") == "g() return ?"
