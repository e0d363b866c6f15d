# SPDX-License-Identifier: GPL-2.0-only
"""The model against the C text of real kernels: each function that it mirrors, at every fault."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from tree.kernel_source import kernel_tree

from kvm_ref import backend as backends
from kvm_ref.tree.audit import Audit, Audited, Files
from kvm_ref.tree.check import Assumed, Check, configuration
from kvm_ref.tree.result import Checked, another_design, checked
from kvm_ref.tree.source import File, Tree
from kvm_ref.vocabulary import Facts, declared

BACKENDS = ("arm64", "loongarch", "mips", "riscv", "s390", "x86-svm", "x86-vmx")

# The ladders and functions that must be among those compared, by backend (6.12.117).
COMMON = {
    "kvm_init", "kvm_create_vm", "kvm_destroy_vm", "kvm_dev_ioctl_create_vm", "kvm_create_vm_debugfs",
    "_cpu_up", "_cpu_down", "misc_register",
}  # fmt: skip
GENERIC = {
    "kvm_enable_virtualization", "kvm_disable_virtualization", "__cpuhp_setup_state_cpuslocked",
    "__cpuhp_remove_state_cpuslocked", "syscore_suspend",
}  # fmt: skip
X86 = {
    "kvm_x86_vendor_init", "kvm_arch_enable_virtualization_cpu", "kvm_arch_init_vm", "kvm_mmu_vendor_module_init",
}  # fmt: skip
OWN = {
    "x86-vmx": GENERIC | X86 | {
        "kvm_exit", "vmx_init", "vmx_hardware_setup", "alloc_kvm_area", "nested_vmx_hardware_setup",
        "vmx_enable_virtualization_cpu", "kvm_cpu_vmxon",
    },
    "x86-svm": GENERIC | X86 | {
        "kvm_exit", "svm_init", "svm_hardware_setup", "svm_cpu_init", "svm_enable_virtualization_cpu",
    },
    "arm64": GENERIC | {
        "kvm_arm_init", "init_hyp_mode", "init_subsystems", "kvm_hyp_init_protection", "kvm_vgic_hyp_init",
        "kvm_timer_hyp_init",
    },
    "riscv": GENERIC | {"kvm_exit", "riscv_kvm_init", "kvm_riscv_aia_init", "aia_hgei_init"},
    "loongarch": GENERIC | {"kvm_exit", "kvm_loongarch_init", "kvm_loongarch_env_init"},
    "mips": GENERIC | {
        "kvm_exit", "kvm_mips_init", "kvm_mips_emulation_init", "kvm_vz_enable_virtualization_cpu",
    },
    "s390": {"kvm_exit", "kvm_s390_init", "__kvm_s390_init"},
}  # fmt: skip


@pytest.fixture(scope="module")
def tree() -> Tree:
    return Tree(kernel_tree())


def held(tree: Tree, name: str, *wanted: str) -> Checked:
    backend = backends.load(name)
    return checked(Check(tree, backend, configuration(backend)), wanted)


@pytest.mark.parametrize("name", BACKENDS)
def test_text_and_model_agree(tree: Tree, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Each function does in C what it does in the model, at every fault: n of n."""
    one = held(tree, name)
    differing = [f"{h.name}: {p.difference}" for h in one.held for p in h.parted]
    assert differing == []
    assert [h.error for h in one.held if h.error] == []
    assert one.missing == ()
    assert OWN[name] | COMMON <= {h.name for h in one.held}
    assert one.equal
    assert one.defects == ()
    cases = sum(h.cases for h in one.held)
    with capsys.disabled():
        print(f"\n{name}: {sum(h.equal for h in one.held)} of {cases} cases, {len(one.held)} functions")


class Changed(Tree):
    """A tree with one file changed in memory."""

    def __init__(self, other: Tree, path: str, change: Callable[[bytes], bytes]) -> None:
        super().__init__(other.root)
        self._texts[path] = change(other.text(path))


def replaced(old: str, new: str) -> Callable[[bytes], bytes]:
    def change(text: bytes) -> bytes:
        assert text.count(old.encode()) == 1
        return text.replace(old.encode(), new.encode())

    return change


MAIN = "virt/kvm/kvm_main.c"


def test_an_upstream_commit_is_recognised(tree: Tree) -> None:
    """A tree that removes the debugfs directory has b31e7c24b475, and no other difference."""
    mended = Changed(
        tree, MAIN, replaced("err_vfio:\n", "err_vfio:\n\tdebugfs_remove_recursive(kvm_debugfs_dir);\n")
    )
    one = held(mended, "x86-svm", "kvm_init")
    assert [(commit.hash, has) for commit, has in one.commits] == [("b31e7c24b475", True)]
    assert one.equal
    assert one.defects == ()


ARM = "arch/arm64/kvm/arm.c"
PAGES = "kvm_nvhe_sym(kvm_arm_hyp_percpu_base)[cpu]"


def frees_pages_last(text: bytes) -> bytes:
    free = f"\t\tfree_pages({PAGES}, nvhe_percpu_order());\n"
    text = replaced(free, f"\t\tif (!{PAGES})\n\t\t\tcontinue;\n")(text)
    room = "pkvm_host_sve_state_order());\n\t\t}\n"
    return replaced(room, room + free)(text)


def keeps_pages_in_use(text: bytes) -> bytes:
    mine = "__this_cpu_read(kvm_hyp_initialized)) {\n\t\tcpu_hyp_reset"
    text = replaced(mine, f"!is_protected_kvm_enabled() && {mine}")(text)
    free = "\t\tfree_page(per_cpu(kvm_arm_hyp_stack_page, cpu));\n"
    return replaced(free, "\t\tif (per_cpu(kvm_hyp_initialized, cpu))\n\t\t\tcontinue;\n" + free)(text)


def destroys_stage2(text: bytes) -> bytes:
    then = "\tkvm_destroy_mpidr_data(kvm);\n\n\tkfree("
    return replaced(then, "\tkvm_uninit_stage2_mmu(kvm);\n" + then)(text)


@pytest.mark.parametrize(
    ("name", "changes", "commits"),
    [
        ("teardown_hyp_mode", (frees_pages_last,), ["9a2b9416fd1d"]),
        ("kvm_arch_destroy_vm", (destroys_stage2,), ["a3ca3bfd01b7"]),
        # What 0e02219f9cf4 adds are conditions on what a CPU has: the text allows both, so it is not told.
        ("teardown_hyp_mode", (keeps_pages_in_use,), []),
        ("cpu_hyp_uninit", (keeps_pages_in_use,), []),
        ("teardown_hyp_mode", (frees_pages_last, keeps_pages_in_use), ["9a2b9416fd1d"]),
    ],
)
def test_the_commits_of_arm64(
    tree: Tree, name: str, changes: tuple[Callable[[bytes], bytes], ...], commits: list[str]
) -> None:
    """A tree with such a change has the commit if that can be told, and no other difference."""
    mended = tree
    for change in changes:
        mended = Changed(mended, ARM, change)
    one = held(mended, "arm64", name)
    assert [(commit.hash, has) for commit, has in one.commits] == [(commit, True) for commit in commits]
    assert one.equal
    assert one.defects == ()


@pytest.mark.parametrize("name", ["teardown_hyp_mode", "kvm_arch_destroy_vm", "cpu_hyp_uninit"])
def test_without_them_there_is_nothing_to_say(tree: Tree, name: str) -> None:
    """The text of 6.12.117 has none of them."""
    one = held(tree, "arm64", name)
    assert one.commits == ()
    assert one.equal


def line_of(tree: Tree, text: str) -> int:
    return tree.text(MAIN).split(text.encode())[0].count(b"\n") + 1


MISC = "drivers/char/misc.c"
SVM = "arch/x86/kvm/svm/svm.c"


def renamed(*names: str) -> Callable[[bytes], bytes]:
    def change(text: bytes) -> bytes:
        for name in names:
            text = text.replace(b"err_" + name.encode(), b"out_no_" + name.encode())
        return text

    return change


def together(*changes: Callable[[bytes], bytes]) -> Callable[[bytes], bytes]:
    def change(text: bytes) -> bytes:
        for one in changes:
            text = one(text)
        return text

    return change


FREES = together(
    replaced(
        "\tstruct page *save_area_page;\n\tint ret = -ENOMEM;\n",
        "\tstruct page *save_area_page __free(__free_page) = NULL;\n\tint ret = -ENOMEM;\n",
    ),
    replaced("\tif (ret)\n\t\tgoto free_save_area;", "\tif (ret)\n\t\treturn ret;"),
    replaced("free_save_area:\n\t__free_page(save_area_page);\n\treturn ret;\n", ""),
)


@pytest.mark.parametrize(
    ("path", "name", "change"),
    [
        (MAIN, "kvm_init", renamed("vfio")),
        (MAIN, "kvm_init", renamed("register", "virt", "vfio", "async_pf", "irqfd", "cpu_kick_mask")),
        # A label that stands where another does is gone.
        (
            MAIN,
            "kvm_init",
            together(
                replaced("\t\tgoto err_irqfd;", "\t\tgoto err_cpu_kick_mask;"),
                replaced("err_irqfd:\nerr_cpu_kick_mask:", "err_cpu_kick_mask:"),
            ),
        ),
        # What unlocks and frees by itself needs no label.
        (
            MISC,
            "misc_register",
            together(
                replaced("\tmutex_lock(&misc_mtx);\n\n\tif (is_d", "\tguard(mutex)(&misc_mtx);\n\n\tif (is_d"),
                replaced(" out:\n\tmutex_unlock(&misc_mtx);\n\treturn err;", "\treturn err;"),
                lambda text: text.replace(b"goto out;", b"return err;"),
            ),
        ),
        (
            SVM,
            "svm_cpu_init",
            together(FREES, replaced("__sme_page_pa(save_area_page);\n\treturn 0;",
                                     "__sme_page_pa(no_free_ptr(save_area_page));\n\treturn 0;")),
        ),
        # A condition that is written the other way round.
        (MAIN, "kvm_init", replaced("\tif (WARN_ON_ONCE(r))\n", "\tif (WARN_ON_ONCE(r != 0))\n")),
    ],
)  # fmt: skip
def test_a_ladder_in_other_words(tree: Tree, path: str, name: str, change: Callable[[bytes], bytes]) -> None:
    """Labels by other names, or none, and what frees by itself, do the same: nothing is said."""
    one = held(Changed(tree, path, change), "x86-svm", name)
    assert one.equal
    assert one.defects == ()


@pytest.mark.parametrize(
    ("path", "name", "change", "rule", "line"),
    [
        # A label by another name, and its undo lost.
        (
            MAIN,
            "kvm_init",
            together(renamed("irqfd"), replaced("err_async_pf:\n\tkvm_irqfd_exit();\n", "err_async_pf:\n")),
            "leak",
            "\t\tgoto err_async_pf;",
        ),
        # CPUs that are not online keep what they have.
        (
            MAIN,
            "kvm_init",
            replaced("err_cpu_kick_mask:\n\tfor_each_possible_cpu(", "err_cpu_kick_mask:\n\tfor_each_online_cpu("),
            "differs",
            "\tfor_each_online_cpu(cpu)\n\t\tfree",
        ),
        # A pointer that was cleared before it is freed.
        (
            "virt/kvm/async_pf.c",
            "kvm_async_pf_deinit",
            replaced("\tkmem_cache_destroy(async_pf_cache);\n\tasync_pf_cache = NULL;",
                     "\tasync_pf_cache = NULL;\n\tkmem_cache_destroy(async_pf_cache);"),
            "differs",
            "\tkmem_cache_destroy(async_pf_cache);\n}",
        ),
        # Another hotplug state.
        (
            MAIN,
            "kvm_enable_virtualization",
            replaced("\tcpuhp_remove_state(CPUHP_AP_KVM_ONLINE);\nerr_cpuhp:",
                     "\tcpuhp_remove_state(CPUHP_AP_ONLINE_DYN);\nerr_cpuhp:"),
            "differs",
            "\tcpuhp_remove_state(CPUHP_AP_ONLINE_DYN);\nerr_cpuhp:",
        ),
        # A new step that gives up without an error.
        (
            MAIN,
            "kvm_create_vm",
            replaced("\tmutex_lock(&kvm_lock);\n\tlist_add(&kvm->vm_list",
                     "\tif (list_empty(&vm_list))\n\t\tgoto out_err_no_debugfs;\n"
                     "\tmutex_lock(&kvm_lock);\n\tlist_add(&kvm->vm_list"),
            "success-after-unwind",
            "\t\tgoto out_err_no_debugfs;\n\tmutex",
        ),
        # What frees by itself, and is not taken from there.
        (SVM, "svm_cpu_init", FREES, "differs", "\treturn 0;\n\n\n}\n\nstatic void set_dr_intercepts"),
    ],
)  # fmt: skip
def test_what_a_reviewer_would_find(
    tree: Tree, path: str, name: str, change: Callable[[bytes], bytes], rule: str, line: str
) -> None:
    """Each is found, with the rule and in the line."""
    changed = Changed(tree, path, change)
    one = held(changed, "x86-svm", name)
    assert not one.equal
    at = changed.text(path).split(line.encode())[0].count(b"\n") + 1
    assert (rule, path, at) in [(d.rule, d.at.path, d.at.line) for d in one.defects]


def test_a_condition_and_its_contrary(tree: Tree) -> None:
    """What was done for more than 0 interrupts is not undone for 0 or less."""
    change = replaced(
        "ptimer_irq:\n\tif (info->physical_irq > 0)", "ptimer_irq:\n\tif (info->physical_irq <= 0)"
    )
    one = held(Changed(tree, "arch/arm64/kvm/arch_timer.c", change), "arm64", "kvm_timer_hyp_init")
    assert not one.equal


def test_a_macro_that_jumps_is_not_followed(tree: Tree) -> None:
    """Who hides a goto in a macro is told so, instead of something that is not there."""
    macro = "\n#define GOTO_IF(r, l) do { if (r) goto l; } while (0)\nint kvm_init(unsigned"
    change = together(
        replaced("\nint kvm_init(unsigned", macro),
        replaced("\tif (r)\n\t\tgoto err_irqfd;", "\tGOTO_IF(r, err_irqfd);"),
    )
    changed = Changed(tree, MAIN, change)
    (one,) = held(changed, "x86-svm", "kvm_init").held
    at = line_of(changed, "\tGOTO_IF(r")
    assert one.error == f"{MAIN}:{at}: cannot read kvm_init(): GOTO_IF() is a macro that jumps or returns"


def test_a_tree_with_a_commit_is_not_said_to_be_without_it(tree: Tree) -> None:
    """A way out that forgets the unlock is no sign that enable_virt_at_load is not there."""
    change = together(
        replaced("\tguard(mutex)(&kvm_usage_lock);\n\n\tif (kvm_usage_count++)",
                 "\tmutex_lock(&kvm_usage_lock);\n\n\tif (kvm_usage_count++)"),
        replaced("\t\tgoto err_rebooting;\n\t}\n\n\treturn 0;",
                 "\t\tgoto err_rebooting;\n\t}\n\n\tmutex_unlock(&kvm_usage_lock);\n\treturn 0;"),
        replaced("\t--kvm_usage_count;\n\treturn r;",
                 "\t--kvm_usage_count;\n\tmutex_unlock(&kvm_usage_lock);\n\treturn r;"),
    )  # fmt: skip
    one = held(Changed(tree, MAIN, change), "x86-svm", "kvm_enable_virtualization")
    assert one.commits == ()
    assert [held.equal for held in one.held] != [held.cases for held in one.held]
    assert "lock-held" in {defect.rule for defect in one.defects}


def test_a_lost_undo_is_a_leak(tree: Tree) -> None:
    """Without kvm_irqfd_exit() the workqueue is lost: where it was acquired, what failed, the label."""
    changed = Changed(tree, MAIN, replaced("\tkvm_irqfd_exit();\nerr_irqfd:", "err_irqfd:"))
    one = held(changed, "x86-svm", "kvm_init")
    leaks = [d for d in one.defects if d.rule == "leak" and d.message.startswith("workqueue")]
    assert leaks
    assert leaks[0].flow[0].text == "alloc_workqueue() acquires it"
    assert leaks[0].at.text == "goto err_async_pf"
    assert leaks[0].at.line == line_of(changed, "\t\tgoto err_async_pf;")


def test_a_wrong_label_is_named(tree: Tree) -> None:
    """A goto that goes one label too far is reported at its own line."""
    changed = Changed(tree, MAIN, replaced("\t\tgoto err_vfio;", "\t\tgoto err_async_pf;"))
    one = held(changed, "x86-svm", "kvm_init")
    (wrong,) = [d for d in one.defects if d.rule == "wrong-label"]
    assert (wrong.at.path, wrong.at.line) == (
        MAIN,
        line_of(changed, "WARN_ON_ONCE(r))\n\t\tgoto err_async_pf") + 1,
    )
    assert "jumps to err_async_pf, the model jumps to err_vfio" in wrong.message


def test_a_new_step_that_jumps_too_low_is_found(tree: Tree) -> None:
    """A step that the model does not know agrees with it; where it jumps to leaks the workqueue."""
    new = "\tr = kvm_new_init();\n\tif (r)\n\t\tgoto err_irqfd;\n\n"
    changed = Changed(
        tree, MAIN, replaced("\tr = kvm_async_pf_init();\n", new + "\tr = kvm_async_pf_init();\n")
    )
    one = held(changed, "x86-svm", "kvm_init")
    assert one.equal
    (leak,) = one.defects
    assert (leak.rule, leak.at.line) == ("leak", line_of(changed, "\t\tgoto err_irqfd;\n\n\tr = kvm_async"))
    assert leak.message.startswith("workqueue ")


def facts() -> dict[str, Facts]:
    for name in BACKENDS:
        backends.load(name)
    out = {facts.name: facts for facts in declared()}
    return out | {facts.former: facts for facts in declared() if facts.former}


def audited(path: str, *names: str) -> list[Audited]:
    return list(Audit(Files([path]), facts(), Assumed({})).all(names))


def test_an_older_design_is_said_to_be_one() -> None:
    """Linux 6.1 has no kvm_enable_virtualization(): nothing is compared."""
    assert another_design(Tree(kernel_tree("6.1"))) == [
        "kvm_init_virtualization", "kvm_enable_virtualization", "kvm_disable_virtualization",
    ]  # fmt: skip


def test_the_present_design_is_known(tree: Tree) -> None:
    """6.12 has it."""
    assert another_design(tree) == []


def test_linux_6_1_forgets_the_syscore_operations() -> None:
    """The audit finds by itself what kvm_init() of 6.1 leaves behind when it fails late, and no more."""
    path = str(kernel_tree("6.1") / MAIN)
    (one,) = audited(path, "kvm_init")
    text = File(MAIN, (kernel_tree("6.1") / MAIN).read_bytes(), Assumed({})).text
    late = [text[: text.index(goto)].count(b"\n") + 1 for goto in (b"goto err_vfio", b"goto err_register")]
    assert [(d.rule, d.message.split(" is ")[0].split()[0], d.at.line) for d in one.defects] == [
        ("leak", "debugfs", late[0]),
        ("leak", "syscore", late[0]),
        ("leak", "debugfs", late[1]),
        ("leak", "syscore", late[1]),
    ]


def test_the_audit_finds_the_directory_of_6_12(tree: Tree) -> None:
    """On 6.12 the three late labels leave the debugfs directory, and nothing else is found."""
    (one,) = audited(str(tree.root / MAIN), "kvm_init")
    assert {(d.rule, d.at.text) for d in one.defects} == {
        ("leak", "goto err_vfio"), ("leak", "goto err_virt"), ("leak", "goto err_register"),
    }  # fmt: skip
    assert all(d.message.startswith("debugfs") for d in one.defects)
