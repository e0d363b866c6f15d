# SPDX-License-Identifier: GPL-2.0-only
"""Statements lowered: which are done, in which order, and what is unlocked on every way out."""

from __future__ import annotations

import pytest
from tree.snippets import body, code, way, ways

from kvm_ref.tree.operations import Asm, Goto, Loop
from kvm_ref.tree.parse import ParseError
from kvm_ref.tree.scopes import GUARDS
from kvm_ref.tree.values import Pointer, Value


@pytest.mark.parametrize(
    ("statements", "a", "runs"),
    [
        ("if (a) g(); return 0;", 0, "return 0"),
        ("if (a) g(); return 0;", 1, "g() return 0"),
        ("if (a) g(); else h(); return 0;", 0, "h() return 0"),
        ("if (a) g(); else h(); return 0;", 1, "g() return 0"),
        ("if (a == 1) g(); else if (a == 2) h(); else k(); return 0;", 2, "h() return 0"),
        ("if (a == 1) g(); else if (a == 2) h(); else k(); return 0;", 3, "k() return 0"),
        ("if (a) ; else g(); return 0;", 0, "g() return 0"),
        ("if (a) { } else { g(); h(); } k(); return 0;", 0, "g() h() k() return 0"),
        ("if (a) if (b) g(); else h(); return 0;", 0, "return 0"),
        (";;; { } { { g(); } } /* h(); */ return 0;", 0, "g() return 0"),
        ("return;", 0, "return"),
        ("g();", 0, "g() return"),
    ],
)
def test_conditions(statements: str, a: Value, runs: str) -> None:
    """One side is done, the other is not, and both come together behind it."""
    assert way(statements, a) == runs


@pytest.mark.parametrize(
    ("statements", "runs"),
    [
        ("while (a--) g(a); return a;", "g(1) g(0) return -1"),
        ("while (g()) h(); return 0;", "g() h() g() return 0"),
        ("while (1) { if (g()) continue; break; } return 0;", "g() g() return 0"),
        ("do { h(); } while (g()); return 0;", "h() g() h() g() return 0"),
        ("do { if (g()) continue; h(); } while (k()); return 0;", "g() k() g() h() k() return 0"),
        ("do { if (g()) break; h(); } while (k()); return 0;", "g() return 0"),
        ("do h(); while (0); return 0;", "h() return 0"),
        ("int i; for (i = 0; i < a; i++) h(i); return i;", "h(0) h(1) return 2"),
        ("for (int i = 0; i < a; i++) { if (!i) continue; h(i); } return 0;", "h(1) return 0"),
        ("int i; for (i = 0; ; i++) { if (i == 2) break; h(i); } return i;", "h(0) h(1) return 2"),
        ("for (;;) { if (!g()) break; } return 0;", "g() g() return 0"),
        ("for (;;) h(); return 0;", "h() h() h() h() h() h() ... return 0"),
        ("int i, j; for (i = 0, j = 5; i < 1; i++, j--) h(i, j); return j;", "h(0, 5) return 4"),
        ("int i = 5; for (int i = 0; i < 2; i++) h(i); return i;", "h(0) h(1) return 5"),
        (
            "int i, j; for (i = 0; i < 2; i++) for (j = 0; j < 2; j++) { if (j) break; h(i, j); } return 0;",
            "h(0, 0) h(1, 0) return 0",
        ),
        (
            "for (int i = 0; i < 2; i++) { int j = 0; while (j++ < 3) { if (j == 2) break; h(i, j); } }"
            " return 0;",
            "h(0, 1) h(1, 1) return 0",
        ),
        ("for_each_online_cpu(b) h(b); return b;", "h(0) h(1) return 1"),
        ("for_each_cpu(b, m) { if (!b) continue; h(b); } return 0;", "h(1) return 0"),
        ("for_each_cpu(b, m) { h(b); break; } return b;", "h(0) return 0"),
        ("list_for_each_entry(b, &v, list) { if (b) return b; } return 7;", "return 1"),
        ("kvm_for_each_vcpu(b, v, kvm) { while (1) { break; } h(b); } return 0;", "h(0) h(1) return 0"),
        ("for_each_thing(g()) h(); return 0;", "g() h() h() return 0"),
        ("for_each_possible_thing() h(); return 0;", "h() h() return 0"),
        ("back: h(); if (g()) goto back; return 0;", "h() g() back h() g() return 0"),
    ],
)
def test_loops(statements: str, runs: str) -> None:
    """Loops turn, and break and continue go where the innermost of them says."""
    assert way(statements, 2, g=[1, 0], k=[1, 0]) == runs


@pytest.mark.parametrize(("one", "other"), [("a > b", "a <= b"), ("a < 3", "a >= 3"), ("a == b", "a != b")])
def test_a_condition_and_its_contrary_are_one(one: str, other: str) -> None:
    """What one of them was taken for decides the other, too."""
    found = body(f"if ({one}) g(); if ({other}) h(); if (!({other})) k(); return 0;")
    assert sorted(ways(found, None, None)) == ["g() k() return 0", "h() return 0"]


def test_a_loop_over_things_bears_its_arguments() -> None:
    """The variable, the macro and its arguments are known."""
    loops = [
        op for op in body("for_each_cpu(b, m) g(); for_each_x(3, 4) g();").operations if isinstance(op, Loop)
    ]
    assert [(op.name, op.texts) for op in loops] == [("for_each_cpu", ("b", "m")), ("for_each_x", ("3", "4"))]
    assert [op.variable is None for op in loops] == [False, True]


SWITCH = "switch (a) { case 1: g(); case 2: h(); break; default: k(); case 3: case 4: m(); } return 0;"


@pytest.mark.parametrize(
    ("statements", "a", "runs"),
    [
        (SWITCH, 1, "g() h() return 0"),
        (SWITCH, 2, "h() return 0"),
        (SWITCH, 3, "m() return 0"),
        (SWITCH, 4, "m() return 0"),
        (SWITCH, 5, "k() m() return 0"),
        ("switch (a) { default: g(); } return 0;", 5, "g() return 0"),
        ("switch (a) { case 1: g(); } return 0;", 5, "return 0"),
        ("switch (g()) { case 1: h(); } return 0;", 0, "g() h() return 0"),
        ("switch (a) { case 1: { g(); break; } default: return 3; } return 0;", 1, "g() return 0"),
        ("switch (a) { case 1: switch (a) { case 1: break; } g(); break; } return 0;", 1, "g() return 0"),
        ("switch (a) { case -1: g(); } return 0;", -1, "g() return 0"),
        ("while (a) { switch (a) { case 2: a = 0; continue; case 1: break; } g(); break; } return 0;", 1,
         "g() return 0"),
        ("while (a) { switch (a) { case 2: a = 0; continue; case 1: break; } g(); break; } return 0;", 2,
         "return 0"),
        ("for_each_cpu(b, m) { switch (b) { case 0: continue; } g(b); } return 0;", 2, "g(1) return 0"),
    ],
)  # fmt: skip
def test_switch(statements: str, a: Value, runs: str) -> None:
    """Cases fall through, break leaves the switch, continue the loop around it, and default may be anywhere."""
    assert way(statements, a, g=1) == runs


def test_a_case_within_a_block_of_its_own_is_refused() -> None:
    """A function in which a case stands inside another statement is not read, rather than read wrongly."""
    with pytest.raises(ParseError, match="a case inside a block of its switch, in f"):
        body("switch (a) { case 1: if (b) { case 2: g(); } }")


def test_a_switch_over_what_is_not_known() -> None:
    """Every case is tried, and none of them."""
    cases = "switch (a) { case ONE: g(); break; case 2 ... 5: h(); } return 0;"
    assert sorted(ways(body(cases))) == ["g() return 0", "h() return 0", "return 0"]


@pytest.mark.parametrize(
    ("statements", "runs"),
    [
        ("if (a) goto out; g(); out: h(); return 0;", "goto out h() return 0"),
        ("if (b) goto out; g(); out: h(); return 0;", "g() h() return 0"),
        ("if (a) { while (1) { do { goto out; } while (1); } } g(); out: return 0;", "goto out return 0"),
        ("goto two; one: g(); two: h(); return 0;", "goto two h() return 0"),
        ("goto in; if (b) { in: g(); } return 0;", "goto in g() return 0"),
        ("goto in; while (b) { in: g(); } return 0;", "goto in g() return 0"),
        ("switch (b) { case 1: in: g(); } if (a) { a = 0; goto in; } return 0;", "back g() return 0"),
        ("if (b) ; else in: g(); return 0;", "g() return 0"),
        ("b = ({ if (a) goto x; g(); x: h(); 3; }); return b;", "goto x h() return 3"),
        ("one: two: return 0;", "return 0"),
        ("goto end; g(); end: ;", "goto end return"),
    ],
)
def test_goto(statements: str, runs: str) -> None:
    """A jump goes to its label, out of every block and into one."""
    assert way(statements, 1, 0) == runs


def test_labels_and_gotos_are_told_in_order() -> None:
    """The lines of labels and gotos are those of the file, and a goto knows its label."""
    found = code("int f(int a)\n{\n\tif (a)\n\t\tgoto y;\n\tgoto x;\nx:\n\tg();\ny:\n\treturn 0;\n}\n")
    assert (found.gotos, found.labels) == ((("y", 4), ("x", 5)), {"x": 6, "y": 8})
    assert [(op.label, op.line) for op in found.operations if isinstance(op, Goto)] == [("y", 4), ("x", 5)]


@pytest.mark.parametrize(
    ("statements", "runs"),
    [
        ("guard(mutex)(&l); g(); return 0;", "lock l g() unlock l return 0"),
        ("guard(mutex)(&l); g();", "lock l g() unlock l return"),
        ("guard(mutex)(&l); return g();", "lock l g() unlock l return 5"),
        ("guard(mutex)(&l); if (a) return a; g(); return 0;", "lock l unlock l return 1"),
        ("{ guard(mutex)(&l); g(); } h(); return 0;", "lock l g() unlock l h() return 0"),
        ("guard(mutex)(&l); guard(mutex)(&m); return 0;", "lock l lock m unlock m unlock l return 0"),
        ("{ guard(mutex)(&kvm->l); if (a) goto out; g(); } h(); out: return 0;", "lock l unlock l goto out return 0"),
        ("guard(mutex)(&l); { guard(mutex)(&m); goto out; } out: g(); return 0;",
         "lock l lock m unlock m goto out g() unlock l return 0"),
        ("guard(mutex)(&l); goto in; { in: g(); } return 0;", "lock l goto in g() unlock l return 0"),
        ("while (a) { guard(mutex)(&l); if (g()) break; h(); } return 0;", "lock l g() unlock l return 0"),
        ("while (a) { guard(mutex)(&l); a = 0; if (g()) continue; h(); } return 0;",
         "lock l g() unlock l return 0"),
        ("for_each_cpu(b, m) { guard(mutex)(&l); g(b); } return 0;",
         "lock l g(0) unlock l lock l g(1) unlock l return 0"),
        ("for_each_cpu(b, m) { guard(mutex)(&l); switch (b) { case 0: continue; default: break; } g(b); } return 0;",
         "lock l unlock l lock l g(1) unlock l return 0"),
        ("guard(mutex)(&l); while (a) { break; } g(); return 0;", "lock l g() unlock l return 0"),
        ("switch (a) { case 1: { guard(mutex)(&l); g(); break; } } h(); return 0;",
         "lock l g() unlock l h() return 0"),
        ("switch (a) { case 1: guard(mutex)(&l); g(); break; } h(); return 0;",
         "lock l g() unlock l h() return 0"),
        ("switch (a) { case 1: guard(mutex)(&l); g(); } h(); return 0;", "lock l g() unlock l h() return 0"),
        ("{ guard(mutex)(&l); if (a) goto out; } switch (b) { case 1: out: g(); } return 0;",
         "lock l unlock l goto out g() return 0"),
        ("again: ; guard(mutex)(&l); if (a) { a = 0; goto again; } return 0;",
         "lock l unlock l back lock l unlock l return 0"),
        ("guard(mutex)(&l); again: if (a) { a = 0; goto again; } return 0;", "lock l back unlock l return 0"),
        ("guard(mutex)(&m); { x: g(); } guard(mutex)(&l); if (a) { a = 0; goto x; } return 0;",
         "lock m g() lock l unlock l back g() lock l unlock l unlock m return 0"),
        ("b = ({ guard(mutex)(&l); g(); }); return b;", "lock l g() unlock l return 5"),
        ("scoped_guard(mutex, &l) g(); h(); return 0;", "lock l g() unlock l h() return 0"),
        ("scoped_guard(mutex, &l) { g(); } h(); return 0;", "lock l g() unlock l h() return 0"),
        ("scoped_guard(mutex, &l) { if (a) return g(); } return 0;", "lock l g() unlock l return 5"),
        ("scoped_guard(mutex, &l) { if (a) goto out; h(); } out: return 0;", "lock l unlock l goto out return 0"),
        ("while (1) { scoped_guard(mutex, &l) { if (g()) break; } h(); break; } return 0;",
         "lock l g() unlock l h() return 0"),
        ("scoped_guard(mutex, &l) { guard(mutex)(&m); again: if (a) { a = 0; goto again; } } return 0;",
         "lock l lock m back unlock m unlock l return 0"),
        ("scoped_guard(mutex, &l) { scoped_guard(mutex, &m) { goto in; } in: g(); } return 0;",
         "lock l lock m unlock m goto in g() unlock l return 0"),
        ("scoped_guard(rcu) g(); return 0;", "rcu_read_lock() g() rcu_read_unlock() return 0"),
        ("guard(rcu)(); return 0;", "rcu_read_lock() rcu_read_unlock() return 0"),
        ("guard(thing)(a); return 0;", "guard_thing(1) unguard_thing(1) return 0"),
    ],
)  # fmt: skip
def test_guards_unlock_on_every_way_out(statements: str, runs: str) -> None:
    """What a guard locks is unlocked at the end of its block, and by whatever leaves it before."""
    assert way(statements, 1, 1, g=5) == runs


@pytest.mark.parametrize(("kind", "functions"), GUARDS.items())
def test_each_kind_of_guard_calls_its_functions(kind: str, functions: tuple[str, str]) -> None:
    """Of each class of guards it is known what takes and what gives back."""
    assert body(f"guard({kind})(&x);").calls() == set(functions)


@pytest.mark.parametrize(
    ("statements", "runs"),
    [
        ("struct s *p __free(kfree) = g(); return h(p);", "g() h(&x) kfree(&x) return ?"),
        ("struct s *p __free(kfree) = NULL; return 0;", "return 0"),
        ("struct s *p __free(fput) = ERR_PTR(-EINVAL); return 0;", "return 0"),
        ("struct s *p __free(kfree) = NULL; p = g(); return PTR_ERR(p);", "g() kfree(&x) return ?"),
        ("{ struct s *p __free(device_node) = g(); h(); } return 0;", "g() h() of_node_put(&x) return 0"),
        ("guard(mutex)(&l); struct s *p __free(kfree) = g(); goto out; out: return 0;",
         "lock l g() goto out kfree(&x) unlock l return 0"),
        ("struct s *p __free(kfree) = g(); return no_free_ptr(p);", "g() return &x"),
        ("struct s *p __free(kfree) = g(); return_ptr(p);", "g() return &x"),
        ("struct s *p __free(kfree) = g(); q->p = no_free_ptr(p); h(); return 0;", "g() h() return 0"),
        ("struct s *p __free(kfree) = g(), *q __free(kvfree) = g(); return 0;",
         "g() g() kvfree(&x) kfree(&x) return 0"),
        ("struct s *p __cleanup(done) = g(); return 0;", "g() return 0"),
    ],
)  # fmt: skip
def test_a_variable_is_freed_at_the_end_of_its_block(statements: str, runs: str) -> None:
    """__free() frees what the variable holds by then, on every way out, unless it was taken from it."""
    assert way(statements, g=Pointer("x")) == runs


def test_a_guard_that_is_none() -> None:
    """guard() with no second pair of parentheses does nothing that is known."""
    assert way("guard(mutex); return 0;") == "return 0"


@pytest.mark.parametrize(
    ("statements", "runs"),
    [
        ("int r; return r;", "return Unset()"),
        ("int r = 3, *p = &r, s[2], t = r + 1; return t;", "return 4"),
        ("int s[2] = { 1, g() }; return s[0];", "g() return ?"),
        ("struct s v = { .x = g(), .y = { h() } }; return v.x;", "g() h() return ?"),
        ("struct s v = {}; return 0;", "return 0"),
        ("int (*fn)(int) = g; return fn(1);", "->fn(1) return ?"),
        ("int (*fn[2])(int); fn[0](1); return 0;", "->fn[0](1) return 0"),
        ("char *s = (char[]){ g() }; return 0;", "g() return 0"),
        ("use((struct s){ .x = g() }); return 0;", "g() use(?) return 0"),
        ("struct s; enum { A, B }; typedef int t; t v = 2; return v;", "return 2"),
        ("int q = 1; { int q = 2; g(q); } return q;", "g(2) return 1"),
        ("int q = 1; { int r = q; q = 2; g(r); } return q;", "g(1) return 2"),
        ("int r = ({ int q = g(); q + 1; }); return r;", "g() return ?"),
        ("int r = ({ 3; }); return r;", "return 3"),
        ("int r = ({ g(); if (a) h(); }); return r;", "g() h() return ?"),
        ("int r = ({ }); return r;", "return ?"),
        ("int r = ({ ; }); return r;", "return ?"),
        ("if (({ int q = g(); 0; })) h(); return 0;", "g() return 0"),
    ],
)
def test_declarations_and_blocks_with_a_value(statements: str, runs: str) -> None:
    """A variable has what it is initialised with, and ({ ... }) what its last statement is worth."""
    assert way(statements, 1) == runs


def test_a_static_variable_keeps_what_it_was_set_to() -> None:
    """What it starts with is known only of the first call."""
    found = ways(body("static bool done = false; if (!done) g(); done = true; return done;"))
    assert sorted(found) == ["g() return 1", "return 1"]


def test_names_given_to_structures() -> None:
    """Callbacks are the names that stand in an initialiser, with a member or without."""
    names = ("one", "two", "three", "four", "five", "six")
    inner = ".x = one, .y = 1, two, .z = { .w = &three }, [1] = four, .v = seven"
    text = f"int f(void) {{ struct s v = {{ {inner} }}; use((struct t){{ five }}, six); }}"
    found = code(text, functions=names)
    assert found.given == {"one", "two", "three", "four", "five"}


def test_assembly_goes_on_or_to_its_labels() -> None:
    """asm goto has as many ways as labels and one more; any other has one."""
    found = body(
        'asm goto("1: insn %0" : : "r"(a) : : bad, worse); return 0; bad: return 1; worse: return 2;'
    )
    assert sorted(ways(found)) == ["goto bad return 1", "goto worse return 2", "return 0"]
    (op,) = (op for op in found.operations if isinstance(op, Asm))
    assert op.words >= {"insn", "bad", "worse"}
    assert [label for label, _ in op.labels] == ["bad", "worse"]
    assert way('asm volatile("nop" : "=r"(a)); return 0;') == "return 0"


def test_assembly_that_jumps_out_of_a_guard_unlocks() -> None:
    """A label of assembly is left for as any other."""
    found = body('{ guard(mutex)(&l); asm goto("x" : : : : bad); } return 0; bad: return 1;')
    assert sorted(ways(found)) == ["lock l goto bad unlock l return 1", "lock l unlock l return 0"]


def test_a_label_that_is_not_there() -> None:
    """A jump to it is told with its line, as that of assembly is."""
    for statement in ("goto out;", 'asm goto("nop" : : : : out);'):
        with pytest.raises(ParseError, match=r"^a.c:4: f\(\) has no label out$") as refused:
            body(f"g();\n{statement}\nreturn 0;")
        assert refused.value.line == 4
