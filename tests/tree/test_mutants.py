# SPDX-License-Identifier: GPL-2.0-only
"""Mistakes put into the real text are caught where they are; changes that make no difference are not."""

from __future__ import annotations

import functools

import attrs
import pytest
from tree.changes import Change, ChangedTree, Place, function_of, held, right, unseen
from tree.harmless import harmless
from tree.kernel_source import kernel_tree
from tree.mutants import mutants

from kvm_ref import backend as backends
from kvm_ref.tree.check import Check, Held, configuration
from kvm_ref.tree.config import Config
from kvm_ref.tree.source import File, Tree

# The functions that unwind: those that all backends share, and their own.
COMMON = """
    kvm_init kvm_exit kvm_enable_virtualization kvm_disable_virtualization kvm_create_vm kvm_destroy_vm
    kvm_dev_ioctl_create_vm kvm_create_vm_debugfs __cpuhp_setup_state_cpuslocked _cpu_up _cpu_down
    __cpuhp_remove_state_cpuslocked syscore_suspend misc_register
"""
OWN = """
    kvm_x86_vendor_init kvm_arch_enable_virtualization_cpu kvm_arch_init_vm kvm_mmu_vendor_module_init
    vmx_init vmx_hardware_setup alloc_kvm_area nested_vmx_hardware_setup vmx_enable_virtualization_cpu
    kvm_cpu_vmxon svm_init svm_hardware_setup svm_cpu_init svm_enable_virtualization_cpu kvm_arm_init
    init_hyp_mode init_subsystems kvm_hyp_init_protection kvm_vgic_hyp_init kvm_timer_hyp_init
    riscv_kvm_init kvm_riscv_aia_init aia_hgei_init kvm_loongarch_init kvm_loongarch_env_init
    kvm_mips_init kvm_mips_emulation_init kvm_vz_enable_virtualization_cpu kvm_s390_init __kvm_s390_init
"""
# The backends that the common functions are held against, too: with the most and the least configured.
WHOLE = ("x86-vmx", "s390")
# Each backend, and how many mistakes at least are caught: what the model no longer comes to is missed there.
BACKENDS = {
    "x86-vmx": 343,
    "x86-svm": 60,
    "arm64": 81,
    "riscv": 6,
    "loongarch": 4,
    "mips": 2,
    "s390": 230,
}

# What the model leaves out, so that it does not miss it either.
NOT_MODELLED = {
    "kvm_arch_sync_events": "empty where it is not modelled",
}


@attrs.frozen
class Sweep:
    """What came of the changes of all functions of one backend.

    Attributes:
        caught: the harmful ones that were seen where they are.
        missed: the others, and what became of them.
        unseen: those that this backend's model need not see, and why.
        quiet: how many harmless ones made no difference.
        noisy: the others.
    """

    caught: frozenset[str]
    missed: dict[str, str]
    unseen: dict[str, str]
    quiet: int
    noisy: tuple[str, ...]


@functools.cache
def _tree() -> Tree:
    return Tree(kernel_tree())


@functools.cache
def _check(name: str) -> Check:
    backend = backends.load(name)
    return Check(_tree(), backend, configuration(backend))


def _new(before: Held, after: Held) -> list[Place]:
    # Where the changed text parts from runs from which the real one does not.
    known = {one.case.body for one in before.parted}
    parted = [one for one in after.parted if one.case.body not in known]
    remarks = [one for one in after.remarks if one not in before.remarks]
    places = [(one.difference.path, one.difference.line) for one in parted]
    return [*places, *((one.path, one.line) for one in remarks)]


@functools.cache
def _sweep(backend: str) -> Sweep:
    check = _check(backend)
    quiet = 0
    caught: set[str] = set()
    missed: dict[str, str] = {}
    noisy: list[str] = []
    passed: dict[str, str] = {}
    names = (OWN + COMMON if backend in WHOLE else OWN).split()
    for function in filter(None, (function_of(check, name) for name in names)):
        real = check.held(function.name)
        for change in mutants(function):
            name = f"{function.path}:{change.lines[0]}: {change.name}"
            where = _misplaced(check, change, real)
            why = "" if where != "nowhere" else unseen(check, change)
            if why:
                passed[name] = why
            elif where:
                missed[name] = f"seen {where}"
            else:
                caught.add(name)
        for change in harmless(function):
            after = held(check, change)
            if (after.equal, after.error, after.remarks) == (real.equal, real.error, real.remarks):
                quiet += 1
            else:
                noisy.append(change.name)
    return Sweep(frozenset(caught), missed, passed, quiet, tuple(noisy))


def _misplaced(check: Check, change: Change, real: Held) -> str:
    # Where a change is seen first, if that is not where it is.
    after = held(check, change)
    if after.error:
        return f"only as {after.error!r}"
    places = _new(real, after)
    if not places:
        return "nowhere"
    if places[0] in right(check, change):
        return ""
    return "in {}:{}".format(*places[0])


@pytest.mark.parametrize("backend", BACKENDS)
def test_mistakes_are_caught_where_they_are(backend: str) -> None:
    """Each mistake that a run of the model comes to is seen, and said to be in the right line."""
    found = _sweep(backend)
    assert found.missed == {}
    assert len(found.caught) >= BACKENDS[backend]
    reasons = {"no run comes there", "not configured", *(f"not modelled: {name}" for name in NOT_MODELLED)}
    assert set(found.unseen.values()) - reasons == set()


@pytest.mark.parametrize("backend", BACKENDS)
def test_changes_without_a_difference_are_not_reported(backend: str) -> None:
    """Names, comments, blank lines, other ways to say a condition, and helpers make no difference."""
    assert _sweep(backend).noisy == ()


def test_how_many(capsys: pytest.CaptureFixture[str]) -> None:
    """Each mistake is caught with some backend; what is counted is printed."""
    sweeps = [_sweep(backend) for backend in BACKENDS]
    caught = frozenset[str]().union(*(one.caught for one in sweeps))
    every = caught.union(*({*one.missed, *one.unseen} for one in sweeps))
    quiet, noisy = sum(one.quiet for one in sweeps), sum(len(one.noisy) for one in sweeps)
    with capsys.disabled():
        print(f"\n{len(caught)} of {len(every)} harmful changes caught,", end=" ")
        print(f"{quiet} of {quiet + noisy} harmless changes quiet")
    assert every - caught == set()
    # No reason given above is out of date.
    why = {reason for one in sweeps for reason in one.unseen.values()}
    assert {f"not modelled: {name}" for name in NOT_MODELLED} - why == set()


@pytest.mark.parametrize("name", ["kvm_enable_virtualization", "vmx_init"])
def test_a_changed_tree_says_the_same(name: str) -> None:
    """A tree read anew with the change in one of its files parts from the model in the same places."""
    check = _check("x86-vmx")
    function = function_of(check, name)
    assert function is not None
    for change in mutants(function)[::4]:
        tree = ChangedTree(_tree(), change)
        whole = Check(tree, check.backend, configuration(check.backend), check.evidence)
        assert attrs.evolve(whole.held(name), line=0) == attrs.evolve(held(check, change), line=0)


LADDER = b"""
int f(void)
{
	int r;

	r = one();
	if (r)
		return r;
	if (two()) {
		r = -EBUSY;
		goto err_two;
	}
	r = three();
	if (r)
		goto err_three;
	return 0;

err_three:
	undo_two();
err_two:
	mutex_unlock(&l);
	if (r)
		undo_one();
	return r;
}
"""


def test_which_mistakes_are_made() -> None:
    """Of a ladder each step is removed, doubled, swapped and moved, and each jump goes wrong."""
    function = File("a.c", LADDER, Config({})).function("f")
    assert function is not None
    assert [(one.lines[0], one.kind) for one in mutants(function)] == [
        (19, "removed"),
        (19, "doubled"),
        (21, "removed"),
        (21, "doubled"),
        (22, "removed"),
        (22, "doubled"),
        (19, "swapped"),
        (21, "swapped"),
        (19, "one label down"),
        (21, "one label up"),
        (22, "one label up"),
        (11, "goto made return"),
        (10, "error not set"),
        (15, "goto too low"),
        (15, "goto made return"),
    ]
    texts = {
        (one.lines[0], one.kind): (LADDER[:1] + one.text).decode().split("\n") for one in mutants(function)
    }
    assert texts[19, "one label down"][17:20] == ["err_three:", "\t;", "err_two:"]
    assert texts[19, "one label down"][20] == "\tundo_two(); mutex_unlock(&l);"
    assert texts[22, "removed"][21:24] == ["\t;", "", "\treturn r;"]
    assert texts[15, "goto too low"][14] == "\t\tgoto err_two;"
    assert texts[11, "goto made return"][10] == "\t\treturn r;"


def test_which_harmless_changes_are_made() -> None:
    """Names, comments, lines, conditions and braces are changed, and what undoes something pulled out."""
    function = File("a.c", LADDER, Config({})).function("f")
    assert function is not None
    made = {one.kind: one.text.decode() for one in harmless(function)}
    assert list(made) == [
        "all variables renamed",
        "comments",
        "blank lines",
        "conditions put otherwise",
        "braces",
        "undo pulled out",
    ]
    assert "\tr_renamed = one();\n\tif (r_renamed)\n\t\treturn r_renamed;\n" in made["all variables renamed"]
    assert "if (!!r)" in made["conditions put otherwise"]
    assert "if (r)\n\t\t{ return r; }" in made["braces"]
    helper = "static void pulled_out(struct any *r)\n{\n\tmutex_unlock(&l);\n\tif (r)\n\t\tundo_one();\n}\n"
    assert made["undo pulled out"].startswith(helper)
    assert "err_two:\n\tpulled_out(r);\n\treturn r;" in made["undo pulled out"]
