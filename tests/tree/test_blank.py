# SPDX-License-Identifier: GPL-2.0-only
"""What the grammar does not take: blanked, or written in other words of the same length."""

from __future__ import annotations

import random

import pytest

from kvm_ref.tree.blank import Blanked, blank, closing, masked, plain, split, uncommented

# Bodies, and what becomes of them; an empty text means that nothing changes.
CASES = [
    ("{ foo(bar); }", ""),
    ('{ say("__init (" " (struct x)", \'"\'); }', ""),
    # Attributes.
    ("{ int __maybe_unused a; }", "{ int                a; }"),
    ("{ char __aligned (8) a; }", "{ char               a; }"),
    ("{ __aligned = 1; __kvm_init(); my__init(); }", ""),
    ("{ struct a *b __free(kfree) = c; }", "{ struct a *b               = c; }"),
    ("{ __free(b); }", ""),
    ("{ long a ____cacheline_aligned; }", "{ long a                      ; }"),
    # Types among the arguments.
    ("{ a = alloc(struct a *); }", "{ a = alloc(struct_a__); }"),
    ("{ f(x, struct a, unsigned long, u32); }", "{ f(x, struct_a, unsigned_long, u32); }"),
    ("{ f((x) + 1, int); g(size_t, a_t **); }", "{ f((x) + 1, INT); g(SIZE_T, a_t___); }"),
    ("{ f(enum\n a, b); }", "{ f(    \n a, b); }"),
    ("{ f((a *)b, (struct c *)d); return (a *)b; }", ""),
    ("{ a = (struct b *)c; if (d) (void)e(); }", ""),
    ("{ a = sizeof(struct b); }", ""),
    ("{ int (*f)(struct a *, int); }", ""),
    ("{ a, int, b }", ""),
    # Loops, and what only looks like one.
    ("{ for_each_cpu(a, b) { c(); } }", "{ while       (a, b) { c(); } }"),
    ("{ if (a) each_one(b) c(); else each_one(b)\n c(); }",
     "{ if (a) while   (b) c(); else while   (b)\n c(); }"),
    ("{ a_for_each_b(c) *d = 1; a_for_each_b(c); }", "{ while       (c) *d = 1; a_for_each_b(c); }"),
    ("{ for_all() { } }", "{ while(0 ) { } }"),
    ("{ loop( ) { } }", "{ loop( ) { } }"),
    ("{ each(a) { } }", ""),
    ("{ guard(a)(&b); static_call(a)(b); }", ""),
    ("{ do_it(a) ? b : c; x = f(a) * b; }", ""),
    ("{ while (a) b(); for (;;) c(); switch (d) { } }", ""),
    ("{ scoped_guard(a, &b) c(); }", "{ while       (a, &b) c(); }"),
    ("{ scoped_cond_guard(a, return 1, &b) { } }", "{ while            (a          , &b) { } }"),
    ("{ scoped_cond_guard(a) { } }", "{ while            (a) { } }"),
    # Assembly.
    ('{ asm volatile("a" B "c" : "=r" (d) : "r"(e), [f] "m"(g) : "h"); }',
     '{ asm         (""        : "=r" (d) : "r"(e), [f] "m"(g) : "h"); }'),
    ('{ asm(A : B, "=r"(c) : : D); }', '{ asm("":            : :  ); }'),
    ("{ asm(A: B); }", "{ asm(A:  ); }"),
    ("{ __asm__ __volatile__(AB(%0)); }", '{ asm                 (""    ); }'),
    ('{ register int a asm("x0") = 1; }', "{ register int a           = 1; }"),
    ('{ if (a) asm("b"); else asm("c"); }', '{ if (a) asm("" ); else asm("" ); }'),
    ('{ asm_safe("a", : [b] "c"(d)); asm_call(a, b); asm_call("a"); }',
     '{ asm_safe("a"              ); asm_call(a, b); asm_call("a"); }'),
    # Other words.
    ("{ case 1 ... 5: a(); }", "{ case 1  %  5: a(); }"),
    ("{ __typeof__(a->b) c = (typeof(d)) { }; }", "{ __typeof___a__b_ c = (typeof_d_) { }; }"),
    ("{ a = offsetof(struct b, c[d].e); }", "{ a = offsetof(struct b, c_d__e); }"),
    ("{ a = offsetof(struct b, c); }", ""),
    ("{ a = offsetof(b); }", ""),
    ("{ a = __alignof__(b->c); }", "{ a = __ALIGNOF__(b->c); }"),
    ("{ F(3DNOW) | 1UL | 0x1fULL | 10; }", "{ F(_DNOW) | 1UL | 0x1fULL | 10; }"),
    ("{ static DEFINE_X(a); static int b; }", "{        DEFINE_X(a); static int b; }"),
    ("{ DECLARE_X(a, 1) = { 0 }; }", "{ DECLARE_X(a, 1)        ; }"),
    ("{ f(a, , b); }", "{ f(a,_, b); }"),
    ('{ p(KERN_ERR "a"); p(KERN_ERR fmt("a")); }', '{ p(KERN_ERR "a"); p(         fmt("a")); }'),
    ('{ p("a" TEXT(b) "c" D); }', '{ p("a" TEXT_b_ "c" D); }'),
]  # fmt: skip


def checked(text: bytes) -> Blanked:
    """Blank text, and check that nothing moved."""
    done = blank(text)
    assert len(done.text) == len(text)
    assert [n for n, byte in enumerate(done.text) if byte == 10] == [
        n for n, byte in enumerate(text) if byte == 10
    ]
    for start in done.loops:
        assert done.text[start : start + 5] == b"while"
    return done


@pytest.mark.parametrize(("text", "becomes"), CASES)
def test_text_is_put_in_other_words(text: str, becomes: str) -> None:
    assert checked(text.encode()).text.decode() == (becomes or text)


def test_macros_before_blocks_are_told() -> None:
    done = checked(
        b"{ for_each_cpu(a) for_each_vcpu(b, c) { d(); } scoped_guard(e) f(); scoped_cond_guard(g, h) i(); }"
    )
    assert list(done.loops.values()) == ["for_each_cpu", "for_each_vcpu", "scoped_guard", "scoped_guard"]
    assert list(done.loops) == [2, 18, 47, 68]


def test_labels_of_assembly_are_told() -> None:
    done = checked(
        b'{ asm goto("1:" : : "r"(a ? b : c) : "cc" : d, e); asm_volatile_goto("" :::: f); asm("" : : ); }'
    )
    assert done.asm_gotos == {2: ("d", "e"), 51: ("f",)}
    assert done.text[51:].startswith(b"asm goto         (")
    assert checked(b'{ asm goto("1:"); }').asm_gotos == {2: ()}


def test_ranges_are_told() -> None:
    done = checked(b"{ case 1 ... 2: case A(0) ...\n B: ; }")
    assert sorted(done.ranges) == [9, 26]


@pytest.mark.parametrize(
    "text",
    [
        "{ asm(a; }",
        "{ typeof(a; }",
        "{ for_each_x(a; }",
        "{ a_b_c(",
        "{ __aligned(",
        "{ f(g, struct a, ",
        "{ ,int, }",
    ],
)
def test_parentheses_that_do_not_close_are_left_alone(text: str) -> None:
    checked(text.encode())


def test_nothing_moves_in_any_text() -> None:
    """Pieces of the cases, torn and put together anew, keep their length and their lines."""
    chance = random.Random(6)
    whole = "\n".join(text for text, _ in CASES)
    for _ in range(2000):
        pieces = []
        for _ in range(chance.randrange(1, 6)):
            start = chance.randrange(len(whole))
            pieces.append(whole[start : start + chance.randrange(40)])
        text = "".join(pieces)
        checked(text.encode())
        assert len(uncommented(text.encode())) == len(masked(text.encode())) == len(text)


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_comment_goes_on_behind_a_backslash(end: str) -> None:
    """A comment to the end of the line takes the next line with it, as the compiler does."""
    text = f"a; // b\\c \\{end} d;{end}e;"
    assert uncommented(text.encode()).split() == [b"a;", b"\x01", b"e;"]
    assert uncommented(text.encode()).count(b"\n") == 2
    assert uncommented(b"a; // b \\").split() == [b"a;", b"\\"]


def test_a_head_without_its_attributes() -> None:
    assert plain(b"static __printf(1, 2) noinline int __init f(void)") == (
        b"static                         int        f(void)"
    )


def test_text_is_split_outside_of_brackets() -> None:
    text = b"(a, (b, c), {d, e}, [f, g])"
    assert [text[slice(*piece)] for piece in split(text, 1, len(text) - 1)] == [
        b"a",
        b" (b, c)",
        b" {d, e}",
        b" [f, g]",
    ]
    assert closing(text, 0) == len(text) - 1
    assert closing(b"((", 0) == 2
