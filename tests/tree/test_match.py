# SPDX-License-Identifier: GPL-2.0-only
"""Text held against bodies: what it allows, and where both part."""

from __future__ import annotations

from pathlib import Path

import pytest
from tree.snippets import Text

from kvm_ref.tree import match as matching
from kvm_ref.tree.bodies import Difference, shown
from kvm_ref.tree.match import Agreement, Limit

LADDER = """
int f(int a)
{
	int r;

	r = g();
	if (r)
		return r;
	mutex_lock(&l);
	r = h(a);
	if (r) {
		r = -22;
		goto out;
	}
	k();
	mutex_unlock(&l);
	return 0;
out:
	mutex_unlock(&l);
	undo();
	return r;
}
"""


@pytest.mark.parametrize(
    ("items", "value", "says"),
    [
        ("g lock:l h unlock:l", 0, "agree"),
        ("g=-12", -12, "agree"),
        ("g lock:l h=-5 goto:out unlock:l undo", -22, "agree"),
        ("g lock:l h unlock:l", None, "agree"),
        # The model does less, more, or something else.
        ("", 0, "6: calls g() / returns 0"),
        ("h", 0, "6: calls g() / calls h()"),
        ("g h unlock:l", 0, "9: locks l / calls h()"),
        ("g lock:l h", 0, "16: unlocks l / returns 0"),
        ("g lock:l h lock:m", 0, "16: unlocks l / locks m"),
        ("g lock:l h unlock:l g", 0, "17: returns 0 / calls g()"),
        ("g lock:l h=-5 goto:bad unlock:l undo", -22, "13: jumps to out / jumps to bad"),
        ("g lock:l h=-5 unlock:l", -22, "13: jumps to out / unlocks l"),
        ("g lock:l h goto:out unlock:l undo", -22, "16: unlocks l / jumps to out"),
        ("g lock:l h=-5 goto:out unlock:l", -22, "20: calls undo() / returns -EINVAL"),
        # What is returned.
        ("g=-12", -22, "8: returns -ENOMEM / returns -EINVAL"),
        ("g=-12", 0, "8: returns -ENOMEM / returns 0"),
        ("g lock:l h unlock:l", -1, "17: returns 0 / returns -EPERM"),
    ],
)
def test_a_ladder(tmp_path: Path, items: str, value: object, says: str) -> None:
    """Calls, locks, jumps and what is returned are those of the body, in its order."""
    assert Text(tmp_path, LADDER, "g h undo").held(items, value) == says


def test_lines_of_what_was_passed(tmp_path: Path) -> None:
    """Of an agreement the jumps and returns are known, of a difference the places of what was equal."""
    text = Text(tmp_path, LADDER, "g h undo")
    assert text.match("g lock:l h unlock:l").run() == Agreement(frozenset({17}))
    assert text.match("g lock:l h=-5 goto:out unlock:l undo", -22).run() == Agreement(frozenset({13, 21}))
    found = text.match("g lock:l h=-5 unlock:l", -22).run()
    assert isinstance(found, Difference)
    assert (found.path, found.line, found.after) == ("virt/kvm/x.c", 13, 3)
    assert found.lines == (("virt/kvm/x.c", 6), ("virt/kvm/x.c", 9), ("virt/kvm/x.c", 10))
    assert (found.did, found.due) == (("goto", "out", None), ("unlock", "l", None))


@pytest.mark.parametrize(
    ("statements", "items", "value", "says"),
    [
        # Values as a trace shows them.
        ("return g();", "g=ptr", "ptr", "agree"),
        ("return g();", "g=NULL", "NULL", "agree"),
        ("return g();", "g=NULL", "ptr", "1: returns 0 / returns a pointer"),
        ("return g();", "g=ERR_PTR(-12)", "ERR_PTR(-12)", "agree"),
        ("return g();", "g=ERR_PTR(-12)", "ERR_PTR(-22)", "1: returns ERR_PTR(-12) / returns ERR_PTR(-22)"),
        ("return g();", "g=ptr", 0, "1: returns a pointer / returns 0"),
        ("return PTR_ERR(g());", "g=ERR_PTR(-12)", -12, "agree"),
        ("return g() == g();", "g=ptr g=ptr", 1, "agree"),
        ("int *p = g(); return p == p ? 1 : 0;", "g=ptr", 0, "1: returns 1 / returns 0"),
        ("return x();", "", -3, "agree"),
        # What the text tests and nobody knows is tried both ways.
        ("if (a) g(); return 0;", "", 0, "agree"),
        ("if (a) g(); return 0;", "g", 0, "agree"),
        ("if (a) g(); if (a) h(); return 0;", "g", 0, "1: calls h() / returns 0"),
        ("if (a) g(); if (!a) h(); return 0;", "g", 0, "agree"),
        ("if (x()) return -5; g(); return 0;", "", -5, "agree"),
        ("switch (a) { case 1: g(); break; default: h(); } return 0;", "h", 0, "agree"),
        ("return a ? g() : h();", "h=3", 3, "agree"),
        # Calls that the model does not know are passed over.
        ("x(); y(&a); g(); z(); return 0;", "g", 0, "agree"),
        ("int r = 1; x(&r); return r;", "", 5, "agree"),
        ("int r = 1; g(&r); return r;", "g", 5, "agree"),
        ("int r = 1; x(r); return r;", "", 5, "1: returns 1 / returns 5"),
        # Locks that the model does not know, or that do not sleep.
        ("mutex_lock(&m); g(); mutex_unlock(&m); return 0;", "g", 0, "agree"),
        ("spin_lock(&l); g(); spin_unlock(&l); return 0;", "g", 0, "agree"),
        ("mutex_lock(&kvm->l); g(); mutex_unlock(&kvm->l); return 0;", "lock:l g unlock:l", 0, "agree"),
        ("if (!mutex_trylock(&l)) return -16; return 0;", "lock:l", 0, "agree"),
        ("if (!mutex_trylock(&l)) return -16; return 0;", "", -16, "agree"),
        ("if (mutex_lock_killable(&l)) return -4; return 0;", "lock:l", 0, "agree"),
        ("if (mutex_lock_killable(&m)) return -4; return 0;", "", 0, "agree"),
        ("cpus_read_lock(); g(); cpus_read_unlock(); return 0;", "g", 0, "agree"),
        ("guard(mutex)(&l); if (g()) return -5; h(); return 0;", "lock:l g=1 unlock:l", -5, "agree"),
        ("guard(mutex)(&l); g(); return 0;", "lock:l g", 0, "1: unlocks l / returns 0"),
        # Loops turn as long as the body goes on.
        ("while (x()) g(); return 0;", "g g g", 0, "agree"),
        ("while (a) g(); return 0;", "g g g", 0, "1: calls g() / returns 0"),
        ("while (a) g(); return 0;", "", 0, "agree"),
        ("while (1) x(); return 0;", "", 0, "agree"),
        ("do { x(); } while (x()); g(); return 0;", "g", 0, "agree"),
        ("for (int i = 0; i < 2; i++) g(); return 0;", "g g", 0, "agree"),
        ("for (int i = 0; i < 2; i++) g(); return 0;", "g g g", 0, "1: returns 0 / calls g()"),
        ("for (int i = 0; i < 2; i++) g(); return 0;", "g", 0, "1: calls g() / returns 0"),
        ("int i; for (i = 0; i < 2; i++) x(); if (i == 2) g(); return 0;", "g", 0, "agree"),
        ("for_each_cpu(a, m) g(a); return 0;", "g g g g", 0, "agree"),
        ("for_each_cpu(a, m) g(a); return 0;", "", 0, "agree"),
        ("for_each_cpu(a, m) x(a); h(); return 0;", "h", 0, "agree"),
        ("int c = -1; for_each_cpu(c, m) { if (x()) break; } if (c == 7) g(); return 0;", "g", 0, "agree"),
        ("int c = -1; for_each_cpu(c, m) x(); if (c == 7) g(); return 0;", "g", 0, "agree"),
        ("for_each_thing(3) g(); return 0;", "g g", 0, "agree"),
        ("int n = 2; while (n--) { g(); if (n) h(); } return n;", "g h g", -1, "agree"),
        ("again: g(); if (a) goto again; return 0;", "g", 0, "agree"),
        ("again: if (g()) goto again; return 0;", "g=1 g=1 g", 0, "agree"),
        ("again: x(); if (a) goto again; return 0;", "", 0, "agree"),
        # Jumps without an error in hand unwind nothing; others are the model's.
        ("int r = 0; goto out; g(); out: return r;", "", 0, "agree"),
        ("int r = -5; goto out; g(); out: return r;", "", -5, "1: jumps to out / returns -EIO"),
        ("int r = -5; goto out; g(); out: return r;", "goto:out", -5, "agree"),
        ("int r = -5; goto end; g(); end: return r;", "", -5, "agree"),
        ("int *r = g(); if (IS_ERR(r)) goto out; h(); out: return PTR_ERR(r);", "g=ERR_PTR(-5)", -5,
         "1: jumps to out / returns -EIO"),
        ("int r; guard(mutex)(&l); r = -5; goto out; g(); out: return r;", "lock:l unlock:l", -5,
         "1: jumps to out / unlocks l"),
        ("int r = x(); if (r) goto out; g(); out: return r;", "goto:out", -5, "agree"),
        # Assembly.
        ('asm goto("g %0" : : : : bad); return 0; bad: return -5;', "g", 0, "agree"),
        ('asm goto("g %0" : : : : bad); return 0; bad: return -5;', "g", -5, "agree"),
        ('asm goto("nop" : : : : bad); h(); return 0; bad: return -5;', "h", 0, "agree"),
        ('int r = -5; asm goto("nop" : : : : out); return 0; out: return r;', "", -5,
         "1: jumps to out / returns -EIO"),
    ],
)  # fmt: skip
def test_statements(tmp_path: Path, statements: str, items: str, value: object, says: str) -> None:
    """Of each snippet it is said whether it allows the body, or where it does not."""
    assert Text(tmp_path, f"int f(int a) {{ {statements} }}").held(items, value) == says


def test_a_function_that_returns_nothing(tmp_path: Path) -> None:
    """Its body has no value, or one that does not matter."""
    text = Text(tmp_path, "void f(void) { g(); }")
    assert text.held("g", None) == "agree"
    assert text.held("g h", None) == "1: returns / calls h()"
    assert text.held("", None) == "1: calls g() / returns"


HELPERS = """
static int inner(int x, int *p)
{
	if (x == 1)
		return g(x);
	*p = h();
	return -3;
}

static int outer(int x) { int v = 0; int r = inner(x, &v); return r ? r : v; }
static int dull(void) { return 4; }
static int counted(int n) { if (n) { g(); return counted(n - 1); } return 0; }
static int again(int n) { g(); return n ? again(n) : 0; }
static int jumps(void) { int r = -7; goto out; h(); out: return r; }
static int either(int a) { if (a) x(); else y(); if (z()) y(); g(); return 0; }
static int asks(struct ops *p) { if (z(p)) p->cb(); g(); return 0; }
#define fold(a) ({ int n = (a); n ? g(n) : h(); })
#define call_it(what) what()

int f(int a) { return %s; }
"""


@pytest.mark.parametrize(
    ("expression", "items", "value", "says"),
    [
        ("outer(1)", "g", 0, "agree"),
        ("outer(1)", "g=-5", -5, "agree"),
        ("outer(2)", "h", -3, "agree"),
        ("outer(2)", "g", 0, "6: calls h() / calls g()"),
        ("outer(a)", "g", 0, "agree"),
        ("outer(a)", "h", -3, "agree"),
        ("dull()", "", 9, "agree"),
        ("counted(2)", "g g", 0, "agree"),
        ("counted(1)", "g g", 0, "20: returns 0 / calls g()"),
        ("again(a)", "g", 0, "agree"),
        ("jumps()", "h", 0, "20: returns -E2BIG / calls h()"),
        ("jumps()", "", -7, "agree"),
        ("either(a)", "g", 0, "agree"),
        ("either(a) + either(a) + either(a)", "g g g", 0, "agree"),
        ("asks(a)", "g", 0, "agree"),
        ("asks(a) + asks(a) + x()", "g g", 5, "agree"),
        ("asks(a) + asks(a)", "g g h", 0, "20: returns 0 / calls h()"),
        ("fold(1)", "g", 0, "agree"),
        ("fold(0)", "h=5", 5, "agree"),
        ("fold(0)", "g", 0, "17: calls h() / calls g()"),
        ("call_it(g)", "g=2", 2, "agree"),
        ("unknown_macro(g)", "g=2", 2, "agree"),
        ("unknown_macro(g)", "", 2, "agree"),
        ("sizeof(g)", "", 2, "agree"),
    ],
)
def test_functions_that_the_model_does_not_show(
    tmp_path: Path, expression: str, items: str, value: object, says: str
) -> None:
    """What a helper or a macro does, and what it returns, is done where it is called."""
    assert Text(tmp_path, HELPERS % expression).held(items, value) == says


def test_calls_are_followed_only_so_deep(tmp_path: Path) -> None:
    """Functions in functions are walked into a few times, then nothing is known of them."""
    chain = "".join(f"static int s{n}(void) {{ return s{n - 1}(); }}\n" for n in range(1, 9))
    text = Text(tmp_path, f"static int s0(void) {{ return g(); }}\n{chain}int f(void) {{ return s8(); }}")
    assert text.held("", 5) == "agree"
    assert Text(tmp_path, "static int s0(void) { return g(); }\nint f(void) { return s0(); }").held(
        "g=5", 5
    ) == ("agree")


TABLE = """
static int one(void) { return g(); }
static int two(void) { return h(); }
static struct ops table = { .open = one, .close = two };
static struct ops other = { .open = two, .exit = known };
int f(struct ops *p, int a) { %s }
"""


@pytest.mark.parametrize(
    ("statements", "items", "value", "says"),
    [
        # A pointer may be to any function that the member is set to somewhere, or to something else.
        ("return p->open();", "g=4", 4, "agree"),
        ("return p->open();", "h=4", 4, "agree"),
        ("return p->open();", "", 4, "agree"),
        ("return p->close();", "g=4", 4, "3: calls h() / calls g()"),
        ("return p->close();", "h=4", 4, "agree"),
        ("return table.open();", "g=1", 1, "agree"),
        ("int (*fn)(void) = two; return fn();", "h=4", 4, "agree"),
        ("int (*fn)(void) = &two; return fn();", "h=4", 4, "agree"),
        ("return static_call(ops_open)(a);", "", 4, "agree"),
        ("return p->exit();", "known", 0, "agree"),
        # A callback that stands somewhere is what an unknown pointer may call.
        ("take(&known); return p->cb();", "known", 0, "agree"),
        ("take(known); return p->cb();", "known", 0, "agree"),
        ("return p->cb();", "", 0, "agree"),
        # So is one that a structure holds that something is given, and it may be called more than once.
        ("struct ops v = { .cb = k }; walk(&v); return 0;", "k k k", 0, "agree"),
        ("struct ops v = { .cb = k }; walk(&v); return 0;", "", 0, "agree"),
        ("struct ops v = { .cb = k }; walk(&v); g(); return 0;", "k g k", 0, "6: returns 0 / calls k()"),
    ],
)
def test_calls_through_pointers(
    tmp_path: Path, statements: str, items: str, value: object, says: str
) -> None:
    """A call through a member reaches what the tables of the files say, and callbacks that are given."""
    text = TABLE % statements + "static int known(void) { return 0; }\nstatic int k(void) { return 0; }\n"
    assert Text(tmp_path, text, "g h known k").held(items, value) == says


def test_all_targets_known_to_the_model_must_be_called(tmp_path: Path) -> None:
    """A pointer to functions of the model alone calls one of them."""
    text = (
        "int g(void) { return 0; }\nint h(void) { return 0; }\nstruct ops a = { .x = g }, b = { .x = h };\n"
        "int f(struct ops *p) { return p->x(); }\n"
    )
    held = Text(tmp_path, text)
    assert held.held("h=3", 3) == "agree"
    assert held.held("", 3) == "4: calls g or h() / returns 3"


def test_functions_that_only_tell_something(tmp_path: Path) -> None:
    """They may be called or not, in the text as in the model."""
    text = Text(tmp_path, "int f(void) { if (has()) g(); return 0; }", optional="has")
    assert text.held("has=1 g") == "agree"
    assert text.held("has=0") == "agree"
    assert text.held("g") == "agree"
    assert text.held("") == "agree"
    assert text.held("has=0 g") == "1: returns 0 / calls g()"
    assert text.held("h") == "1: calls g() / calls h()"


WAITS = """static void walk(void)
{
	wait_for_completion(&done);
}

int g(void)
{
	walk();
	return 0;
}

int f(struct st *st)
{
	if (st->state > 3) {
		g();
		if (st->state > 3)
			return 0;
	}
	h();
	return 0;
}
"""


def test_another_task_may_change_what_was_tested(tmp_path: Path) -> None:
    """After a call that waits for another task a test of a member may end otherwise; after no other call."""
    text = Text(tmp_path, WAITS)
    assert text.held("g") == "agree"
    assert text.held("g h") == "agree"
    alone = Text(tmp_path, WAITS.replace("walk()", "k()"))
    assert alone.held("g") == "agree"
    assert alone.held("g h") == "17: returns 0 / calls h()"


RETURNS = """int f(int a)
{
	int r = 0;

	if (a) {
		r = -22;
		return r;
	}
	if (b)
		goto out;
	g();
out:
	h();
	return r;
}
"""


def test_a_jump_without_an_error_counts_for_little(tmp_path: Path) -> None:
    """A return of the model's own error tells more than a jump to its label with nothing in hand."""
    text = Text(tmp_path, RETURNS)
    assert text.held("goto:out h", -22) == "7: returns -EINVAL / jumps to out"
    # Where the model returns no error number, how far the text came decides.
    assert text.held("goto:out h k") == "14: returns 0 / calls k()"


def test_the_difference_that_comes_latest_is_told(tmp_path: Path) -> None:
    """Of ways that come as far, the one that does something says most, and the later line more."""
    text = "int f(int a)\n{\n\tif (a)\n\t\treturn 1;\n\tif (x(a))\n\t\th();\n\tk();\n\treturn 2;\n}\n"
    assert Text(tmp_path, text, "g h k").held("g") == "7: calls k() / calls g()"
    assert Text(tmp_path, text, "g").held("g") == "8: returns 2 / calls g()"


def test_too_many_ways_are_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A function that cannot be walked to any end in time is refused by name."""
    monkeypatch.setattr(matching, "_LIMIT", 5)
    tests = "".join(f"if (x{n}(a)) g(); " for n in range(8))
    with pytest.raises(Limit, match=r"f\(\) has more ways than can be tried"):
        Text(tmp_path, f"int f(int a) {{ {tests} return 0; }}").held("g g g g g g g g h")


def test_the_best_way_is_told_where_not_all_can_be_tried(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the ways are too many, the one that came farthest says where text and model part."""
    monkeypatch.setattr(matching, "_LIMIT", 50)
    tests = "".join(f"if (x{n}(a)) g(); " for n in range(8))
    found = Text(tmp_path, f"int f(int a) {{ {tests} return 0; }}").held("g g g g g g g g h")
    assert found == "1: returns 0 / calls h()"


def test_items_in_words() -> None:
    """Each kind of item is said in words."""
    assert shown(("call", "g", 0)) == "calls g()"
    assert shown(("goto", "out", None)) == "jumps to out"
    assert shown(("lock", "kvm_lock", None)) == "locks kvm_lock"
    assert shown(("unlock", "kvm_lock", None)) == "unlocks kvm_lock"
    values = [shown(("return", "", value)) for value in (None, "ptr", "?", -12)]
    assert values == ["returns", "returns a pointer", "returns something", "returns -ENOMEM"]
