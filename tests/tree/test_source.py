# SPDX-License-Identifier: GPL-2.0-only
"""Kernel trees and their C files: what is defined there, and what is refused."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from tree.kernel_source import kernel_tree

from kvm_ref.misuse import Misuse
from kvm_ref.tree.config import Config
from kvm_ref.tree.source import File, Function, Tree


def c(text: str, config: Config | None = None) -> File:
    return File("a.c", text.encode(), config or Config({}))


def one(text: str, name: str = "f") -> Function:
    found = c(text).function(name)
    assert found
    return found


@pytest.mark.parametrize(
    ("head", "name", "returns", "params"),
    [
        ("static int f(void)\n", "f", "int", ()),
        ("int f()", "f", "int", ()),
        ("static int __init f(struct kvm *kvm, unsigned long b[], ...)\n", "f", "int", ("kvm", "b")),
        ("struct kvm *f(int (*test)(int a, int b), char **argv)\n", "f", "struct kvm *", ("test", "argv")),
        ("static inline struct a\n**f(int *, int,\n\tint c)\n", "f", "struct a **", ("", "", "c")),
        ("const char * const * f(const u8 x[2][3])", "f", "const char *const *", ("x",)),
        ("static __printf(1, 2) noinline __always_inline\nbool f(const char *a, ...)\n", "f", "bool", ("a",)),
        ("void f(int a) __must_hold(&a->lock) __acquires(b(c))\n", "f", "void", ("a",)),
        ("void __printf(1, 2) f(int __user *a __maybe_unused)\n", "f", "void", ("a",)),
        ("module_init(g)\nAN_UPPER(x, (y))\nint f(int a)\n", "f", "int", ("a",)),
        ("f(a)\n", "f", "int", ("",)),
        ("SYSCALL_DEFINE2(f, int, a, char __user *, b)\n", "SYSCALL_DEFINE2:f", "long", ("a", "b")),
        ("DEFINE_ENTRY(f)\n", "DEFINE_ENTRY:f", "int", ("",)),
    ],
)
def test_a_definition_is_found(head: str, name: str, returns: str, params: tuple[str, ...]) -> None:
    file = c(f"int x;\n\n/* f */\n{head}{{\n\treturn '}}' + \"}}\";\n}}\n\nint y;\n")
    assert file.functions() == [name]
    found = file.function(name)
    assert found
    assert (found.name, found.path, found.returns, found.params) == (name, "a.c", returns, params)
    assert found.text.startswith(head.encode() + b"{") or head.startswith("module_init")
    assert found.text.endswith(b"}")
    assert file.text.split(b"\n")[found.line - 1] == found.text.split(b"\n")[0]


def test_what_is_no_definition() -> None:
    file = c(
        "int f(void);\nstatic DEFINE_MUTEX(g);\nstruct s { int (*h)(int); };\n"
        "static struct s t = { .h = h };\nint a[] = { F(1) };\n#define k(x) { }\nenum { A, B };\n"
        "int (*l(void))(int)\n{\n}\nMACRO(1 + 1)\n{\n}\nstatic inline int m(void) { return 0; }\n"
    )
    assert file.functions() == ["m"]
    assert file.function("f") is None


def test_the_active_definition_is_taken() -> None:
    text = "#ifdef CONFIG_A\nint f(int a)\n{\n\t/* { */\n}\n#else\nint f(int b)\n{\n\tg(); // }\n}\n#endif\n"
    assert c(text, Config({"CONFIG_A": True})).function("f") == Function(
        "f", "a.c", 2, b"int f(int a)\n{\n\t       \n}", b"int f(int a)\n{\n\t/* { */\n}", ("a",), "int"
    )
    found = c(text, Config({"CONFIG_A": False})).function("f")
    assert found
    assert (found.line, found.params) == (7, ("b",))
    assert "raw=" not in repr(found)


def test_definitions_on_one_line_are_told_apart() -> None:
    text = "int f(void) { return 1; } int g(void) { return 2; }"
    assert one(text, "g").text == b" int g(void) { return 2; }"
    assert one(text).text == b"int f(void) { return 1; }"
    assert c("int f(int a) { }\nint f(int b) { }").functions() == ["f"]


def test_members_that_are_set_to_names_are_told() -> None:
    file = c(
        "static struct ops vt = {\n\t.setup = vt_setup,\n\t.init = &vt_init, .size = sizeof(x), .n = 1,\n"
        "\t.none = NULL,\n\t.sub.setup = other\n};\nint f(void)\n{\n\tstruct a b = { .setup = inner };\n}\n"
    )
    assert file.initializers() == {"setup": [("vt_setup", 2), ("other", 5)], "init": [("vt_init", 3)]}


def test_variables_are_told() -> None:
    file = c("""
        static int count;
        bool at_load = true;
        static bool __ro_after_init off = false, on = (1), *where = NULL;
        u64 mask __read_mostly = 0x10ULL;
        static long less = - 0x1L;
        int worked_out = 1 << 3;
        static struct kvm_dev dev = { .minor = 1 };
        static struct list *head;
        static unsigned int table[4], number;
        static struct { int a; } inner;
        static DEFINE_PER_CPU(struct vmcs *, area);
        DEFINE_PER_CPU_READ_MOSTLY(int, which) = -1;
        typedef int no_variable;
        extern int elsewhere;
        struct only;
        int prototype(void);
        static DEFINE_MUTEX(lock);
        module_param(at_load, bool, 0444);
        enum { A };
        int f(void) { static int local; }
        int last
        ;
    """)
    assert file.statics() == {
        "count": 0,
        "at_load": 1,
        "off": 0,
        "on": 1,
        "where": 0,
        "mask": 16,
        "less": -1,
        "worked_out": None,
        "dev": None,
        "head": 0,
        "table": None,
        "number": 0,
        "inner": 0,
        "area": 0,
        "which": -1,
        "last": 0,
    }


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("int a;\nint f(void)\n{\n\tif (a) {\n\t}\n\ta = 1;\n", "a.c:6: cut off inside f()"),
        ("\nstruct a {\n\tint b;\n", "a.c:3: cut off inside the braces of line 2"),
        ("int f(void)\n{\n}\n}\n", "a.c:4: a } that closes nothing"),
        ("int f(void) { }\n/* half\n", "a.c:2: cut off inside a comment"),
        ("int f(void) { }\nstatic int\n", "a.c:2: cut off inside a declaration"),
        ("int a;\n\ng(int b,\n", "a.c:3: cut off inside a declaration"),
        ("#if 1\n", "a.c:1: #if without #endif: is the file cut off?"),
    ],
)
def test_a_file_that_is_cut_off_is_refused(text: str, says: str) -> None:
    for look in (File.functions, File.initializers, File.statics):
        with pytest.raises(Misuse) as refused:
            look(c(text))
        assert str(refused.value) == says


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "Makefile").write_text(
        "# SPDX\nVERSION = 6\nPATCHLEVEL = 12\nSUBLEVEL = 7\nEXTRAVERSION = -rc1\n"
    )
    (tmp_path / "virt/kvm").mkdir(parents=True)
    (tmp_path / "virt/kvm/kvm_main.c").write_text("int kvm_init(void) { return 0; }\n")
    return tmp_path


def test_a_tree_gives_its_files(root: Path) -> None:
    tree = Tree(str(root))
    assert (tree.root, tree.version) == (root, "6.12.7-rc1")
    path = "virt/kvm/kvm_main.c"
    assert tree.exists(path)
    assert not tree.exists("virt/kvm")
    assert tree.text(path) is tree.text(path)
    assert tree.file(path, Config({})).functions() == ["kvm_init"]
    (root / "Makefile").write_text("VERSION = 7\nPATCHLEVEL = 0\nSUBLEVEL =\nEXTRAVERSION =\n")
    assert Tree(root).version == "7.0"


def test_what_is_no_tree_is_refused(root: Path) -> None:
    def refused(says: str, where: Path = root) -> None:
        with pytest.raises(Misuse, match=says) as error:
            Tree(where)
        assert "\n" not in str(error.value)

    refused("no directory: expected a kernel's source tree", root / "Makefile")
    refused("no directory", root / "absent")
    (root / "virt/kvm").rename(root / "virt/other")
    refused("it has no directory virt/kvm")
    (root / "Makefile").write_bytes(b"VERSION = \xff")
    refused("Makefile: it is no text")
    (root / "Makefile").write_text("all:\n")
    refused("it has no Makefile with VERSION and PATCHLEVEL")
    (root / "Makefile").unlink()
    refused("it has no Makefile with VERSION and PATCHLEVEL")


def test_what_is_no_c_file_is_refused(root: Path) -> None:
    tree = Tree(root)
    here = root / "virt/kvm"
    (here / "loop.c").symlink_to("loop.c")
    (here / "nul.c").write_bytes(b"int\0a;")
    (here / "big.c").touch()
    os.truncate(here / "big.c", 9 << 20)
    os.mkfifo(here / "pipe.c")
    for path, says in {
        "virt/kvm/kvm_mian.c": "kvm_mian.c: there is no such file: did you mean kvm_main.c?",
        "arch/x86/kvm/x86.c": "arch/x86/kvm/x86.c: there is no such file",
        "virt/kvm/loop.c": "Too many levels of symbolic links",
        "virt/kvm/nul.c": "nul.c: no C text: byte 3 is NUL",
        "virt/kvm/big.c": "big.c: enormous: 9 MiB, expected C text of 8 MiB at most",
        "virt/kvm/pipe.c": "pipe.c: no regular file: expected C text",
        "virt/kvm": "no regular file",
        "virt/kvm/kvm_main.c/x": "Not a directory",
        "a\0b": "null byte",
    }.items():
        with pytest.raises(Misuse) as refused:
            tree.text(path)
        assert says in str(refused.value)
        assert "\n" not in str(refused.value)


def test_a_missing_kernel_skips_only_where_one_may(monkeypatch: pytest.MonkeyPatch, root: Path) -> None:
    for variable in ("CI", "KVM_REF_NO_SKIP", "KVM_REF_KERNEL_SOURCE_6_0"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(root))
    with pytest.raises(pytest.skip.Exception, match=r"run tools/kernel-source 6\.0"):
        kernel_tree("6.0")
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match=r"run tools/kernel-source 6\.0"):
        kernel_tree("6.0")
    monkeypatch.setenv("KVM_REF_KERNEL_SOURCE_6_0", str(root))
    assert kernel_tree("6.0") == root


def test_a_real_file_is_read() -> None:
    """Functions, variables and tables of KVM, by hand out of its text."""
    tree = Tree(kernel_tree())
    assert tree.version.startswith("6.12.")
    config = Config({})
    main = tree.file("virt/kvm/kvm_main.c", config)
    assert {"kvm_init", "kvm_exit", "kvm_io_bus_write", "kvm_vcpu_ioctl"} <= set(main.functions())
    assert main.statics()["enable_virt_at_load"] == 1
    assert main.statics()["kvm_usage_count"] == 0
    assert main.statics()["kvm_dev"] is None
    vmx = tree.file("arch/x86/kvm/vmx/main.c", config).initializers()
    assert [name for name, _ in vmx["hardware_setup"]] == ["vmx_hardware_setup"]
    reboot = tree.file("kernel/reboot.c", config)
    found = reboot.function("SYSCALL_DEFINE4:reboot")
    assert found
    assert found.params == ("magic1", "magic2", "cmd", "arg")
    assert found.returns == "long"
