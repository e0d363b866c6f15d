# SPDX-License-Identifier: GPL-2.0-only
"""The backend s390 against arch/s390/kvm/{kvm-s390,interrupt,pci}.c of 6.12.117, read by hand."""

from __future__ import annotations

from typing import Any

import pytest
from bare_machine import errno_of
from leftovers import changed, events, held, results
from reading import calls, go, undone, writes

from arch.s390.cio.airq import airq_iv
from arch.s390.kvm import pci
from arch.s390.kvm.backend import S390
from arch.s390.kvm.interrupt import GAL_ISC, Interrupt, kvm_s390_gib_destroy, kvm_s390_gib_init
from arch.s390.pci.pci import Zpci, zpci_sic_iib
from kvm_ref.errno import EINVAL, EIO, EPERM
from kvm_ref.fault import arm, parse
from kvm_ref.kernel import Kernel
from kvm_ref.linux.slab import kmemory
from kvm_ref.scenario import Run
from kvm_ref.vocabulary import Vocabulary

INTERP = {"zpci_interp": True}
# kvm_register_device_ops() of the floating interrupt controller has no opposite in kvm-s390.c.
FLIC = [("device_ops", 6)]
# What zpci_setup_aipb() in pci.c hands to firmware until the next boot.
KEPT = [("kmalloc", "zpci_sic_iib"), ("airq_iv", "aif_sbv"), ("pages", "gait")]
GIB = 0x2000
ERR_DEBUG_VIEW = ["debug_unregister", "debug_unregister"]


def s390(*verbs: str, fail: str = "", **more: Any) -> Run:
    return go("s390", *verbs, fail=fail, **more)


def objects(run: Run, step: int, function: str) -> list[object]:
    """What each call of `function` released, acquired or used."""
    return [
        args.get("obj", args.get("uses"))
        for kind, _, name, args, _ in events(run, step)
        if (kind, name) == ("enter", function) and args
    ]


def result(run: Run, function: str, step: int = 0) -> list[object]:
    """What each call of `function` returned."""
    return [v for kind, _, name, _, v in events(run, step) if (kind, name) == ("exit", function)]


def test_load_follows_kvm_s390_init() -> None:
    """The module's init function makes the calls of kvm_s390_init() in kvm-s390.c, in their order."""
    run = s390("load")
    assert results(run)[0] == 0
    assert calls(events(run), "kvm_s390_init") == [
        "sclp_has_sief2",
        "__kvm_s390_init",
        "kvm_init",
    ]


def test_arch_part_of_load() -> None:
    """__kvm_s390_init() in kvm-s390.c: logs, FLIC, PCI, GIB, then the three notifiers."""
    run = s390("load")
    assert calls(events(run), "__kvm_s390_init") == [
        "debug_register",
        "debug_register",
        "debug_register_view",
        "debug_register_view",
        "kvm_s390_cpu_feat_init",
        "kvm_register_device_ops",
        "kvm_s390_pci_init",
        "kvm_s390_gib_init",
        "gmap_register_pte_notifier",
        "gmap_register_pte_notifier",
        "atomic_notifier_chain_register",
    ]
    assert objects(run, 0, "debug_register_view") == ["kvm-trace", "kvm-uv"]
    assert objects(run, 0, "kvm_register_device_ops") == [6, 4]
    assert objects(run, 0, "gmap_register_pte_notifier") == ["gmap_notifier", "vsie_gmap_notifier"]
    assert objects(run, 0, "atomic_notifier_chain_register") == ["kvm_clock_notifier"]


def test_gib_is_made_handled_and_told() -> None:
    """kvm_s390_gib_init() in interrupt.c: page, handler, then firmware."""
    run = s390("load")
    assert calls(events(run), "kvm_s390_gib_init") == [
        "get_zeroed_page",
        "register_adapter_interrupt",
        "chsc_sgib",
    ]
    assert objects(run, 0, "register_adapter_interrupt") == ["gib_alert_irq"]
    assert writes(events(run), 0) == [("GIB_ORIGIN", GIB)]
    assert run.trace.after["1 load"]["gib_origin"] == GIB


def test_no_virtualization_is_enabled() -> None:
    """s390 does not select KVM_GENERIC_HARDWARE_ENABLING: kvm_init() goes from vfio to misc_register."""
    run = s390("load")
    found = calls(events(run), "kvm_init")
    assert [c for c in found if c != "alloc_cpumask_var_node"] == [
        "kmem_cache_create_usercopy",
        "kvm_irqfd_init",
        "kvm_async_pf_init",
        "kvm_init_debug",
        "kvm_vfio_ops_init",
        "misc_register",
    ]
    assert run.trace.after["1 load"]["cpuhp_states"] == []


def test_unload_follows_kvm_s390_exit() -> None:
    """__kvm_s390_exit() in kvm-s390.c, after kvm_exit(): both logs go in the order they came."""
    run = s390("load", "unload")
    seen = events(run, 1)
    assert results(run)[1] == 0
    assert calls(seen, "kvm_s390_exit") == ["kvm_exit", "__kvm_s390_exit"]
    assert calls(seen, "__kvm_s390_exit") == [
        "gmap_unregister_pte_notifier",
        "gmap_unregister_pte_notifier",
        "atomic_notifier_chain_unregister",
        "kvm_s390_gib_destroy",
        "kvm_s390_pci_exit",
        "debug_unregister",
        "debug_unregister",
    ]
    assert objects(run, 1, "debug_unregister") == ["kvm-trace", "kvm-uv"]
    assert calls(seen, "kvm_s390_gib_destroy") == ["chsc_sgib", "unregister_adapter_interrupt", "free_page"]


def test_unload_leaves_the_flic_registered() -> None:
    """Everything is released by unload except the FLIC, which kvm-s390.c never unregisters."""
    run = s390("load", "unload")
    assert held(S390(), run) == FLIC
    assert changed(run) == {}
    assert run.trace.after["2 unload"]["zpci_kvm_hook"] is False


def test_second_load_finds_a_free_flic() -> None:
    """The table of devices is kvm.ko's own, so what is forgotten in it does not outlive the module."""
    run = s390("load", "unload", "load")
    assert results(run) == [0, 0, 0]


def test_machine_without_sie() -> None:
    """kvm_s390_init(): without sclp.has_sief2 the answer is ENODEV, before anything is done."""
    run = s390("load", fail="sclp_has_sief2")
    assert results(run)[0] == -19
    assert calls(events(run), "kvm_s390_init") == ["sclp_has_sief2"]


@pytest.mark.parametrize(
    ("nested", "hpage", "errno"), [("1", "1", -22), ("1", "0", 0), ("0", "1", 0), ("-1", "2", -22)]
)
def test_nesting_excludes_huge_pages(nested: str, hpage: str, errno: int) -> None:
    """kvm_s390_init(): nested and hpage, both int, are EINVAL together."""
    run = s390("load", params={"nested": nested, "hpage": hpage})
    assert results(run)[0] == errno
    assert ("__kvm_s390_init" in calls(events(run), "kvm_s390_init")) is (errno == 0)


def test_first_log_fails() -> None:
    """__kvm_s390_init() returns ENOMEM without a goto if there is no first log."""
    run = s390("load", fail="debug_register#1")
    assert results(run)[0] == -12
    assert calls(events(run), "__kvm_s390_init") == ["debug_register"]


@pytest.mark.parametrize(
    ("fail", "errno", "undoing"),
    [
        ("debug_register#2", -12, [">err_kvm_uv", "debug_unregister"]),
        ("debug_register_view#1", -12, [">err_debug_view", *ERR_DEBUG_VIEW]),
        ("debug_register_view#2", -12, [">err_debug_view", *ERR_DEBUG_VIEW]),
        ("kvm_register_device_ops", -17, [">err_flic", *ERR_DEBUG_VIEW]),
        ("kvm_s390_pci_init", -12, [">err_pci", *ERR_DEBUG_VIEW]),
        ("kvm_s390_gib_init", -12, [">err_gib", "kvm_s390_pci_exit", *ERR_DEBUG_VIEW]),
        ("get_zeroed_page", -12, [">err_gib", "kvm_s390_pci_exit", *ERR_DEBUG_VIEW]),
        ("chsc_sgib", -5, [">err_gib", "kvm_s390_pci_exit", *ERR_DEBUG_VIEW]),
    ],
)
def test_labels_of_arch_part(fail: str, errno: int, undoing: list[str]) -> None:
    """__kvm_s390_init(): five labels; err_pci, err_flic and err_debug_view undo the same."""
    run = s390("load", fail=fail)
    assert results(run)[0] == errno
    assert undone(events(run), "__kvm_s390_init") == undoing


def test_error_path_takes_the_logs_in_reverse() -> None:
    """err_debug_view is above err_kvm_uv: kvm-uv goes before kvm-trace, other than in the exit path."""
    run = s390("load", fail="debug_register_view")
    assert objects(run, 0, "debug_unregister") == ["kvm-uv", "kvm-trace"]


@pytest.mark.parametrize(
    ("fail", "left"),
    [
        ("kvm_register_device_ops", []),
        ("kvm_s390_pci_init", FLIC),
        ("kvm_s390_gib_init", FLIC),
        ("kvm_init", FLIC),
    ],
)
def test_labels_forget_the_flic(fail: str, left: list[tuple[str, object]]) -> None:
    """No label of __kvm_s390_init() unregisters the FLIC, nor does __kvm_s390_exit()."""
    assert held(S390(), s390("load", fail=fail)) == left


@pytest.mark.parametrize(
    ("fail", "errno"), [("misc_register", -16), ("alloc_workqueue", -12), ("kvm_vfio_ops_init", -17)]
)
def test_failing_kvm_init(fail: str, errno: int) -> None:
    """kvm_s390_init() calls __kvm_s390_exit() and returns the errno of kvm_init()."""
    run = s390("load", fail=fail)
    seen = events(run)
    assert results(run)[0] == errno
    assert calls(seen, "kvm_s390_init") == [
        "sclp_has_sief2",
        "__kvm_s390_init",
        "kvm_init",
        "__kvm_s390_exit",
    ]
    assert changed(run) == {}


def test_misc_register_fails_without_virtualization() -> None:
    """err_register of kvm_init() on s390: kvm_uninit_virtualization() is empty, vfio is next."""
    run = s390("load", fail="misc_register", cpus=1)
    assert undone(events(run), "kvm_init") == [
        ">err_register",
        "kvm_vfio_ops_exit",
        "kvm_async_pf_deinit",
        "kvm_irqfd_exit",
        "free_cpumask_var",
        "kmem_cache_destroy",
    ]


@pytest.mark.parametrize(
    ("fail", "features", "errno", "undoing"),
    [
        ("get_zeroed_page", {}, -12, [">out"]),
        ("register_adapter_interrupt", {}, -5, [">out_free_gib", "free_page"]),
        ("chsc_sgib", {}, -5, [">out_unreg_gal", "unregister_adapter_interrupt", "free_page"]),
        (
            "kvm_s390_pci_aen_init",
            INTERP,
            -5,
            [">out_unreg_gal", "unregister_adapter_interrupt", "free_page"],
        ),
    ],
)
def test_labels_of_gib_init(fail: str, features: dict[str, bool], errno: int, undoing: list[str]) -> None:
    """kvm_s390_gib_init() in interrupt.c: three labels, and EIO for all but a missing page."""
    run = s390("load", fail=fail, features=features)
    assert undone(events(run), "kvm_s390_gib_init") == undoing
    assert result(run, "kvm_s390_gib_init") == [errno]
    assert results(run)[0] == errno


def test_page_that_firmware_refused_is_freed_once() -> None:
    """interrupt.c frees the GIB and clears the pointer before the jump; the label then frees NULL."""
    run = s390("load", fail="chsc_sgib")
    assert objects(run, 0, "free_page") == ["gib", "NULL"]
    assert run.trace.after["1 load"]["gib_origin"] == 0


def test_firmware_keeps_a_freed_gib() -> None:
    """out_unreg_gal after a failed kvm_s390_pci_aen_init() frees the GIB, and no chsc_sgib(0) is made."""
    run = s390("load", fail="kvm_s390_pci_aen_init", features=INTERP)
    assert objects(run, 0, "free_page") == ["gib"]
    assert changed(run) == {(0, "GIB_ORIGIN"): GIB}
    assert run.trace.after["1 load"]["gib_origin"] == GIB


def test_without_aiv() -> None:
    """interrupt.c: without AIV there is no GIB, at load and at unload, and no forwarding."""
    run = s390("load", "unload", features={"aiv": False, "zpci_interp": True})
    assert calls(events(run), "kvm_s390_gib_init") == []
    assert calls(events(run, 1), "kvm_s390_gib_destroy") == []
    assert held(S390(), run) == FLIC


def test_result_of_last_chsc_sgib_is_ignored() -> None:
    """kvm_s390_gib_destroy() does not look at chsc_sgib(0)."""
    run = s390("load", "unload", fail="chsc_sgib#2")
    assert results(run)[1] == 0
    assert calls(events(run, 1), "kvm_s390_gib_destroy")[-1] == "free_page"
    assert changed(run) == {(0, "GIB_ORIGIN"): GIB}


def test_result_of_notifier_registration_is_ignored() -> None:
    """__kvm_s390_init() does not look at atomic_notifier_chain_register(); the exit path gets ENOENT."""
    run = s390("load", "unload", fail="atomic_notifier_chain_register")
    assert results(run) == [0, 0]
    assert result(run, "atomic_notifier_chain_unregister", 1) == [-2]


def test_forwarding_is_set_up() -> None:
    """pci.c with interpretation: AIFT at kvm_s390_pci_init(), the rest under the lock in aen_init."""
    run = s390("load", features=INTERP)
    seen = events(run)
    assert calls(seen, "kvm_s390_pci_init") == ["kzalloc"]
    assert calls(seen, "kvm_s390_gib_init")[-1] == "kvm_s390_pci_aen_init"
    assert calls(seen, "kvm_s390_pci_aen_init") == ["kcalloc", "zpci_setup_aipb", "zpci_set_irq_ctrl"]
    assert calls(seen, "zpci_setup_aipb") == [
        "kzalloc",
        "airq_iv_create",
        "alloc_pages",
        "zpci_set_irq_ctrl",
    ]
    set_ctrl = [a for kind, _, n, a, _ in seen if (kind, n) == ("enter", "zpci_set_irq_ctrl")]
    assert set_ctrl == [{"ctl": "SIC_SET_AENI_CONTROLS", "isc": 0}, {"ctl": "SIC_IRQ_MODE_SINGLE", "isc": 5}]
    locks = [(kind, n) for kind, _, n, _, _ in seen if n == "aift_lock"]
    assert locks == [("lock", "aift_lock"), ("unlock", "aift_lock")]


def test_forwarding_tables_stay_with_firmware() -> None:
    """kvm_s390_pci_aen_exit() frees kzdev, kvm_s390_pci_exit() the AIFT; the tables stay until reboot."""
    run = s390("load", "unload", features=INTERP)
    seen = events(run, 1)
    assert calls(seen, "kvm_s390_gib_destroy") == [
        "kvm_s390_pci_aen_exit",
        "chsc_sgib",
        "unregister_adapter_interrupt",
        "free_page",
    ]
    assert objects(run, 1, "kfree") == ["kvm_zdev", "zpci_aift"]
    assert held(S390(), run) == [*FLIC, *KEPT]
    assert result(run, "kvm_s390_pci_aen_init") == [0]
    assert [kind for kind, _, n, _, _ in seen if n == "aift_lock"] == ["lock", "unlock"]
    assert run.trace.log == []


def test_second_life_takes_the_tables_up() -> None:
    """zpci_reset_aipb() instead of zpci_setup_aipb() if zpci_aipb is there from before."""
    run = s390("load", "unload", "load", "unload", features=INTERP)
    seen = events(run, 2)
    assert calls(seen, "kvm_s390_pci_aen_init") == ["kcalloc", "zpci_reset_aipb", "zpci_set_irq_ctrl"]
    assert held(S390(), run) == [*FLIC, *KEPT, *FLIC]


@pytest.mark.parametrize(
    ("fail", "errno", "undoing"),
    [
        ("airq_iv_create", -12, [">free_aipb", "kfree"]),
        ("alloc_pages", -12, [">free_sbv", "airq_iv_release", "kfree"]),
        ("zpci_set_irq_ctrl#1", -5, [">free_gait", "free_pages", "airq_iv_release", "kfree"]),
    ],
)
def test_labels_of_zpci_setup_aipb(fail: str, errno: int, undoing: list[str]) -> None:
    """zpci_setup_aipb() in pci.c: three labels; the caller makes EIO of it all."""
    run = s390("load", fail=fail, features=INTERP)
    seen = events(run)
    assert undone(seen, "zpci_setup_aipb") == undoing
    assert result(run, "zpci_setup_aipb") == [errno]
    assert undone(seen, "kvm_s390_pci_aen_init") == [">free_zdev", "kfree"]
    assert results(run)[0] == -5
    assert held(S390(), run) == FLIC


def test_first_step_of_zpci_setup_aipb() -> None:
    """zpci_setup_aipb() returns ENOMEM without a goto if there is no block."""
    run = s390("load", fail="kzalloc#2", features=INTERP)
    assert calls(events(run), "zpci_setup_aipb") == ["kzalloc"]
    assert result(run, "zpci_setup_aipb") == [-12]


@pytest.mark.parametrize(
    ("fail", "errno", "made"),
    [
        ("kcalloc", -12, ["kcalloc", ">unlock"]),
        ("zpci_setup_aipb", -12, ["kcalloc", "zpci_setup_aipb", ">free_zdev", "kfree"]),
        (
            "zpci_set_irq_ctrl#2",
            -5,
            ["kcalloc", "zpci_setup_aipb", "zpci_set_irq_ctrl", "kvm_s390_pci_aen_exit", ">unlock"],
        ),
    ],
)
def test_labels_of_aen_init(fail: str, errno: int, made: list[str]) -> None:
    """kvm_s390_pci_aen_init() in pci.c: free_zdev and unlock, which the good path runs through too."""
    run = s390("load", fail=fail, features=INTERP)
    seen = events(run)
    assert calls(seen, "kvm_s390_pci_aen_init") == made
    assert result(run, "kvm_s390_pci_aen_init") == [errno]
    assert [kind for kind, _, n, _, _ in seen if n == "aift_lock"] == ["lock", "unlock"]
    kinds = [kind for kind, _ in held(S390(), run)]
    assert kinds == ["device_ops", "kmalloc", "airq_iv", "pages"] if "irq_ctrl" in fail else ["device_ops"]


def test_no_table_leaves_the_hook_set() -> None:
    """kvm_s390_pci_init() sets the hook before it allocates, and err_pci does not clear it."""
    run = s390("load", fail="kzalloc", features=INTERP)
    assert results(run)[0] == -12
    assert undone(events(run), "__kvm_s390_init")[0] == ">err_pci"
    assert run.trace.after["1 load"]["zpci_kvm_hook"] is True


def with_table() -> Kernel:
    """A machine with kvm.ko's table, on which nothing has run."""
    k = Kernel(S390(), possible=range(1))
    k[pci.Pci].aift = pci.zpci_aift(kmemory("zpci_aift"))
    return k


def test_forwarding_is_set_up_once() -> None:
    """kvm_s390_pci_aen_init() answers EPERM if the table has its vectors, without taking the lock."""
    k = with_table()
    pci.aift(k).sbv = airq_iv("aif_sbv")
    assert errno_of(lambda: pci.kvm_s390_pci_aen_init(k, 5)) is EPERM
    assert [e[0] for e in k.events] == ["enter", "exit"]


def test_tables_of_another_subclass_are_refused() -> None:
    """zpci_reset_aipb() answers EINVAL if firmware was told another subclass, and takes nothing up."""
    k = with_table()
    block = k[Zpci].zpci_aipb = zpci_sic_iib(kmemory("zpci_sic_iib"))
    block.afi = 5
    assert errno_of(lambda: pci.zpci_reset_aipb(k, 6)) is EINVAL
    assert errno_of(lambda: pci.zpci_reset_aipb(k, 5)) is None
    assert (pci.aift(k).sbv, pci.aift(k).gait) == (k[Zpci].zpci_aif_sbv, block.gait)


def with_pci(fail: str = "") -> Kernel:
    """A machine that interprets PCI instructions, after kvm_s390_pci_init()."""
    k = Kernel(S390(), possible=range(1), features=INTERP)
    pci.kvm_s390_pci_init(k)
    arm(k, [parse(spec) for spec in fail.split()], Vocabulary.of(S390()))
    return k


def test_tables_are_the_same_in_the_second_life() -> None:
    """pci.c: aen_exit forgets the tables, zpci_reset_aipb() takes the very same up again."""
    k = with_pci()
    kvm_s390_gib_init(k, GAL_ISC)
    assert k[Interrupt].gib_alert_irq.isc == 5
    a = pci.aift(k)
    first = (a.sbv, a.gait)
    assert None not in first
    kvm_s390_gib_destroy(k)
    assert (a.sbv, a.gait, a.kzdev, k[Interrupt].gib) == (None, None, None, None)
    kvm_s390_gib_init(k, GAL_ISC)
    assert (a.sbv, a.gait) == first


@pytest.mark.parametrize(
    ("fail", "left"), [("zpci_set_irq_ctrl", True), ("alloc_pages", True), ("airq_iv_create", False)]
)
def test_failed_setup_clears_the_kernels_pointers(fail: str, left: bool) -> None:
    """zpci_setup_aipb() clears zpci_aipb and zpci_aif_sbv, but not aift->sbv, which was freed."""
    k = with_pci(fail)
    assert errno_of(lambda: kvm_s390_gib_init(k, GAL_ISC)) is EIO
    assert (k[Zpci].zpci_aipb, k[Zpci].zpci_aif_sbv, k[Interrupt].gib) == (None, None, None)
    assert (pci.aift(k).sbv is not None) is left


@pytest.mark.parametrize(
    ("fail", "line"),
    [
        ("sclp_has_sief2", "kvm: SIE is not available"),
        ("kvm_register_device_ops", "kvm: FLIC registration failed"),
        ("kvm_s390_pci_init", "kvm: no AIFT for PCI"),
        ("register_adapter_interrupt", "kvm: no handler for GIB alerts"),
        ("chsc_sgib", "kvm: firmware does not take the GIB"),
        ("kvm_s390_pci_aen_init", "kvm: no forwarding of PCI interrupts"),
    ],
)
def test_log(fail: str, line: str) -> None:
    """Where the C calls pr_info() or pr_err(), the log has a line."""
    assert s390("load", fail=fail, features=INTERP).trace.log == [line]


def test_log_of_excluded_parameters() -> None:
    """kvm_s390_init() says why nested and hpage are refused."""
    run = s390("load", params={"nested": "1", "hpage": "1"})
    assert run.trace.log == ["kvm: huge pages cannot back guests of a host that supports nesting"]
