# SPDX-License-Identifier: GPL-2.0-only
"""What expressions of C are worth, where their values are kept, and what is decided of unknown ones."""

from __future__ import annotations

import pytest
from tree.snippets import body, code, way, ways

from kvm_ref.tree.expressions import Apply, Constant, Element, Expression, Member, Place, Pointed, Unknown
from kvm_ref.tree.values import Error, Memory, Pointer, Value, truth


@pytest.mark.parametrize(
    ("expression", "a", "b", "worth"),
    [
        ("a + b * 2", 3, 4, "11"),
        ("a - b", 3, 4, "-1"),
        ("a & b", 6, 3, "2"),
        ("a | b", 6, 3, "7"),
        ("a ^ b", 6, 3, "5"),
        ("a < b", 3, 4, "1"),
        ("a <= b", 5, 4, "0"),
        ("a > b", 3, 4, "0"),
        ("a >= b", 4, 4, "1"),
        ("a == b", 4, 4, "1"),
        ("a != b", 4, 4, "0"),
        ("a == b", 4, None, "?"),
        ("a + b", None, 1, "?"),
        ("-a", 12, 0, "-12"),
        ("+a", 12, 0, "12"),
        ("!a", 12, 0, "0"),
        ("!!a", 12, 0, "1"),
        ("!a", None, 0, "?"),
        ("-a", Pointer("x"), 0, "?"),
        # Operators that nobody needs to know the result of.
        ("a / b", 6, 3, "?"),
        ("a << b", 6, 3, "?"),
        ("~a", 6, 3, "?"),
    ],
)
def test_numbers(expression: str, a: Value, b: Value, worth: str) -> None:
    """What is known is reckoned with; of what is not, the result is not known."""
    assert way(f"return {expression};", a, b) == f"return {worth}"


@pytest.mark.parametrize(
    ("expression", "a", "b", "worth"),
    [
        ("a == NULL", Pointer("x"), None, "0"),
        ("a != 0", Pointer("x"), None, "1"),
        ("!a", Pointer("x"), None, "0"),
        ("a == b", Pointer("x"), Pointer("x"), "1"),
        ("a == b", Pointer("x"), Pointer("y"), "?"),
        ("a != b", Pointer("x"), Pointer("y"), "?"),
        ("a == b", Pointer("x"), Error(12), "0"),
        ("a < b", Pointer("x"), 3, "?"),
        ("&a == NULL", 0, 0, "0"),
        ('"text" == NULL', 0, 0, "0"),
        ("a + b", Pointer("x"), 2, "&x+2"),
        ("a - b", Pointer("x"), 2, "&x-2"),
        ("a * b", Pointer("x"), 2, "?"),
    ],
)
def test_pointers(expression: str, a: Value, b: Value, worth: str) -> None:
    """A pointer is not NULL; two of them may have two names of one target."""
    assert way(f"return {expression};", a, b) == f"return {worth}"


@pytest.mark.parametrize(
    ("expression", "a", "worth"),
    [
        ("IS_ERR(a)", Error(12), "1"),
        ("IS_ERR(a)", Pointer("x"), "0"),
        ("IS_ERR(a)", 0, "0"),
        ("IS_ERR(a)", None, "?"),
        ("IS_ERR_VALUE(a)", -12, "1"),
        ("IS_ERR_VALUE(a)", 3, "0"),
        ("IS_ERR_VALUE(a)", 0, "0"),
        ("IS_ERR_VALUE(a)", None, "?"),
        ("IS_ERR_OR_NULL(a)", 0, "1"),
        ("IS_ERR_OR_NULL(a)", Error(1), "1"),
        ("IS_ERR_OR_NULL(a)", Pointer("x"), "0"),
        ("IS_ERR_OR_NULL(a)", None, "?"),
        ("PTR_ERR(a)", Error(12), "-12"),
        ("PTR_ERR(a)", Pointer("x"), "?"),
        ("PTR_ERR_OR_ZERO(a)", Error(12), "-12"),
        ("PTR_ERR_OR_ZERO(a)", Pointer("x"), "0"),
        ("PTR_ERR_OR_ZERO(a)", None, "?"),
        ("ERR_PTR(a)", -12, "ERR(12)"),
        ("ERR_PTR(a)", 0, "0"),
        ("ERR_PTR(a)", None, "?"),
        ("ERR_PTR(-ENOMEM)", None, "ERR(12)"),
        ("ERR_CAST(a)", Error(12), "ERR(12)"),
        ("!a", Error(12), "0"),
        ("WARN_ON(a)", 5, "1"),
        ("WARN_ON_ONCE(a)", None, "?"),
        ("KVM_BUG_ON(a, kvm)", 0, "0"),
        ("KVM_BUG_ON(a, kvm)", 3, "1"),
        ("likely(a)", 7, "1"),
        ("unlikely(a)", None, "?"),
        ("READ_ONCE(a)", 7, "7"),
        ("rcu_dereference(a)", Pointer("x"), "&x"),
    ],
)
def test_error_pointers_and_harmless_macros(expression: str, a: Value, worth: str) -> None:
    """An error pointer holds its number; macros without effect give what they give in the kernel."""
    assert way(f"return {expression};", a) == f"return {worth}"


@pytest.mark.parametrize(
    ("text", "worth"),
    [
        ("NULL", "0"),
        ("false", "0"),
        ("true", "1"),
        ("-EINVAL", "-22"),
        ("010 + 0x10 + 3UL + 0", "27"),
        ("-1", "-1"),
        ("-0x10L", "-16"),
        ("(int)-1", "-1"),
        ("3 - -1", "4"),
        ("2 -1", "1"),
        ("1.5", "?"),
        ("'a'", "?"),
        ("sizeof(a)", "?"),
        ("offsetof(struct kvm, mm)", "?"),
        ("SOME_CONSTANT", "?"),
        ("(long)EBUSY", "16"),
    ],
)
def test_constants(text: str, worth: str) -> None:
    """Numbers of every base, error numbers and the three words; of others the value is not known."""
    assert way(f"return {text};") == f"return {worth}"


@pytest.mark.parametrize(
    ("statements", "returns"),
    [
        ("v.x = 1; v.y = 2; return v.x + v.y;", "3"),
        ("a->x.y = 1; return a->x.y;", "1"),
        ("(*a).x = 1; return a->x;", "1"),
        ("struct s v; struct s *p = &v; p->x = 4; return v.x;", "4"),
        ("int v, *p = &v; *p = 4; return v;", "4"),
        ("int v; *&v = 4; return v;", "4"),
        ("x[1] = 1; x[2] = 2; return x[1];", "1"),
        ("x[1] = 1; return x[a];", "?"),
        ("x[a] = 1; return x[a];", "1"),
        ("x[a] = 1; a = 1; return x[a];", "?"),
        ("int *p = &v; p[2] = 3; return v[2];", "3"),
        ("xy = 2; x[g()] = 3; return xy;", "2"),
        ("a->x[1].y = 5; return a->x[1].y;", "5"),
        ("&a->x; return &a->x == NULL;", "0"),
        ("get(a).x = 1; return get(a).x;", "?"),
        ("*a = 1; return *a;", "1"),
        ("*(a + 1) = 1; return *(a + 1);", "1"),
        ("*(a + 1) = 1; return *(a + 2);", "?"),
        ("(a + b)->x = 1; return (a + b)->x;", "1"),
        ("(a + 1)[2] = 1; return (a + 1)[2];", "1"),
        ("(a ? b : v).x = 1; return 0;", "0"),
    ],
)
def test_what_is_stored_is_found_again(statements: str, returns: str) -> None:
    """A value has one place, whatever pointer leads there, and an unknown pointer keeps its target."""
    assert {path.rpartition("return ")[2] for path in ways(body(statements))} == {returns}


@pytest.mark.parametrize(
    "statements",
    [
        "a = 1; a = g(); return a;",
        "a->x = 1; a = g(); return a->x;",
        "*a = 1; a = g(); return *a;",
        "x[b] = 1; b = g(); return x[b];",
        "x[g()] = 1; return x[h()];",
        "x[g()].y = 1; return x[h()].y;",
        "x[0].y = 1; x[g()].y = 2; return x[0].y;",
        "x[0] = 1; x[g()] = 2; return x[0];",
        "x[1] = 1; x[b] = 2; return x[1];",
        "x[b].y = 1; b = g(); return x[b].y;",
        "per_cpu_ptr(x, g())->y = 1; return per_cpu_ptr(x, h())->y;",
        "a->p->x = 1; a->p = g(); return a->p->x;",
        "a->p->x = 1; a = g(); return a->p->x;",
        "**a = 1; *a = g(); return **a;",
        "v.x = 3; v = w; return v.x;",
        "int v = 1, *q = &v; g(q); return v;",
        "int v = 1; g(&v); return v;",
        "struct s v; v.x = 1; g(&v); return v.x;",
        "int v[2]; v[1] = 1; v = g(); return v[1];",
    ],
)
def test_what_changed_is_no_longer_known(statements: str) -> None:
    """Of what a call sets, or what was at another place, nothing is known."""
    assert way(statements).endswith("return ?")


@pytest.mark.parametrize(
    "condition",
    [
        "a", "a->x", "a->x.y", "v.x", "*a", "a[b]", "a == 1", "a & 2", "!(a < b)", "-a", "IS_ERR(a)",
        "a + 1 > b", "tag.x[1] == 'c'", "&a->x == b", "NUMBER",
    ],
)  # fmt: skip
def test_what_was_decided_holds(condition: str) -> None:
    """A condition that cannot be known is taken both ways, but only once."""
    both = f"if ({condition}) g(); if ({condition}) h(); return 0;"
    assert sorted(ways(body(both))) == ["g() h() return 0", "return 0"]


@pytest.mark.parametrize("condition", ["a", "a->x", "*a", "a[b]", "a == 1", "!(a < b)", "IS_ERR(a)", "b + a"])
def test_what_was_decided_falls_with_its_variable(condition: str) -> None:
    """What was decided says nothing of another value of the variable."""
    both = f"if ({condition}) g(); a = k(); if ({condition}) h(); return 0;"
    assert sorted(ways(body(both))) == [
        "g() k() h() return 0",
        "g() k() return 0",
        "k() h() return 0",
        "k() return 0",
    ]


def test_what_two_calls_return_is_decided_apart() -> None:
    """The same call twice gives two values."""
    assert len(ways(body("if (g()) h(); if (g()) h(); return 0;"))) == 4
    assert len(ways(body("if (g()->x) h(); if (x[g()]) h(); if (*g()) h(); return 0;"))) == 8
    assert len(ways(body("if (&g()->x == b) h(); if (&g()->x == b) h(); return 0;"))) == 4


def test_what_is_false_is_zero() -> None:
    """A variable that was taken to be false is 0 from there on."""
    assert ways(body("if (a) return a; return a;")) == ["return ?", "return 0"]


def test_constants_cannot_be_set() -> None:
    """A parameter may have the name of a constant, and is a variable then."""
    assert ways(code("int f(int ENOMEM) { return ENOMEM; }"), 3) == ["return 3"]


def test_truth_of_values() -> None:
    """Numbers but 0 are true, and so is all that is a pointer."""
    values: list[Value] = [0, -1, Pointer("x"), Error(12), None]
    assert [truth(value) for value in values] == [False, True, True, True, None]


def test_global_variables_start_as_the_file_says() -> None:
    """What they start with is known until they are set, or forgotten, by one copy for itself."""
    memory = Memory({"x": 1, "y": 2})
    other = memory.copy()
    other.store("x", None)
    other.forget("y")
    other.store("z", 3)
    assert [memory.get(name) for name in "xyz"] == [1, 2, None]
    assert [other.get(name) for name in "xyz"] == [None, None, 3]
    assert memory.known() != other.known()


def test_the_end_of_a_call_forgets_what_was_its_own() -> None:
    """Its variables and what was decided of them are gone; those of its caller are not."""
    memory = Memory()
    memory.store("0:a", 1)
    memory.store("1:a", 2)
    memory.drop("2:")
    memory.decided = {"(0:b < 2)": True, "(1:b < 2)": True}
    memory.drop("1:")
    assert (memory.values, memory.decided) == ({"0:a": 1}, {"(0:b < 2)": True})


def test_places_of_what_is_no_place() -> None:
    """A member or an element of any expression has an address by its text."""
    memory = Memory()
    of = Unknown("text")
    assert Member(of, "x", arrow=False).address(memory, "0:") == "(text).x"
    assert Element(of, Constant(1)).address(memory, "0:") == "text[1]"
    assert Pointed(Unknown("p")).address(memory, "0:") == "*(p)"
    assert Pointed(Unknown()).address(memory, "0:").startswith("*(")
    assert Pointed(Unknown()).key("0:") == ""
    with pytest.raises(NotImplementedError):
        Place().address(memory, "")


def test_an_operator_that_nobody_knows() -> None:
    """Of what it gives nothing is known, but it gives the same again."""
    assert Apply("~", Constant(1)).value(Memory(), "") is None
    assert Apply("~", Constant(1)).key("") == "~(1)"
    assert Expression().value(Memory(), "") is None
