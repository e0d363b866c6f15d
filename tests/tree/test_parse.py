# SPDX-License-Identifier: GPL-2.0-only
"""Syntax trees: every function of KVM has one, and it has the gotos and labels that the text has."""

from __future__ import annotations

import importlib
import sys

import pytest
from tree.kernel_source import kernel_tree

from kvm_ref.misuse import Misuse
from kvm_ref.tree.config import Config
from kvm_ref.tree.parse import Counts, ParseError, line_of, parse, tokens
from kvm_ref.tree.source import File, Function, Tree

# Functions of 6.12: file, gotos, labels in source order, returns; counted by hand.
LADDERS = """
kvm_init | virt/kvm/kvm_main.c | 6 | err_register err_virt err_vfio err_async_pf err_irqfd \
    err_cpu_kick_mask | 3
kvm_exit | virt/kvm/kvm_main.c | 0 |  | 0
kvm_enable_virtualization | virt/kvm/kvm_main.c | 2 | err_rebooting err_cpuhp | 3
kvm_disable_virtualization | virt/kvm/kvm_main.c | 0 |  | 1
kvm_create_vm | virt/kvm/kvm_main.c | 10 | out_err out_err_no_debugfs out_no_coalesced_mmio \
    out_err_no_mmu_notifier out_err_no_disable out_err_no_arch_destroy_vm out_err_no_irq_routing \
    out_err_no_irq_srcu out_err_no_srcu | 3
kvm_destroy_vm | virt/kvm/kvm_main.c | 0 |  | 0
kvm_dev_ioctl_create_vm | virt/kvm/kvm_main.c | 2 | put_kvm put_fd | 3
kvm_create_vm_debugfs | virt/kvm/kvm_main.c | 3 | out_err | 5
kvm_x86_vendor_init | arch/x86/kvm/x86.c | 4 | out_unwind_ops out_mmu_exit out_free_percpu \
    out_free_x86_emulator_cache | 7
kvm_arch_enable_virtualization_cpu | arch/x86/kvm/x86.c | 0 |  | 3
kvm_arch_init_vm | arch/x86/kvm/x86.c | 3 | out_uninit_mmu out_cleanup_page_track out | 3
kvm_mmu_vendor_module_init | arch/x86/kvm/mmu/mmu.c | 4 | out_shrinker out | 2
vmx_init | arch/x86/kvm/vmx/vmx.c | 2 | err_kvm_init err_l1d_flush | 4
vmx_hardware_setup | arch/x86/kvm/vmx/vmx.c | 0 |  | 5
alloc_kvm_area | arch/x86/kvm/vmx/vmx.c | 0 |  | 2
nested_vmx_hardware_setup | arch/x86/kvm/vmx/nested.c | 0 |  | 2
vmx_enable_virtualization_cpu | arch/x86/kvm/vmx/vmx.c | 0 |  | 4
kvm_cpu_vmxon | arch/x86/kvm/vmx/vmx.c | 0 | fault | 2
svm_init | arch/x86/kvm/svm/svm.c | 1 | err_kvm_init | 4
svm_hardware_setup | arch/x86/kvm/svm/svm.c | 1 | err | 4
svm_cpu_init | arch/x86/kvm/svm/svm.c | 1 | free_save_area | 3
svm_enable_virtualization_cpu | arch/x86/kvm/svm/svm.c | 0 |  | 2
kvm_arm_init | arch/arm64/kvm/arm.c | 4 | out_subs out_hyp out_err | 8
init_hyp_mode | arch/arm64/kvm/arm.c | 14 | out_err | 2
init_subsystems | arch/arm64/kvm/arm.c | 2 | out | 1
kvm_hyp_init_protection | arch/arm64/kvm/arm.c | 0 |  | 3
kvm_vgic_hyp_init | arch/arm64/kvm/vgic/vgic-init.c | 0 |  | 6
kvm_timer_hyp_init | arch/arm64/kvm/arch_timer.c | 4 | out_free_ptimer_irq out_free_vtimer_irq | 5
riscv_kvm_init | arch/riscv/kvm/main.c | 0 |  | 7
kvm_riscv_aia_init | arch/riscv/kvm/aia.c | 0 |  | 4
aia_hgei_init | arch/riscv/kvm/aia.c | 0 |  | 4
kvm_loongarch_init | arch/loongarch/kvm/main.c | 0 |  | 3
kvm_loongarch_env_init | arch/loongarch/kvm/main.c | 0 |  | 3
kvm_mips_init | arch/mips/kvm/mips.c | 0 |  | 5
kvm_mips_emulation_init | arch/mips/kvm/vz.c | 0 |  | 3
kvm_vz_enable_virtualization_cpu | arch/mips/kvm/vz.c | 0 |  | 2
kvm_s390_init | arch/s390/kvm/kvm-s390.c | 0 |  | 5
__kvm_s390_init | arch/s390/kvm/kvm-s390.c | 5 | err_gib err_pci err_flic err_debug_view err_kvm_uv | 3
__cpuhp_setup_state_cpuslocked | kernel/cpu.c | 2 | out | 3
__cpuhp_remove_state_cpuslocked | kernel/cpu.c | 2 | remove | 0
_cpu_up | kernel/cpu.c | 4 | out | 1
_cpu_down | kernel/cpu.c | 2 | out | 3
syscore_suspend | drivers/base/syscore.c | 1 | err_out | 3
misc_register | drivers/char/misc.c | 4 | out | 1
"""

# KVM of all architectures, and what it stands on.
FILES = (
    "virt/kvm/*.c",
    *(f"arch/{name}/kvm/**/*.c" for name in ("x86", "arm64", "riscv", "loongarch", "mips", "s390")),
    *(
        "kernel/cpu.c",
        "kernel/reboot.c",
        "kernel/power/suspend.c",
        "drivers/base/syscore.c",
        "drivers/char/misc.c",
    ),
)
# Functions that consist of macros which hide whole cases of a switch.
UNREADABLE = {f"imsic_eix_{name}" for name in ("read", "write", "set", "swap")}


def function(body: str) -> Function:
    found = File("a.c", f"\nint f(int a)\n{{{body}}}\n".encode(), Config({})).function("f")
    assert found
    return found


def test_the_body_has_a_tree() -> None:
    parsed = parse(function("\n\tint b = a;\n\tfor_each_cpu(a) {\n\t\tb++;\n\t}\n\treturn b;\n"))
    assert parsed.body.type == "compound_statement"
    assert parsed.body.start_byte == parsed.function.text.index(b"{")
    assert parsed.node.type == "translation_unit"
    first, loop, last = parsed.body.named_children
    assert (first.type, loop.type, last.type) == ("declaration", "while_statement", "return_statement")
    assert parsed.loops == {loop.start_byte: "for_each_cpu"}
    assert [line_of(parsed, node) for node in (parsed.body, first, loop, last)] == [3, 4, 5, 8]
    assert len(parsed.source) == len(parsed.function.text)


def test_labels_of_assembly_belong_to_its_statement() -> None:
    parsed = parse(function(' asm goto("1:" : : "r"(a) : : bad); case_a: return 0; bad: return 1; '))
    statement = parsed.body.named_children[0].named_children[0]
    assert statement.type == "gnu_asm_expression"
    assert parsed.asm_gotos == {statement.start_byte: ("bad",)}
    assert parse(function(" switch (a) { case 1 ... 3: return 0; } ")).ranges


@pytest.mark.parametrize(
    ("body", "counts"),
    [
        ("", Counts((), (), 0)),
        (" s(\"goto x; y: return\"); c(':'); ", Counts((), (), 0)),
        (" if (a) goto x; return 1; x: y: return 2; ", Counts(("x",), ("x", "y"), 2)),
        (" switch (a) { case B: c: goto d; default: _d: e(a ? f : g); } ", Counts(("d",), ("c", "_d"), 0)),
        (" switch (a) { case B ? C : D: default: x(); } l: ; ", Counts((), ("l",), 0)),
        (' asm goto("goto z;" : [o] "=r" (a) : "i" (b) : : x); if (a) x: b(); ', Counts((), ("x",), 0)),
        (" if (a) b(); else l: c(); a = ({ m: b; }); ", Counts((), ("l", "m"), 0)),
        (" struct { int b: 1, :2; } c; d[1 ? 2 : 3] = a ? b ? 1 : (u8) e : f; g: ; ", Counts((), ("g",), 0)),
        (" ) ] 1: ; x: ; ", Counts((), (), 0)),
    ],
)
def test_gotos_and_labels_are_counted_by_tokens(body: str, counts: Counts) -> None:
    assert tokens(function(body)) == counts


@pytest.mark.parametrize(
    ("body", "line", "says"),
    [
        ("\n\n\tb = = 1;\n", 5, "a.c:5: cannot read f() at '= 1;'"),
        ("\n\tb(;\n", 4, "a.c:4: cannot read f() at"),
        ("\n g(a) { }\n", 4, "a.c:4: g() before a block in f() is not known"),
    ],
)
def test_what_the_grammar_does_not_take_is_refused(body: str, line: int, says: str) -> None:
    with pytest.raises(ParseError) as refused:
        parse(function(body))
    assert says in str(refused.value)
    assert "\n" not in str(refused.value)
    assert refused.value.line == line


def test_a_tree_that_differs_from_the_text_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kvm_ref.tree.parse.tokens", lambda _: Counts(("x", "y"), (), 0))
    with pytest.raises(ParseError) as refused:
        parse(function(" goto x; "))
    assert str(refused.value) == "a.c:2: f() has the gotos x, y, but was read with x"
    monkeypatch.setattr("kvm_ref.tree.parse.tokens", lambda _: Counts((), (), 0))
    with pytest.raises(ParseError, match="has the labels none, but was read with x"):
        parse(function(" x: ; "))


def test_without_tree_sitter_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tree_sitter", None)
    monkeypatch.delitem(sys.modules, "kvm_ref.tree.parse")
    with pytest.raises(Misuse) as refused:
        importlib.import_module("kvm_ref.tree.parse")
    assert str(refused.value) == "reading C needs tree-sitter: pip install 'kvm-ref[tree]'"


def test_the_ladders_are_those_of_the_kernel() -> None:
    tree, config = Tree(kernel_tree()), Config({})
    for row in LADDERS.strip().splitlines():
        name, path, gotos, labels, returns = (" ".join(cell.split()) for cell in row.split("|"))
        found = tree.file(path, config).function(name)
        assert found, name
        counts = tokens(found)
        assert (len(counts.gotos), " ".join(counts.labels), counts.returns) == (
            int(gotos),
            labels,
            int(returns),
        ), name
        parse(found)


def test_the_jump_of_vmxon_is_one_of_assembly() -> None:
    found = Tree(kernel_tree()).file("arch/x86/kvm/vmx/vmx.c", Config({})).function("kvm_cpu_vmxon")
    assert found
    assert list(parse(found).asm_gotos.values()) == [("fault",)]


@pytest.mark.parametrize("default", [True, False])
@pytest.mark.parametrize("version", ["6.12", "6.1"])
def test_every_function_of_kvm_is_read(version: str, default: bool) -> None:
    tree = Tree(kernel_tree(version))
    unreadable, count = [], 0
    for path in sorted(p for pattern in FILES for p in tree.root.glob(pattern)):
        file = tree.file(str(path.relative_to(tree.root)), Config({}, default))
        for name in file.functions():
            found = file.function(name)
            assert found
            count += 1
            try:
                parse(found)
            except ParseError:
                unreadable.append(name)
    assert set(unreadable) <= UNREADABLE
    assert count > 4000
