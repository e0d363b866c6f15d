# SPDX-License-Identifier: GPL-2.0-only
"""The upstream commits that change arch/arm64/kvm/arm.c; expected orders are those of their diffs."""

from __future__ import annotations

import pytest
from leftovers import events, held, results
from reading import calls, go, undone

from arch.arm64.kvm.backend import Arm64
from kvm_ref.errno import EINTR, ENODEV, ENOMEM
from kvm_ref.judged import judge
from kvm_ref.judges import Finding
from kvm_ref.scenario import Run

# "KVM: arm64: Fix error path in init_hyp_mode()", June 2025; the next was made on top of it.
LAST = "9a2b9416fd1d"
# "KVM: arm64: Don't free hyp pages with pKVM on GICv2", June 2025.
KEEP = "0e02219f9cf4"
# "KVM: arm64: Destroy stage-2 page-table in kvm_arch_destroy_vm()", 2026.
STAGE2 = "a3ca3bfd01b7"

STACK, PERCPU = "kvm_arm_hyp_stack_page", "kvm_arm_hyp_percpu_base"


def load(fail: str, *commits: str, mode: str = "protected", sve: bool = True) -> Run:
    """Load KVM on two CPUs on a kernel with these commits."""
    on = dict.fromkeys(commits, True)
    return go("arm64", "load", fail=fail, params={"kvm-arm.mode": mode}, features={"sve": sve}, commits=on)


def torn(run: Run) -> list[str]:
    """What teardown_hyp_mode() frees and reads for the CPUs, in order; NULL is freed as such."""
    inside = False
    out = []
    for kind, _, name, args, _ in events(run):
        if name == "teardown_hyp_mode":
            inside = kind == "enter"
        elif inside and kind == "enter" and name in ("free_page", "free_pages"):
            out.append(str((args or {})["obj"]))
        elif inside and kind == "enter" and name == "per_cpu_ptr_nvhe_sym":
            out.append("read")
    return out


def found(run: Run) -> tuple[Finding, ...]:
    """What the judges say of a run."""
    return judge(run).findings


# ---- 9a2b9416fd1d


def test_the_room_is_freed_before_what_points_to_it() -> None:
    """With the commit the pages of a CPU go after sve_state was read from them; without, before."""
    cpus = ("", "#2")
    each = [(STACK + n, PERCPU + n, "read", f"sve_state{n}") for n in cpus]
    assert torn(load("kvm_timer_hyp_init")) == [*each[0], *each[1]]
    each = [(STACK + n, "read", f"sve_state{n}", PERCPU + n) for n in cpus]
    run = load("kvm_timer_hyp_init", LAST)
    assert torn(run) == [*each[0], *each[1]]
    assert [what for kind, what in held(Arm64(), run) if kind == "pages"] == []


def test_without_sve_only_the_order_is_another() -> None:
    """Without SVE both free the stack, then the pages."""
    expected = [STACK, PERCPU, f"{STACK}#2", f"{PERCPU}#2"]
    for commits in ((), (LAST,)):
        assert torn(load("kvm_timer_hyp_init", *commits, sve=False)) == expected


def test_a_cpu_without_pages_is_passed_over() -> None:
    """kvm_mmu_init() fails before there are any: only the stacks, NULL too, are freed; no Oops, -ENOMEM."""
    assert results(load("kvm_mmu_init")) == [None]
    run = load("kvm_mmu_init", LAST)
    assert torn(run) == ["NULL", "NULL"]
    assert results(run) == [-ENOMEM]
    # The first CPU has its pages when those of the second fail, but no room yet.
    run = load("alloc_pages#2", LAST)
    assert torn(run) == [STACK, "read", "NULL", PERCPU, f"{STACK}#2"]
    assert results(run) == [-ENOMEM]


@pytest.mark.parametrize(
    ("fail", "judged_by"),
    [
        ("kvm_mmu_init", "bug"),
        ("init_pkvm_host_sve_state", "use_after_release"),
        # KEEP makes it go as well, but puts leaks in its place.
        ("kvm_timer_hyp_init", "use_after_release"),
    ],
)
def test_the_findings_of_sve_are_mended(fail: str, judged_by: str) -> None:
    """They carry the commit, and are gone with it."""
    commits = [f.commit for f in found(load(fail)) if f.judge == judged_by]
    assert set(commits) == {LAST}
    assert [f for f in found(load(fail, LAST)) if f.judge == judged_by] == []


# ---- 0e02219f9cf4


def test_pages_in_use_stay() -> None:
    """cpu_hyp_uninit() does not clear kvm_hyp_initialized, and teardown_hyp_mode() passes over such a CPU."""
    run = load("kvm_timer_hyp_init", KEEP)
    # init_subsystems() still asks every CPU.
    assert undone(events(run), "init_subsystems")[-1] == "on_each_cpu"
    assert calls(events(run), "cpu_hyp_uninit") == []
    assert calls(events(load("kvm_timer_hyp_init")), "cpu_hyp_uninit") == ["cpu_hyp_reset"]
    assert torn(run) == []
    assert results(run) == [-ENODEV]
    kept = [what for kind, what in held(Arm64(), run) if kind == "pages"]
    assert [str(what).partition("#")[0] for what in kept].count(STACK) == 2
    assert [str(what).partition("#")[0] for what in kept].count(PERCPU) == 2


def test_pages_of_the_cpus_that_are_not_taken_go() -> None:
    """__pkvm_init() fails on CPU 0, whose EL2 is taken: the pages of CPU 1 are freed, in either order."""
    assert torn(load("__pkvm_init", KEEP)) == [f"{STACK}#2", f"{PERCPU}#2", "read", "sve_state#2"]
    assert torn(load("__pkvm_init", KEEP, LAST)) == [f"{STACK}#2", "read", "sve_state#2", f"{PERCPU}#2"]


def test_both_before_el2_is_taken() -> None:
    """kvm_mmu_init() fails: KEEP alone does not prevent the Oops, with LAST there is none."""
    assert results(load("kvm_mmu_init", KEEP)) == [None]
    run = load("kvm_mmu_init", KEEP, LAST)
    assert torn(run) == ["NULL", "NULL"]
    assert results(run) == [-ENOMEM]


@pytest.mark.parametrize("commits", [(), (LAST,), (KEEP,), (KEEP, LAST)])
def test_unprotected_el2_is_handed_back(commits: tuple[str, ...]) -> None:
    """The condition is for protected KVM only: without it all is freed, as before."""
    run = load("kvm_timer_hyp_init", *commits, mode="nvhe")
    assert calls(events(run), "cpu_hyp_uninit") == ["cpu_hyp_reset"]
    assert torn(run) == [STACK, PERCPU, f"{STACK}#2", f"{PERCPU}#2"]


# ---- a3ca3bfd01b7


def created(fail: str, *commits: str, mode: str) -> Run:
    """Create a VM on a kernel with these commits, and close it unless that failed."""
    on = dict.fromkeys(commits, True)
    verbs = ("load", "create-vm") if fail else ("load", "create-vm", "close-vm")
    return go("arm64", *verbs, fail=fail, params={"kvm-arm.mode": mode}, commits=on)


@pytest.mark.parametrize("mode", ["nvhe", "vhe", "protected"])
def test_stage2_is_destroyed_with_the_vm(mode: str) -> None:
    """arm.c: kvm_uninit_stage2_mmu() comes after pkvm_destroy_hyp_vm(), before kvm_destroy_mpidr_data()."""
    run = created("mmu_notifier_register", STAGE2, mode=mode)
    assert results(run) == [0, -EINTR]
    pkvm = ["pkvm_destroy_hyp_vm"] if mode == "protected" else []
    shared = ["bitmap_free", "free_cpumask_var", "kvm_vgic_destroy", *pkvm]
    rest = ["kvm_destroy_mpidr_data", "kfree", "kvm_unshare_hyp", "kvm_destroy_nested"]
    assert calls(events(run, 1), "kvm_arch_destroy_vm") == [*shared, "kvm_uninit_stage2_mmu", *rest]
    kept = [what for _, what in held(Arm64(), run)]
    assert not {"stage2_pgd", "percpu:last_vcpu_ran"} & {str(what) for what in kept}
    without = created("mmu_notifier_register", mode=mode)
    assert calls(events(without, 1), "kvm_arch_destroy_vm") == [*shared, *rest]
    assert {"stage2_pgd", "percpu:last_vcpu_ran"} <= {str(what) for _, what in held(Arm64(), without)}


def test_stage2_is_not_destroyed_twice() -> None:
    """After kvm_arch_flush_shadow_all() there is none: mmu.c, kvm_free_stage2_pgd() looks for it."""
    run = created("", STAGE2, mode="vhe")
    assert results(run) == [0, 0, 0]
    assert calls(events(run, 2), "kvm_free_stage2_pgd", 1) == [
        "free_percpu",
        "kvm_pgtable_stage2_destroy",
        "kfree",
    ]
    assert calls(events(run, 2), "kvm_free_stage2_pgd", 2) == []


def test_the_leak_of_a_stage2_is_mended() -> None:
    """Its three parts carry the commit, and are gone with it."""
    before = found(created("mmu_notifier_register", mode="vhe"))
    mended = {f.resource for f in before if f.commit == STAGE2}
    assert mended == {"kmalloc:kvm_pgtable", "pages:stage2_pgd", "percpu:percpu:last_vcpu_ran"}
    after = found(created("mmu_notifier_register", STAGE2, mode="vhe"))
    assert {f.resource for f in after} == {f.resource for f in before} - mended
