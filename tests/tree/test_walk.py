# SPDX-License-Identifier: GPL-2.0-only
"""Walks of C text: every way through a function as a trace, with no call failing or with one."""

from __future__ import annotations

from pathlib import Path

import pytest
from tree.facts import FACTS
from tree.snippets import program

from kvm_ref.errno import EBUSY
from kvm_ref.fault import Fault
from kvm_ref.trace import Event
from kvm_ref.tree.program import Interest
from kvm_ref.tree.roles import Roles
from kvm_ref.tree.walk import Walk
from kvm_ref.tree.ways import Way


def story(way: Way) -> str:
    """Return a way as text: each call with what it is about and what it returns, inside those around it."""
    out = []
    for kind, _, name, args, value in way.trace.steps[0].events or ():
        known = args or {}
        about = "".join(f"[{known[key]}]" for key in ("obj", "uses") if key in known)
        shown = "" if value is None else f"={value}"
        if kind in ("enter", "inject"):
            out.append(f"{name}{about}(" if kind == "enter" else "!")
        elif kind == "exit":
            out.append(f"){shown}{about}")
        else:
            out.append(f"{kind} {known.get('label', name)}{shown}")
    return " ".join(out).replace("( )", "()").replace("( ! )", "(!)")


def walk(root: Path, text: str, fault: Fault | None = None, limit: int = 64) -> Walk:
    """Return a walk of a file."""
    found = program(root, {"virt/kvm/x.c": text})
    roles = Roles(FACTS, found)
    return Walk(Interest(found, roles), roles, fault, limit=limit)


def ways(root: Path, text: str, fault: Fault | None = None) -> list[Way]:
    """Return the ways through the function f() of a file."""
    walked = walk(root, text, fault)
    code = walked.program.code("f")
    assert code is not None, walked.program.errors
    found = list(walked.ways(code))
    assert walked.complete
    return found


@pytest.mark.parametrize(
    ("statements", "stories"),
    [
        ("alloc(1); return 0;", ["f( alloc()=ptr[x.c:1] )=0"]),
        ("void *p = alloc(1); if (!p) return -12; free(p); return 0;",
         ["f( alloc()=ptr[x.c:1] free[x.c:1]() )=0"]),
        ("a->p = alloc(1); free(a->p); return 0;", ["f( alloc()=ptr[x.c:1] free[x.c:1]() )=0"]),
        ("void *p = alloc(1), *q = alloc(1); free(p); free(q); return 0;",
         ["f( alloc()=ptr[x.c:1] alloc()=ptr[x.c:1#2] free[x.c:1]() free[x.c:1#2]() )=0"]),
        ("free(NULL); free(ERR_PTR(-1)); free(7); return 0;", ["f( free[NULL]() free[NULL]() free[7]() )=0"]),
        ("void *p = alloc(1); look(p); look(NULL); look(a); return 0;",
         ["f( alloc()=ptr[x.c:1] look[x.c:1]() look[NULL]() look[]() )=0"]),
        ("use(a); use(a->x); return 0;", ["f( use[*a]() use[*a.x]() )=0"]),
        ("use(b); use(global); return 0;", ["f( use[0:b]() use[global]() )=0"]),
        ("free(unknown); return 0;", ["f( free[]() )=0"]),
        ("free(); use(); return 0;", ["f( free[]() use[]() )=0"]),
        ("void *p = get(); if (IS_ERR(p)) return PTR_ERR(p); put(0, p); return 0;",
         ["f( get()=ptr[x.c:1] put[x.c:1]() )=0"]),
        ("int fd = get_fd(); return fd;", ["f( get_fd()=3[3] )=3"]),
        ("if (start(a)) return -1; stop(a); return 0;", ["f( start()=0[it] stop[it]() )=0"]),
        ("init(&v.s); fini(&v.s); return 0;", ["f( init()=0[v.s] fini[v.s]() )=0"]),
        ("init(a->s); fini(a->s); return 0;", ["f( init()=0[*a.s] fini[*a.s]() )=0"]),
        ("init(s + 1); fini(s + 1); return 0;", ["f( init()=0[(s + 1)] fini[(s + 1)]() )=0"]),
        ("init('x'); return 0;", ["f( init()=0['x'] )=0"]),
        ("init(x() + 1); return 0;", ["f( init()=0[x() + 1] )=0"]),
        ("attach(&v.s); fini(&v.s); return 0;", ["f( attach()=ptr[v.s] fini[v.s]() )=0"]),
        ("on(m, 1); off(m, 1); return 0;", ["f( on()[m] off[m]() )=0"]),
        ("own(); return 0;", ["f( own()[None] )=0"]),
        ("use(&v); return 0;", ["f( use[v]() )=0"]),
        ("if (has()) use(7); return 0;", ["f( has()=1 use[7]() )=0"]),
        ("if (lacks()) use(7); return 0;", ["f( lacks()=0 )=0"]),
        ("return number();", ["f( number()=0 )=0"]),
        ("if (plain()) return 1; return 0;", ["f( plain[]() )=0", "f( plain[]() )=1"]),
        ("if (tell()) use(7); return 0;", ["f()=0", "f( use[7]() )=0"]),
        # Locks, and jumps with an error in hand.
        ("mutex_lock(&l); mutex_unlock(&l); return 0;", ["f( lock l unlock l )=0"]),
        ("int r = -5; goto out; out: return r;", ["f( goto out=-5 )=-5"]),
        ("int r = 0; goto out; out: return r;", ["f()=0"]),
        ("void *p = ERR_PTR(-5); goto out; out: return PTR_ERR(p);", ["f( goto out=-5 )=-5"]),
        ("guard(mutex)(&l); return number();", ["f( lock l number()=0 unlock l )=0"]),
        # What is not known is tried both ways, but only once.
        ("if (a) use(7); if (a) use(7); return 0;", ["f( use[7]() use[7]() )=0", "f()=0"]),
        ("if (x()) return -5; use(7); return 0;", ["f()=-5", "f( use[7]() )=0"]),
        ("x(&a); if (a) ; use(7); return 0;", ["f( use[7]() )=0"]),
        # A call without arguments that nobody knows returns the same again, one with arguments may not.
        ("if (x()) use(7); if (x()) use(7); return 0;", ["f( use[7]() use[7]() )=0", "f()=0"]),
        ("if (x(1)) use(7); if (x(1)) use(8); return 0;",
         ["f( use[7]() use[8]() )=0", "f( use[7]() )=0", "f( use[8]() )=0", "f()=0"]),
        ("if (x(AN_OPTION)) use(7); if (x(AN_OPTION)) use(8); return 0;", ["f( use[7]() use[8]() )=0", "f()=0"]),
        ("int n = x(); if (n) use(7); return n;", ["f( use[7]() )", "f()=0"]),
        # What says by its name that it is an error is one where it is not 0.
        ("int r = x(a); if (r) goto out; use(7); out: return r;", ["f( goto out=-5 )=-5", "f( use[7]() )=0"]),
        ("int n = x(a); if (n) goto out; use(7); out: return n;", ["f()", "f( use[7]() )=0"]),
        ("int ret = x(a); if (ret < 0) goto out; use(7); out: return ret;",
         ["f( goto out=-5 )=-5", "f( use[7]() )"]),
        # The structure that something is in, and its address, stand for it.
        ("void *p = alloc(1); free(container_of(p, struct s, x)); return 0;",
         ["f( alloc()=ptr[x.c:1] free[x.c:1]() )=0"]),
        ("void *p = alloc(1); free(page_address(to_s(p))); return 0;",
         ["f( alloc()=ptr[x.c:1] free[x.c:1]() )=0"]),
        ("free(page_address(NULL)); return 0;", ["f( free[NULL]() )=0"]),
        # Loops.
        ("for_each_online_cpu(b) use(b); return 0;", ["f( use[0]() use[1]() )=0"]),
        ("for_each_online_cpu(b) use(&v[b]); return 0;", ["f( use[v[0]]() use[v[1]]() )=0"]),
        ("list_for_each_entry(b, &v, list) use(b); return 0;", ["f( use[*list]() )=0"]),
        ("for_each_thing(3) use(7); return 0;", ["f( use[7]() )=0"]),
        ("for (int i = 1; i < 4; i++) use(i); return 0;", ["f( use[1]() use[2]() use[3]() )=0"]),
        ("while (x(b)) use(7); return 0;", ["f( use[7]() use[7]() )=0"]),
        ("do { use(7); } while (x(b)); return 0;", ["f( use[7]() use[7]() use[7]() )=0"]),
        ("while (1) { if (x(b)) break; } use(7); return 0;", ["f( use[7]() )=0"]),
        ("again: use(7); if (x(b)) goto again; return 0;",
         ["f( use[7]() )=0", "f( use[7]() use[7]() )=0", "f( use[7]() use[7]() use[7]() )=0"]),
        ("for (int i = 0; i < 3; i++) for (int j = 0; j < 2; j++) use(7); return 0;",
         ["f( use[7]() use[7]() use[7]() use[7]() use[7]() use[7]() )=0"]),
        ("for (int i = 0; i < 10; i++) for (int j = 0; j < 10; j++) ; use(7); return 0;",
         ["f( use[7]() )=0"]),
        ('asm goto("x" : : : : bad); return 0; bad: use(7); return -5;', ["f()=0", "f( use[7]() )=-5"]),
    ],
)  # fmt: skip
def test_ways(tmp_path: Path, statements: str, stories: list[str]) -> None:
    """Each way shows what is acquired, used and released, and what it returns."""
    found = ways(tmp_path, f"int f(struct s *a, int b) {{ {statements} }}")
    assert sorted(map(story, found)) == sorted(stories)


def test_loops_that_never_end_are_left(tmp_path: Path) -> None:
    """A loop whose test is known and true is left after many turns."""
    (way,) = ways(tmp_path, "int f(void) { while (1) use(7); return 0; }")
    assert 10 < story(way).count("use") < 100


@pytest.mark.parametrize(
    ("call", "shown"),
    [
        ("alloc(1)", "f( alloc(!)=0 )=0"),
        ("get()", "f( get(!)=ERR_PTR(-12) )=ERR_PTR(-12)"),
        ("get_fd()", "f( get_fd(!)=-12 )=-12"),
        ("start(0)", "f( start(!)=-16 )=-16"),
        ("has()", "f( has(!)=0 )=0"),
        ("lacks()", "f( lacks(!)=1 )=1"),
        ("number()", "f( number(!)=-5 )=-5"),
    ],
)
def test_each_call_fails_in_its_own_way(tmp_path: Path, call: str, shown: str) -> None:
    """A call that is to fail acquires nothing, and returns what it returns then."""
    (way,) = ways(tmp_path, f"int f(void) {{ return {call}; }}", Fault(call.partition("(")[0]))
    assert (story(way), way.fired) == (shown, True)
    assert way.trace.faults[0]["function"] == call.partition("(")[0]


def test_which_call_fails_and_with_what(tmp_path: Path) -> None:
    """The second call fails if it is asked for, with the number that is asked for; or none is on the way."""
    text = "int f(void) { int r = number(); if (r) return r; return number(); }"
    (way,) = ways(tmp_path, text, Fault("number", 2, errno=EBUSY))
    assert story(way) == "f( number()=0 number(!)=-16 )=-16"
    (way,) = ways(tmp_path, text, Fault("number", 3))
    assert (story(way), way.fired) == ("f( number()=0 number()=0 )=0", False)
    (way,) = ways(tmp_path, "int f(void) { use(7); return 0; }", Fault("use"))
    assert not way.fired


LADDER = """
static int helper(void)
{
	return number();
}

int f(struct s *a)
{
	int r;

	a->p = alloc(1);
	if (!a->p)
		return -ENOMEM;
	r = helper();
	if (r)
		goto out;
	return 0;
out:
	free(a->p);
	return r;
}
"""


def test_a_ladder_under_faults(tmp_path: Path) -> None:
    """What was acquired is given back on the way out; helpers are walked into, or fail themselves."""
    (clean,) = ways(tmp_path, LADDER)
    assert story(clean) == "f( alloc()=ptr[x.c:11] helper( number()=0 )=0 )=0"
    (first,) = ways(tmp_path, LADDER, Fault("alloc"))
    assert story(first) == "f( alloc(!)=0 )=-12"
    (inner,) = ways(tmp_path, LADDER, Fault("number"))
    assert story(inner) == (
        "f( alloc()=ptr[x.c:11] helper( number(!)=-5 )=-5 goto out=-5 free[x.c:11]() )=-5"
    )
    (itself,) = ways(tmp_path, LADDER, Fault("helper"))
    assert "helper(!)=-5 goto out=-5" in story(itself)
    assert [way.trace.steps[0].results for way in (clean, first, inner)] == [[0], [-12], [-5]]


def test_events_have_their_place(tmp_path: Path) -> None:
    """Each event bears file and line, and how deep it is; a trace says which kernel it is of."""
    (way,) = ways(tmp_path, LADDER)
    events: list[Event] = way.trace.steps[0].events or []
    at = [(kind, name, place.depth, (args or {})["line"]) for kind, place, name, args, _ in events]
    assert at == [
        ("enter", "f", 0, 7),
        ("enter", "alloc", 1, 11),
        ("exit", "alloc", 1, 11),
        ("enter", "helper", 1, 14),
        ("enter", "number", 2, 4),
        ("exit", "number", 2, 4),
        ("exit", "helper", 1, 4),
        ("exit", "f", 0, 17),
    ]
    assert {(args or {})["file"] for _, _, _, args, _ in events} == {"virt/kvm/x.c"}
    assert way.trace.source == {"kind": "c-source", "kernel": "6.12"}
    assert way.trace.steps[0].verbs == ["f"]


@pytest.mark.parametrize(
    ("head", "statements", "result"),
    [
        ("int f(void)", "return -22;", -22),
        ("int f(void)", "return 3;", 0),
        ("int f(void)", "return x();", 0),
        ("void *f(void)", "return ERR_PTR(-22);", -22),
        ("void *f(void)", "return NULL;", -12),
        ("void *f(void)", "return alloc(1);", 0),
        ("void f(void)", "alloc(1);", 0),
    ],
)
def test_the_result_of_the_verb(tmp_path: Path, head: str, statements: str, result: int) -> None:
    """A function that fails has an error number, if only one that it does not give itself."""
    (way,) = ways(tmp_path, f"{head} {{ {statements} }}")
    assert way.trace.steps[0].results == [result]


@pytest.mark.parametrize(
    ("text", "stories"),
    [
        # A pointer that a function is given points to the same there as here.
        ("static void g(struct s *p) { init(&p->x); }\nint f(struct s *a) { g(a); fini(&a->x); return 0; }",
         ["f( g( init()=0[*a.x] ) fini[*a.x]() )=0"]),
        ("static void g(struct s *p) { init(&p->x); }\nint f(void) { struct s v; g(&v); fini(&v.x); return 0; }",
         ["f( g( init()=0[0:v.x] ) fini[0:v.x]() )=0"]),
        ("static void g(struct s *p) { init(&p->x); }\nint f(struct t *a) { g(a->s); fini(&a->s->x); return 0; }",
         ["f( g( init()=0[**a.s.x] ) fini[**a.s.x]() )=0"]),
        ("static void g(int n) { if (n) { use(7); g(n - 1); } }\nint f(void) { g(2); return 0; }",
         ["f( g( use[7]() g( use[7]() g() ) ) )=0"]),
        ("static int g(int n) { return n + 1; }\nint f(void) { use(7); return g(1); }", ["f( use[7]() )"]),
        ("static struct ops o = { .open = g };\nstatic int g(void) { return number(); }\n"
         "int f(struct ops *p) { return p->open(); }", ["f( g( number()=0 )=0 )=0"]),
        ("static struct ops o = { .open = g }, q = { .open = h };\nstatic int g(void) { return number(); }\n"
         "static int h(void) { return 0; }\nint f(struct ops *p) { return p->open(); }", ["f( )"]),
        ("static int helper(void) { return 0; }\nint f(void) { return helper(); }", ["f( helper()=0 )=0"]),
        ("#define m(a) number() + (a)\nint f(void) { return m(2); }", ["f( m( number()=0 )=2 )=2"]),
        ("static int v = 1, w;\nint f(void) { if (v && !w) use(7); v = 0; if (v) use(8); return 0; }",
         ["f( use[7]() )=0"]),
    ],
)  # fmt: skip
def test_functions_and_variables_of_the_text(tmp_path: Path, text: str, stories: list[str]) -> None:
    """Functions that lead to something are walked into; variables start with what the file says."""
    assert [story(way).replace("f()", "f( )") for way in ways(tmp_path, text)] == stories


@pytest.mark.parametrize(("arg", "least", "most"), [("1", 5, 20), ("n", 0, 2)])
def test_recursion_is_followed_only_so_deep(tmp_path: Path, arg: str, least: int, most: int) -> None:
    """A function that calls itself for ever is left; with nothing that is known it is not followed again."""
    text = f"static int g(int n) {{ use(7); return g({arg}); }}\nint f(int n) {{ return g(n); }}"
    found = walk(tmp_path, text)
    code = found.program.code("f")
    assert code
    (way,) = found.ways(code)
    assert least < story(way).count("use") < most


def test_assumptions_are_told(tmp_path: Path) -> None:
    """Of each way it is known what was taken to be so; conditions of no interest are not."""
    text = "int f(int a, int b)\n{\n\tif (a > 1)\n\t\tuse(7);\n\tif (b)\n\t\tx();\n\treturn 0;\n}\n"
    found = {story(way): way.assumed for way in ways(tmp_path, text)}
    path = "virt/kvm/x.c"
    assert found == {
        "f( use[7]() )=0": (((path, 3, "a > 1"), True),),
        "f()=0": (((path, 3, "a > 1"), False),),
    }


def test_what_is_settled_is_not_tried_both_ways(tmp_path: Path) -> None:
    """A condition that is known for a walk goes one way until the fault, and both behind it."""
    text = "int f(int a) { if (x(a)) use(7); number(); if (x(a)) use(8); return 0; }"
    found = walk(tmp_path, text)
    settled = {("virt/kvm/x.c", 1, "x(a)"): True}
    code = found.program.code("f")
    assert code
    one = Walk(found.interest, found.roles, settled=settled)
    assert [story(way) for way in one.ways(code)] == ["f( use[7]() number()=0 use[8]() )=0"]
    both = Walk(found.interest, found.roles, Fault("number"), settled=settled)
    assert sorted(story(way) for way in both.ways(code)) == [
        "f( use[7]() number(!)=-5 )=0",
        "f( use[7]() number(!)=-5 use[8]() )=0",
    ]


def test_what_is_settled_to_be_false(tmp_path: Path) -> None:
    """So are conditions that are false, and calls that ask for what does not change."""
    text = "int f(int a) { if (x(a)) use(7); if (y()) use(8); number(); if (z()) use(9); return 0; }"
    found = walk(tmp_path, text)
    path = "virt/kvm/x.c"
    settled = {(path, 1, "x(a)"): False, (path, 1, "y()"): False, (path, 1, "z()"): True}
    code = found.program.code("f")
    assert code
    one = Walk(found.interest, found.roles, settled=settled)
    assert [story(way) for way in one.ways(code)] == ["f( number()=0 use[9]() )=0"]
    both = Walk(found.interest, found.roles, Fault("number"), settled=settled)
    assert sorted(story(way) for way in both.ways(code)) == [
        "f( number(!)=-5 )=0",
        "f( number(!)=-5 use[9]() )=0",
    ]


def test_what_functions_are_given_to_decide_by_is_settled(tmp_path: Path) -> None:
    """An argument that is tested in two functions is one condition, which may be known for a walk."""
    text = "static void g(int b) { if (b) use(7); }\nint f(int a) { g(a); number(); g(a); return 0; }"
    found = walk(tmp_path, text)
    code = found.program.code("f")
    assert code
    yes, no = "f( g( use[7]() ) number()=0 g( use[7]() ) )=0", "f( g() number()=0 g() )=0"
    assert sorted(story(way) for way in found.ways(code)) == sorted([yes, no])
    for known, told in ((True, yes), (False, no)):
        one = Walk(found.interest, found.roles, settled={("virt/kvm/x.c", 2, "a"): known})
        assert [story(way) for way in one.ways(code)] == [told]


def test_so_many_ways_and_no_more(tmp_path: Path) -> None:
    """What is left out is told."""
    found = walk(tmp_path, "int f(int a) { if (x(a)) use(1); if (x(a)) use(2); return 0; }", limit=3)
    code = found.program.code("f")
    assert code
    assert (len(list(found.ways(code))), found.complete) == (3, False)


def test_ways_that_are_too_long_are_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A walk ends, and says that it is not complete."""
    monkeypatch.setattr("kvm_ref.tree.walk._STEPS", 30)
    found = walk(tmp_path, "int f(int a) { " + "if (x(a)) use(7); " * 12 + "return 0; }")
    code = found.program.code("f")
    assert code
    assert len(list(found.ways(code))) < 5
    assert not found.complete
