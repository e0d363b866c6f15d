# SPDX-License-Identifier: GPL-2.0-only
"""Assertions about traces: what they accept, and what they say when they fail."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from tape import Tape, kernel_trace

from kvm_ref.fault import Fault
from kvm_ref.misuse import Misuse
from kvm_ref.scenario import Cpus, Scenario
from kvm_ref.scenario import run as run_scenario
from kvm_ref.session import Session
from kvm_ref.testing import assert_clean, assert_same, assert_unwinds
from kvm_ref.trace import Step, Trace

B31E = "b31e7c24b475"
REBOOT = Fault("register_syscore", effect="system_state=SYSTEM_RESTART")
# virt/kvm/kvm_main.c: kvm_init() from err_register on; arch/x86/kvm/svm/svm.c: err_kvm_init of svm_init().
KVM_INIT = [
    "kvm_uninit_virtualization",
    "kvm_vfio_ops_exit",
    "kvm_async_pf_deinit",
    "kvm_irqfd_exit",
    "free_cpumask_var",
    "free_cpumask_var",
    "kmem_cache_destroy",
]


def machine(backend: str = "x86-svm", cpus: int = 2, **more: object) -> Session:
    """Return a machine on which nothing has run."""
    return Session(Scenario(backend, (), cpus=Cpus.of(tuple(range(cpus))), **more))  # type: ignore[arg-type]


def after(*verbs: str, fail: str = "", backend: str = "x86-svm") -> Session:
    """Return a machine on which verbs have run, with a fault in the last."""
    k = machine(backend)
    for verb in verbs[:-1]:
        k.do(verb)
    k.do(verbs[-1], *([fail] if fail else []))
    return k


def refused(assertion: object, *args: object, **kwargs: object) -> list[str]:
    """Return what a failing assertion says, line by line."""
    with pytest.raises(AssertionError) as caught:
        assertion(*args, **kwargs)  # type: ignore[operator]
    return str(caught.value).splitlines()


def test_what_is_undone_after_a_fault() -> None:
    """All calls at the labels, of kvm_init() and then of svm_init(), in order."""
    assert_unwinds(after("load", fail="misc_register"), [*KVM_INIT, "__svm_exit"])
    assert_unwinds(after("load", fail="misc_register"), KVM_INIT, function="kvm_init")


def test_jumps_count_if_asked_for() -> None:
    """With a goto among what is expected, all gotos are."""
    k = after("load", fail="alloc_workqueue")
    jumps = ["goto err_irqfd", *KVM_INIT[4:], "goto err_kvm_init", "__svm_exit"]
    assert_unwinds(k, jumps)
    said = refused(assert_unwinds, k, [*jumps[1:4], "goto err_kvm_init"])
    assert said[0] == "goto err_irqfd is undone, expected free_cpumask_var"


def test_without_gotos() -> None:
    """riscv_kvm_init() (arch/riscv/kvm/main.c) has no label: it ends AIA again, and returns."""
    assert_unwinds(after("load", fail="kvm_init", backend="riscv"), ["kvm_riscv_aia_exit"])


def test_without_a_fault() -> None:
    """Another hypervisor on CPU 1: kernel/cpu.c takes CPU 0 down again, then the labels follow."""
    k = machine()
    k.do("foreign-on=1")
    assert k.do("load") == -5
    assert_unwinds(k, ["kvm_arch_disable_virtualization"], function="kvm_enable_virtualization")
    assert_unwinds(k, KVM_INIT[1:], function="kvm_init")


def test_a_system_that_goes_down() -> None:
    """A reboot during register_syscore(): kvm_enable_virtualization() goes to err_rebooting."""
    done = run_scenario(Scenario("x86-svm", ("load",), faults=(REBOOT,)))
    expected = ["unregister_syscore", "cpuhp_remove_state", "kvm_arch_disable_virtualization"]
    assert_unwinds(done.trace, expected, function="kvm_enable_virtualization")


def test_what_is_undone_instead() -> None:
    """The tree shows the fault, and the call that should have been another one."""
    wrong = [*KVM_INIT[:1], *KVM_INIT[2:]]
    said = refused(assert_unwinds, after("load", fail="misc_register"), wrong, function="kvm_init")
    assert said[:2] == ["kvm_vfio_ops_exit is undone, expected kvm_async_pf_deinit", "== load: -EBUSY"]
    marked = [line for line in said if line.startswith(">")]
    assert [line.split("  <-- ")[1] for line in marked] == [
        "the error begins here",
        "expected kvm_async_pf_deinit",
    ]
    assert "! injected: misc_register fails -EBUSY" in marked[0]
    assert "kvm_vfio_ops_exit() {" in marked[1]
    assert len(said) < 60


def test_too_much_and_too_little() -> None:
    """What is undone beyond what is expected is marked, and so is the end of what is too short."""
    k = after("load", fail="misc_register")
    said = refused(assert_unwinds, k, KVM_INIT[:-1], function="kvm_init")
    assert said[0] == "kmem_cache_destroy is undone, expected nothing more"
    said = refused(assert_unwinds, k, [*KVM_INIT, "kvm_exit"], function="kvm_init")
    assert said[0] == "kvm_exit is not undone"
    assert [line for line in said if line.endswith("<-- expected kvm_exit before this")]
    assert refused(assert_unwinds, after("load"), []) == [
        "nothing unwinds: no fault fired and no verb failed"
    ]


def test_a_function_that_is_not_called() -> None:
    """A wrong name is told, with the nearest of those that are called."""
    said = refused(assert_unwinds, after("load", fail="misc_register"), KVM_INIT, function="kvm_innit")
    assert said[0] == f"{KVM_INIT[0]} is not undone: kvm_innit() is not called: did you mean kvm_init?"


@pytest.mark.parametrize("wrong", [None, 5, "trace", []], ids=repr)
@pytest.mark.parametrize(
    "how", [(assert_clean,), (assert_same, None), (assert_unwinds, [])], ids=["clean", "same", "unwinds"]
)
def test_what_bears_no_trace(how: tuple[Callable[..., None], object], wrong: object) -> None:
    """Whatever else is given is refused in one line."""
    with pytest.raises(Misuse) as refusal:
        how[0](wrong, *how[1:])
    assert str(refusal.value) == f"no trace, and nothing that bears one: {wrong!r}"


def test_one_name_is_no_list() -> None:
    """A text would be taken for its letters."""
    with pytest.raises(Misuse, match=r"^malformed expected='kvm_exit': give a list of names$"):
        assert_unwinds(after("load", fail="misc_register"), "kvm_exit")


def test_calls_that_never_ended() -> None:
    """Where the machine stops in the call that a fault falls into, nothing is undone."""
    tape = Tape()
    tape.enter("f")
    tape.event("inject", "f", -12)
    tape.step("load", None)
    assert_unwinds(tape.trace(), [])


def test_clean() -> None:
    """A life without a fault has no finding; the forgotten directory is one."""
    assert_clean(after("load", "unload"))
    said = refused(assert_clean, after("load", fail="misc_register").trace)
    assert said[0] == "1 finding:"
    assert said[1].startswith("  leak: debugfs:kvm is still held after load failed with -EBUSY")
    (marked,) = [line for line in said if line.startswith(">")]
    assert "goto err_register;" in marked


@pytest.mark.parametrize("allow", ["leak", "debugfs:kvm", "kvm_init:err_register", B31E, B31E[:7]])
def test_findings_that_are_allowed(allow: str) -> None:
    """A finding is passed over by its judge, its resource, its label, or the commit that mends it."""
    judged = after("load", fail="misc_register").judge()
    assert_clean(judged, allow)
    assert_clean(judged, ["nothing", allow])
    assert refused(assert_clean, judged, ["nothing"])[0] == "1 finding:"


def test_several_findings() -> None:
    """Each finding is told; a step that no jump is in is explained by its end."""
    k = after("load", fail="sev_platform_init")
    k.do("unload")
    said = refused(assert_clean, k.judge())
    assert said[0] == "2 findings:"
    assert [line.split(" is ")[0] for line in said if line.startswith("  leak")] == [
        "  leak: bitmap:sev_asid_bitmap",
        "  leak: bitmap:sev_reclaim_asid_bitmap",
    ]
    (marked,) = [line for line in said if line.startswith(">")]
    assert marked.endswith("<-- after this")


def test_the_same() -> None:
    """Two machines that did the same are the same, also one that a real kernel ran."""
    assert_same(after("load", "unload"), after("load", "unload"))


def test_not_the_same() -> None:
    """What both have is shown once, then each one's own."""
    said = refused(assert_same, after("load"), after("load", fail="kvm_vfio_ops_init"))
    assert said[1:3] == ["- == load: 0", "+ == load: -EEXIST"]
    own = [line for line in said if line[0] in "-+"][2:]
    assert [line[0] for line in own] == ["-", "-", "-", "+", "+", "+"]
    assert "kvm_register_device_ops(4) = 0" in own[0]
    assert "! injected: kvm_vfio_ops_init fails -EEXIST" in own[3]
    assert said[-7].endswith("kvm_vfio_ops_init() {")


def test_one_is_shorter() -> None:
    """A trace that ends earlier, and one with a verb less."""
    whole = after("load").trace
    step = whole.steps[0]
    cut = Trace(
        whole.source, whole.machine, whole.params, [], [Step(["load"], [0], (step.events or [])[:-2])]
    )
    said = refused(assert_same, whole, cut)
    assert [line[0] for line in said if line[0] in "-+"][2:] == ["-", "-"]
    assert "different" in refused(assert_same, after("load", "unload"), after("load"))[0]


def test_a_real_kernel() -> None:
    """A kernel's log sees less; what differs is told as kvm-ref compare does."""
    said = refused(assert_same, kernel_trace("g_init_misc_register"), after("load"))
    assert said[0].startswith("different: ")
    assert any(line.endswith("<- the first") for line in said)


def test_a_real_kernel_unwinds() -> None:
    """The log of 6.12.117 says the same of its kvm_init(): two static functions are inlined, and it has 4 CPUs."""
    built = ["kvm_disable_virtualization", *KVM_INIT[1:4], *4 * ["free_cpumask_var"], "kmem_cache_destroy"]
    assert_unwinds(kernel_trace("g_init_misc_register"), built, function="kvm_init")


def test_an_error_that_is_dealt_with() -> None:
    """debugfs_create_dir() may fail: kvm_init_debug() goes on, and nothing is undone."""
    assert_unwinds(after("load", fail="debugfs_create_dir"), [])


def test_a_verb_that_no_call_refused() -> None:
    """What is not open cannot be closed: no function of the kernel failed, so nothing unwinds."""
    k = machine()
    assert k.do("close-dev") == -9
    assert refused(assert_unwinds, k, []) == ["nothing unwinds: no fault fired and no verb failed"]
