# SPDX-License-Identifier: GPL-2.0-only
"""Programs: functions of several files by name, what pointers reach, and what leads to what."""

from __future__ import annotations

from pathlib import Path

import pytest
from tree.snippets import program, tree

from kvm_ref.misuse import Misuse
from kvm_ref.tree.config import Config
from kvm_ref.tree.expressions import Constant, Variable
from kvm_ref.tree.locks import is_lock, lock_of, name_of, spins
from kvm_ref.tree.operations import Call, Return
from kvm_ref.tree.program import Interest, Program
from kvm_ref.tree.values import Memory, Pointer

X = "virt/kvm/x.c"
Y = "arch/x86/kvm/y.c"
H = "include/linux/x.h"


def only_call(found: Program, name: str = "f") -> Call:
    """Return the only call of a function."""
    code = found.code(name)
    assert code
    (call,) = (op for op in code.operations if isinstance(op, Call))
    return call


def test_functions_of_all_files(tmp_path: Path) -> None:
    """A function is found in the first file that has it; what is not there is passed over."""
    text = {X: "int f(void) { return g(); }", Y: "int f(void) { return h(); }\nint g(void) { return 0; }"}
    found = Program(tree(tmp_path, text), [X, "virt/kvm/none.c", Y], Config({}))
    assert (sorted(found.names()), found.path("f"), found.path("g")) == (["f", "g"], X, Y)
    assert ("f" in found, "h" in found) == (True, False)
    assert only_call(found).name == "g"
    assert found.code("h") is None
    assert found.code("f") is found.code("f")


def test_programs_of_one_tree_share_what_was_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A function is parsed once, and lowered for each program by what that knows."""
    root, config = tree(tmp_path, {X: "int f(void) { return ready; }"}), Config({})
    first = Program(root, [X], config).code("f")
    monkeypatch.setattr("kvm_ref.tree.reader.parse", None)
    second = Program(root, [X], config, spoken=frozenset({"ready"})).code("f")
    assert first
    assert second
    assert (first.calls(), second.calls()) == (set(), {"ready"})


def test_programs_share_a_function_that_means_the_same_to_them(tmp_path: Path) -> None:
    """Names and options that it does not have make no difference; those that it has do."""
    text = {X: "int f(void) { return IS_ENABLED(CONFIG_A) && ready && g; }\nint h(void) { return ready; }"}
    root = tree(tmp_path, text)
    first = Program(root, [X], Config({"CONFIG_B": True}, default=False)).code("f")
    config = Config({"CONFIG_B": True}, default=False)
    same = Program(root, [X], config, spoken=frozenset({"other"}))
    assert same.code("f") is first
    assert config.guessed == {"CONFIG_A"}
    assert Program(root, [X], Config({"CONFIG_A": True})).code("f") is not first
    assert Program(root, [X], config, spoken=frozenset({"ready"})).code("f") is not first


def test_a_name_that_is_a_function_in_one_program_only(tmp_path: Path) -> None:
    """There it is worth a pointer to the function, and in the other program it is a variable."""
    root, config = (
        tree(tmp_path, {X: "int f(void) { return g; }", Y: "int g(void) { return 0; }"}),
        Config({}),
    )
    one, other = Program(root, [X], config).code("f"), Program(root, [X, Y], config).code("f")
    assert one
    assert other
    values = [op.value for code in (one, other) for op in code.operations[:1] if isinstance(op, Return)]
    assert values == [Variable("g", local=False), Constant(Pointer("g"))]


def test_a_macro_stands_for_a_function_that_is_none(tmp_path: Path) -> None:
    """Of a function and a macro the function is taken, of two macros that of the first file."""
    text = {
        X: "#define one(a) g(a)\n#define f(a) h(a)\nint f(int a) { return one(a); }",
        H: "#define one(a) h(a)\n",
    }
    found = program(tmp_path, text)
    assert (only_call(found).name, only_call(found, "one").name) == ("one", "g")
    assert "one" not in found


def test_what_cannot_be_read_is_told(tmp_path: Path) -> None:
    """A function that the grammar does not take is none, and it is known why, and where."""
    found = program(tmp_path, {X: "int f(void)\n{\n\ta = = 1;\n}\n"})
    assert found.code("f") is None
    assert (list(found.errors), found.errors["f"].line) == (["f"], 3)


def test_a_header_may_be_odd_and_a_file_may_not(tmp_path: Path) -> None:
    """A header whose braces do not match is passed over; a C file is refused."""
    assert program(tmp_path, {X: "int f(void) { }", H: "#define A {\nstruct s {\n"}).names() == ["f"]
    with pytest.raises(Misuse, match=r"virt/kvm/x\.c:1"):
        program(tmp_path, {X: "int f(void) {"})


TABLES = {
    X: """
static int one(void) { return 0; }
static int two(void) { return 0; }
static struct ops a = { .open = one, .close = gone };
static struct ops b = { .open = two, .exit = &two };
int f(struct ops *p, int (*fn)(void)) { return %s; }
""",
    Y: "static struct ops c = { .read = one };\nint three(void) { return 0; }\n",
    H: "static struct ops d = { .write = one };\n",
}


@pytest.mark.parametrize(
    ("call", "reached"),
    [
        ("p->open()", {"one", "two"}),
        ("p->exit()", {"two"}),
        ("a.open()", {"one", "two"}),
        ("p->close()", set()),
        ("p->read()", {"one"}),
        ("p->write()", set()),
        ("static_call(kvm_x86_open)()", {"one", "two"}),
        ("fn()", set()),
        ("get()()", set()),
        ("(&one)()", {"one"}),
        ("(p + 1)()", set()),
    ],
)
def test_what_a_call_through_a_pointer_reaches(tmp_path: Path, call: str, reached: set[str]) -> None:
    """A member reaches the functions that the tables of C files set it to, as far as they are there."""
    found = program(tmp_path, {**TABLES, X: TABLES[X] % call}, tables=[Y])
    code = found.code("f")
    assert code
    last = [op for op in code.operations if isinstance(op, Call)][-1]
    assert found.targets(last, Memory(), "0:") == reached
    assert "three" not in found


def test_a_pointer_that_is_known_reaches_what_it_points_to(tmp_path: Path) -> None:
    """What a variable was set to is called, whatever the tables say."""
    found = program(tmp_path, {X: TABLES[X] % "p->open()"})
    memory = Memory()
    memory.store("0:p", Pointer("v"))
    memory.store("v.open", Pointer("one"))
    assert found.targets(only_call(found), memory, "0:") == {"one"}
    memory.store("v.open", Pointer("elsewhere"))
    assert found.targets(only_call(found), memory, "0:") == {"one", "two"}


def test_a_direct_call_has_no_pointer(tmp_path: Path) -> None:
    """A call by name reaches nothing through a pointer."""
    found = program(tmp_path, {X: "int f(void) { return g(); }"})
    assert found.targets(only_call(found), Memory(), "0:") == set()


def test_names_that_are_given(tmp_path: Path) -> None:
    """A name that stands where a value does may be what a pointer points to; headers do not count."""
    text = "int f(int a) { use(one, &two); a = three; s = (struct s) { .x = a ? four : five }; six(); }"
    found = program(tmp_path, {X: text, H: "int h(void) { use(seven); }"})
    assert found.given >= {"one", "two", "three", "four", "five"}
    assert not found.given & {"six", "seven"}


def test_what_variables_start_with(tmp_path: Path) -> None:
    """Numbers are known, and what has no initialiser is 0; of headers nothing is."""
    text = "static int a = 3, b;\nint c = MAX;\nbool d = true;\nstatic int e[2];\n"
    found = program(tmp_path, {X: text, H: "static int h = 1;\n"})
    statics = found.statics if not callable(found.statics) else found.statics()
    assert dict(statics) == {"a": 3, "b": 0, "d": 1}


@pytest.mark.parametrize(
    ("name", "leads"),
    [
        ("direct", True),
        ("through", True),
        ("locks", True),
        ("round", True),
        ("trip", True),
        ("nothing", False),
        ("alone", False),
        ("known", False),
        ("absent", False),
        ("fold", True),
    ],
)
def test_what_leads_to_something_of_interest(tmp_path: Path, name: str, leads: bool) -> None:
    """A function leads to what it calls itself or through others of the text, and to locks."""
    text = """
#define fold(a) known(a)
void direct(void) { known(); }
void through(void) { other(); direct(); }
void locks(void) { mutex_lock(&l); }
void round(int n) { trip(n); }
void trip(int n) { if (n) round(n - 1); known(); }
void nothing(void) { other(); alone(); }
void alone(void) { alone(); }
void known(void) { }
"""
    interest = Interest(program(tmp_path, {X: text}), {"known": 0})
    assert interest.leads(name) == leads
    assert interest.leads(name) == leads


def test_what_leads_nowhere_by_its_looks_is_not_read(tmp_path: Path) -> None:
    """It could not be read, but nobody tries; the options that it asks for count as asked for."""
    text = "void f(void) { if (IS_ENABLED(CONFIG_A)) g(known); }\nvoid g(int a) { a b c; }"
    config = Config({})
    found = Program(tree(tmp_path, {X: text}), [X], config)
    assert not Interest(found, {"known": None}).leads("f")
    assert (found.errors, config.guessed) == ({}, {"CONFIG_A"})
    assert found.code("g") is None
    assert "g" in found.errors


def test_looks_may_deceive(tmp_path: Path) -> None:
    """What looks like a call, and is none when it is read, leads nowhere."""
    text = "void f(int (*known)(void)) { known(); }"
    found = program(tmp_path, {X: text})
    assert found.mentioned("f") >= {"known"}
    assert found.mentioned("none") == set()
    assert not Interest(found, {"known": None}).leads("f")


@pytest.mark.parametrize(
    ("statement", "leads"),
    [
        ("known (1);", True),
        ("g(known);", False),
        ("if (spoken) ;", True),
        ("if (cpu.has_it) ;", True),
        ("if (cpu->has_it) ;", True),
        ("if (cpu.has_not) ;", False),
        ("void *p __free(known) = 0;", True),
        ("void *p __free(other) = 0;", False),
        ("guard(mutex)(&m);", True),
        ("scoped_guard(spinlock, &m) { }", True),
    ],
)
def test_what_a_text_may_call(tmp_path: Path, statement: str, leads: bool) -> None:
    """Calls, functions that are written as a word or a member, and guards, which lock."""
    spoken = frozenset({"spoken", "cpu_has_it"})
    root = tree(tmp_path, {X: f"void f(void) {{ {statement} }}"})
    found = Program(root, [X], Config({}), spoken=spoken)
    assert Interest(found, dict.fromkeys({"known", *spoken})).leads("f") == leads


def test_functions_that_call_each_other_lead_to_the_same(tmp_path: Path) -> None:
    """Whichever of two functions that call each other is asked for first, both lead to what one calls."""
    text = "void a(int n) { known(n); b(n); }\nvoid b(int n) { a(n); }\n"
    for order in (("a", "b"), ("b", "a")):
        interest = Interest(program(tmp_path, {X: text}), {"known": 0})
        assert [interest.leads(name) for name in order] == [True, True]


@pytest.mark.parametrize(
    ("inside", "count"),
    [
        ("other();", 1),
        ("known();", 0),
        ("p->any();", 0),
        ("mutex_lock(&l);", 0),
        ("leads();", 0),
        ("plain();", 1),
    ],
)
def test_conditions_of_no_interest(tmp_path: Path, inside: str, count: int) -> None:
    """A condition makes a difference if it decides about a call of interest, or one through a pointer."""
    text = (
        f"void f(struct s *p) {{ if (p) {{ {inside} }} x(); }}\n"
        "void leads(void) { known(); }\nvoid plain(void) { }\n"
    )
    found = program(tmp_path, {X: text})
    interest = Interest(found, {"known": 0})
    code = found.code("f")
    assert code
    assert len(interest.idle(code)) == count
    assert interest.idle(code) is interest.idle(code)


@pytest.mark.parametrize(
    ("call", "lock"),
    [
        ("mutex_lock(&kvm_lock)", ("lock", "kvm_lock")),
        ("mutex_unlock(&kvm->slots_lock)", ("unlock", "slots_lock")),
        ("down_write(&a->b->c)", ("lock", "c")),
        ("spin_lock_irqsave(&v.lock, flags)", ("lock", "v.lock")),
        ("cpus_read_lock()", ("lock", "cpu_hotplug_lock")),
        ("mmap_write_unlock(mm)", ("unlock", "mmap_lock")),
        ("mutex_lock()", ("lock", "")),
        ("kvm_lock_all(kvm)", None),
    ],
)
def test_locks_have_the_name_of_the_lock(tmp_path: Path, call: str, lock: tuple[str, str] | None) -> None:
    """What a call takes or gives back is called as the structure calls it, or as the kernel does."""
    found = only_call(program(tmp_path, {X: f"void f(void) {{ {call}; }}"}))
    assert lock_of(found, Memory(), "0:") == lock
    assert is_lock(found.name) == (lock is not None)


@pytest.mark.parametrize(
    ("taking", "giving"),
    [
        ("mutex_lock mutex_lock_killable mutex_lock_interruptible mutex_trylock", "mutex_unlock"),
        ("down_read", "up_read"),
        ("down_write down_write_killable", "up_write"),
        ("spin_lock raw_spin_lock", "spin_unlock raw_spin_unlock"),
        ("spin_lock_irq spin_lock_bh", "spin_unlock_irq spin_unlock_bh"),
        ("spin_lock_irqsave raw_spin_lock_irqsave", "spin_unlock_irqrestore raw_spin_unlock_irqrestore"),
        ("read_lock write_lock", "read_unlock write_unlock"),
    ],
)
def test_every_lock_is_given_back_under_its_name(tmp_path: Path, taking: str, giving: str) -> None:
    """What takes a lock and what gives it back name the same one: their first argument."""
    names = [*taking.split(), *giving.split()]
    calls = "".join(f"{name}(&a->the_lock, flags); " for name in names)
    code = program(tmp_path, {X: f"void f(void) {{ {calls} }}"}).code("f")
    assert code
    found = [lock_of(op, Memory(), "0:") for op in code.operations if isinstance(op, Call)]
    kinds = ["lock"] * len(taking.split()) + ["unlock"] * len(giving.split())
    assert found == [(kind, "the_lock") for kind in kinds]


def test_which_locks_spin() -> None:
    """Locks that do not sleep are told by their function's name."""
    names = ("spin_lock", "raw_spin_unlock", "read_lock", "write_unlock", "mutex_lock", "down_read")
    assert [spins(name) for name in names] == [True, True, True, True, False, False]
    assert name_of("kvm->arch.lock") == "arch.lock"
