# SPDX-License-Identifier: GPL-2.0-only
"""The backend riscv against the text of arch/riscv/kvm/{main,aia,mmu,vmid}.c."""

from __future__ import annotations

import pytest
from leftovers import changed, events, everything, held, results
from reading import calls, go, writes

from arch.riscv.kernel import csr
from arch.riscv.kvm.aia import Aia
from arch.riscv.kvm.backend import RiscV
from arch.riscv.kvm.mmu import Mmu
from kvm_ref.errno import EBUSY, EEXIST, EINVAL, EIO, ENODEV, ENOENT, ENOMEM, ENOSPC, KernelError
from kvm_ref.kernel import Kernel
from kvm_ref.linux.interrupt import (
    disable_percpu_irq,
    enable_percpu_irq,
    free_percpu_irq,
    request_percpu_irq,
)
from kvm_ref.linux.irqdomain import irq_create_mapping, irq_domain
from kvm_ref.misuse import Misuse
from kvm_ref.verbs import modprobe

# arch/riscv/kvm/main.c: riscv_kvm_init(), up to the page-table format.
PROBES = [
    "riscv_isa_extension_available",
    "sbi_spec_is_0_1",
    "sbi_probe_extension",
    "kvm_riscv_gstage_mode_detect",
    "kvm_riscv_gstage_vmid_detect",
    "kvm_riscv_aia_init",
]

# HGATP: MODE in bits 63-60 (Sv39x4 is 8, Sv48x4 9, Sv57x4 10), VMID in bits 57-44.
SV39X4, SV48X4, SV57X4 = 8 << 60, 9 << 60, 10 << 60
VMID = ((1 << 14) - 1) << 44
# HVICTL with IID, bits 27-16, of 9 (supervisor external): no interrupt for the guest.
NO_INTERRUPT = 9 << 16

# kvm_arch_enable_virtualization_cpu(), and in it kvm_riscv_aia_enable().
# HEDELEG: exceptions 0, 3, 8, 12, 13 and 15. HIDELEG: interrupts 2, 6 and 10.
ENABLE = [("HEDELEG", 0xB109), ("HIDELEG", 0x444), ("HCOUNTEREN", 2), ("HVIP", 0)]
AIA_ENABLE = [
    ("HVICTL", NO_INTERRUPT),
    ("HVIPRIO1", 0),
    ("HVIPRIO2", 0),
    ("HIE", 1 << 12),
    ("HVIEN", 1 << 13),
]
# kvm_riscv_aia_disable(), then kvm_arch_disable_virtualization_cpu().
AIA_DISABLE = [("HVIEN", 0), ("HIE", 0), ("HVICTL", NO_INTERRUPT)]
DISABLE = [("VSIE", 0), ("HVIP", 0), ("HEDELEG", 0), ("HIDELEG", 0)]


def loaded(features: dict[str, bool] | None = None) -> Kernel:
    k = Kernel(RiscV(), possible=range(3), online=[0, 1], features=features)
    modprobe(k, None)
    return k


def test_order_of_init() -> None:
    """riscv_kvm_init() probes, looks at the page-table format, and calls kvm_init() last."""
    run = go("riscv", "load")
    assert calls(events(run), "riscv_kvm_init") == [*PROBES, "kvm_riscv_gstage_mode", "kvm_init"]
    assert results(run) == [0]
    assert run.trace.after["1 load"]["hideleg_cpus"] == [0, 1]


def test_order_of_aia_init() -> None:
    """kvm_riscv_aia_init() takes the interrupt, then enters the device, then turns the key (aia.c)."""
    run = go("riscv", "load")
    assert calls(events(run), "kvm_riscv_aia_init") == [
        "riscv_isa_extension_available",
        "aia_hgei_init",
        "kvm_register_device_ops",
        "static_branch_enable",
    ]
    assert calls(events(run), "aia_hgei_init") == [
        "irq_find_matching_fwnode",
        "irq_create_mapping",
        "request_percpu_irq",
    ]


def test_order_of_exit() -> None:
    """riscv_kvm_exit() frees the interrupt after kvm_exit() has disabled it on every CPU."""
    run = go("riscv", "load", "unload")
    assert calls(events(run, 1), "riscv_kvm_exit") == ["kvm_exit", "kvm_riscv_aia_exit"]
    assert calls(events(run, 1), "kvm_riscv_aia_exit") == ["kvm_unregister_device_ops", "aia_hgei_exit"]
    assert calls(events(run, 1), "aia_hgei_exit") == ["free_percpu_irq"]
    assert not any(kind == "warn" for kind, *_ in events(run, 1))
    assert results(run) == [0, 0]


def test_config() -> None:
    """arch/riscv/kvm/Kconfig selects HAVE_KVM_IRQCHIP, but neither async page faults nor VFIO."""
    seen = {name for _, _, name, _, _ in events(go("riscv", "load"))}
    assert "kvm_irqfd_init" in seen
    assert not seen & {"kvm_async_pf_init", "kvm_vfio_ops_init", "kvm_gmem_init"}


def test_registers_of_each_cpu() -> None:
    """Every CPU is set up by kvm_arch_enable_virtualization_cpu() and set back by its counterpart."""
    run = go("riscv", "load", "unload", cpus=3)
    for cpu in (1, 2):
        assert writes(events(run), cpu) == ENABLE + AIA_ENABLE
        assert writes(events(run, 1), cpu) == AIA_DISABLE + DISABLE


def test_interrupt_of_each_cpu() -> None:
    """kvm_riscv_aia_enable() enables the per-CPU interrupt, kvm_riscv_aia_disable() disables it."""
    run = go("riscv", "load", "unload")
    for nth in (1, 2):
        assert calls(events(run), "kvm_riscv_aia_enable", nth) == [
            "enable_percpu_irq",
            "__riscv_isa_extension_available",
        ]
        assert calls(events(run, 1), "kvm_riscv_aia_disable", nth) == [
            "__riscv_isa_extension_available",
            "disable_percpu_irq",
        ]
    kinds = [(kind, name) for kind, at, name, _, _ in events(run) if at.cpu == 1]
    assert kinds.index(("write", "HVIPRIO2")) < kinds.index(("enter", "enable_percpu_irq"))
    assert kinds.index(("exit", "enable_percpu_irq")) < kinds.index(("write", "HIE"))
    kinds = [(kind, name) for kind, at, name, _, _ in events(run, 1) if at.cpu == 1]
    assert kinds.index(("write", "HIE")) < kinds.index(("enter", "disable_percpu_irq"))
    assert kinds.index(("exit", "disable_percpu_irq")) < kinds.index(("write", "HVICTL"))


def test_registers_that_stay() -> None:
    """After unloading, HCOUNTEREN and HVICTL differ from before loading, and nothing else does."""
    run = go("riscv", "load", "unload")
    assert changed(run) == {
        (cpu, r): v for cpu in (0, 1) for r, v in (("HCOUNTEREN", 2), ("HVICTL", NO_INTERRUPT))
    }


def test_nothing_is_held_after_unload() -> None:
    """Everything acquired at load is released at unload, and a second time round as well."""
    run = go("riscv", "load", "unload", "load", "unload")
    assert held(RiscV(), go("riscv", "load")) != []
    assert held(RiscV(), run) == []
    assert results(run) == [0, 0, 0, 0]
    assert run.trace.after["4 unload"] == run.trace.after["before"]


def test_mapping_is_found_again() -> None:
    """irq_create_mapping() gives a second load the number of the first (kernel/irq/irqdomain.c)."""
    run = go("riscv", "load", "unload", "load")
    numbers = [v for kind, _, name, _, v in everything(run) if (kind, name) == ("exit", "irq_create_mapping")]
    assert numbers == [1, 1]


@pytest.mark.parametrize(
    ("features", "expected"),
    [
        ({}, [SV57X4, 0, SV57X4 | VMID, 0]),
        ({"sv57x4": False}, [0, SV48X4, 0, SV48X4 | VMID, 0]),
        ({"sv57x4": False, "sv48x4": False}, [0, 0, 0, SV39X4 | VMID, 0]),
    ],
)
def test_detecting_the_format(features: dict[str, bool], expected: list[int]) -> None:
    """mmu.c tries Sv57x4, then Sv48x4, in HGATP; vmid.c tries all bits of a VMID in it, and puts it back."""
    run = go("riscv", "load", features=features)
    assert [v for name, v in writes(events(run), 0) if name == "HGATP"] == expected
    for function in ("kvm_riscv_gstage_mode_detect", "kvm_riscv_gstage_vmid_detect"):
        assert calls(events(run), function)[-1] == "kvm_riscv_local_hfence_gvma_all"
    # An address has 12 bits within the page, and 9 for each level.
    width = 12 + 9 * loaded(features)[Mmu].gstage_pgd_levels
    assert run.trace.log[1] == f"kvm: Sv{width}x4 page tables"


@pytest.mark.parametrize(("length", "cpus", "bits"), [(1, 2, 1), (1, 3, 0), (2, 3, 2), (0, 2, 0)])
def test_vmids(monkeypatch: pytest.MonkeyPatch, length: int, cpus: int, bits: int) -> None:
    """kvm_riscv_gstage_vmid_detect() takes VMIDs that are too few for the possible CPUs for none (vmid.c)."""
    monkeypatch.setattr(csr, "VMIDLEN", length)
    run = go("riscv", "load", cpus=cpus)
    assert writes(events(run), 0)[2] == ("HGATP", SV57X4 | ((1 << length) - 1) << 44)
    assert run.trace.log[2] == f"kvm: VMIDs of {bits} bits"


@pytest.mark.parametrize(
    ("geilen", "stuck", "lines", "free", "ids"),
    [
        (7, 0xFE, 7, 0xFE, 256),
        (3, 0xE, 3, 0xE, 256),
        # The IMSICs of this machine have no more than 7 guest files.
        (63, (1 << 64) - 2, 7, 0xFE, 256),
        (0, 0, 0, 0, 2048),
    ],
)
def test_counting_the_lines(
    monkeypatch: pytest.MonkeyPatch, geilen: int, stuck: int, lines: int, free: int, ids: int
) -> None:
    """kvm_riscv_aia_init() counts the bits that HGEIE takes; all lines but the first are free (aia.c)."""
    monkeypatch.setattr(csr, "GEILEN", geilen)
    run = go("riscv", "load")
    assert [v for name, v in writes(events(run), 0) if name == "HGEIE"] == [stuck, 0]
    assert run.trace.log[3] == f"kvm: AIA with {lines} guest external interrupts"
    g = loaded()[Aia]
    assert (g.kvm_riscv_aia_nr_hgei, g.kvm_riscv_aia_max_ids) == (lines, ids)
    assert [g.free_bitmap[cpu] for cpu in range(3)] == [free] * 3


def test_without_imsic() -> None:
    """Without IMSICs KVM uses no lines, but kvm_riscv_aia_init() succeeds all the same (aia.c)."""
    run = go("riscv", "load", "unload", features={"imsic": False})
    assert [v for name, v in writes(events(run), 0) if name == "HGEIE"] == [0xFE, 0]
    assert run.trace.log[3] == "kvm: AIA with 0 guest external interrupts"
    g = loaded({"imsic": False})[Aia]
    assert (g.kvm_riscv_aia_max_ids, g.free_bitmap[1]) == (2048, 0)
    assert results(run) == [0, 0]
    assert held(RiscV(), run) == []


def test_without_sscofpmf() -> None:
    """Without Sscofpmf HVIEN is not touched (aia.c)."""
    run = go("riscv", "load", "unload", features={"sscofpmf": False})
    assert writes(events(run), 1) == ENABLE + AIA_ENABLE[:-1]
    assert writes(events(run, 1), 1) == AIA_DISABLE[1:] + DISABLE


def test_sscofpmf_is_asked_for_each_time() -> None:
    """aia.c asks on the way up and on the way down: what only one of them is told stays in HVIEN, or never came."""
    # The calls: two CPUs up, two CPUs down.
    run = go("riscv", "load", "unload", fail="__riscv_isa_extension_available@1")
    assert writes(events(run), 1) == ENABLE + AIA_ENABLE[:-1]
    assert writes(events(run, 1), 1) == AIA_DISABLE + DISABLE
    assert (1, "HVIEN") not in changed(run)

    run = go("riscv", "load", "unload", fail="__riscv_isa_extension_available#2@1")
    assert writes(events(run), 1) == ENABLE + AIA_ENABLE
    assert writes(events(run, 1), 1) == AIA_DISABLE[1:] + DISABLE
    assert changed(run)[1, "HVIEN"] == 1 << 13
    assert (0, "HVIEN") not in changed(run)


def test_log_of_init() -> None:
    """riscv_kvm_init() tells of the extension before it looks at the format, then of the format, the VMIDs, the AIA."""
    log = go("riscv", "load").trace.log
    assert log == [
        "kvm: the harts have the hypervisor extension",
        "kvm: Sv57x4 page tables",
        "kvm: VMIDs of 14 bits",
        "kvm: AIA with 7 guest external interrupts",
    ]
    assert go("riscv", "load", fail="kvm_riscv_gstage_mode#2").trace.log == log[:1]


def test_without_aia() -> None:
    """riscv_kvm_init() forgives -ENODEV of kvm_riscv_aia_init(); the AIA's functions are empty then."""
    run = go("riscv", "load", "unload", features={"ssaia": False})
    assert results(run) == [0, 0]
    assert writes(events(run), 1) == ENABLE
    assert writes(events(run, 1), 1) == DISABLE
    assert calls(events(run), "kvm_riscv_aia_init") == ["riscv_isa_extension_available"]
    assert calls(events(run), "kvm_riscv_aia_enable") == []
    assert calls(events(run, 1), "kvm_riscv_aia_exit") == []
    assert changed(run) == {(0, "HCOUNTEREN"): 2, (1, "HCOUNTEREN"): 2}


@pytest.mark.parametrize(
    ("fail", "probes"),
    [
        ("riscv_isa_extension_available", 1),
        ("sbi_spec_is_0_1", 2),
        ("sbi_probe_extension", 3),
    ],
)
def test_machine_will_not_do(fail: str, probes: int) -> None:
    """The first three exits of riscv_kvm_init() give -ENODEV before anything was done."""
    run = go("riscv", "load", fail=fail)
    assert results(run) == [-ENODEV]
    assert calls(events(run), "riscv_kvm_init") == PROBES[:probes]
    assert changed(run) == {}
    assert len(run.trace.log) == 1


@pytest.mark.parametrize(
    ("fail", "errno", "hgei", "aia"),
    [
        ("irq_find_matching_fwnode", ENOENT, 1, []),
        ("irq_create_mapping", ENOMEM, 2, []),
        ("request_percpu_irq", EBUSY, 3, []),
        ("request_percpu_irq=EINVAL", EINVAL, 3, []),
        ("request_percpu_irq=ENOMEM", ENOMEM, 3, []),
        ("kvm_register_device_ops=ENOSPC", ENOSPC, 3, ["kvm_register_device_ops", "aia_hgei_exit"]),
        ("kvm_register_device_ops", EEXIST, 3, ["kvm_register_device_ops", "aia_hgei_exit"]),
    ],
)
def test_aia_fails(fail: str, errno: int, hgei: int, aia: list[str]) -> None:
    """A failure of the AIA other than -ENODEV ends riscv_kvm_init(), and leaves nothing behind (aia.c)."""
    run = go("riscv", "load", fail=fail)
    assert results(run) == [-errno]
    assert calls(events(run), "riscv_kvm_init") == PROBES
    assert calls(events(run), "kvm_riscv_aia_init") == [
        "riscv_isa_extension_available",
        "aia_hgei_init",
        *aia,
    ]
    assert len(calls(events(run), "aia_hgei_init")) == hgei
    assert len(run.trace.log) == (0 if aia else 1)
    assert held(RiscV(), run) == []
    assert changed(run) == {}


def test_any_enodev_is_forgiven() -> None:
    """riscv_kvm_init() takes -ENODEV of request_percpu_irq() for a missing AIA, and goes on without."""
    run = go("riscv", "load", "unload", fail="request_percpu_irq=ENODEV")
    assert results(run) == [0, 0]
    assert writes(events(run), 1) == ENABLE
    assert held(RiscV(), run) == []


def test_unknown_format_forgets_the_aia() -> None:
    """The switch's default in riscv_kvm_init() returns -ENODEV without kvm_riscv_aia_exit()."""
    run = go("riscv", "load", fail="kvm_riscv_gstage_mode#2")
    assert results(run) == [-ENODEV]
    assert calls(events(run), "riscv_kvm_init") == [*PROBES, "kvm_riscv_gstage_mode"]
    # KVM_DEV_TYPE_RISCV_AIA is 11 (include/uapi/linux/kvm.h).
    assert held(RiscV(), run) == [("irq", 1), ("device_ops", 11)]


def test_kvm_init_fails() -> None:
    """If kvm_init() fails, riscv_kvm_init() calls kvm_riscv_aia_exit() and gives its errno."""
    run = go("riscv", "load", fail="misc_register")
    assert results(run) == [-EBUSY]
    assert calls(events(run), "riscv_kvm_init")[-3:] == [
        "kvm_riscv_gstage_mode",
        "kvm_init",
        "kvm_riscv_aia_exit",
    ]
    # kvm_init() of 6.12.117 forgets the debugfs directory on its three upper labels.
    assert held(RiscV(), run) == [("debugfs", "kvm")]
    assert writes(events(run), 1) == ENABLE + AIA_ENABLE + AIA_DISABLE + DISABLE


def test_cpu_fails() -> None:
    """A CPU that cannot be enabled gives -EIO; those below it are disabled, and the AIA is given up."""
    run = go("riscv", "load", fail="kvm_enable_virtualization_cpu@1", cpus=3)
    assert results(run) == [-EIO]
    assert [w for w in writes(events(run), 0) if w[0] not in ("HGATP", "HGEIE")] == (
        ENABLE + AIA_ENABLE + AIA_DISABLE + DISABLE
    )
    assert writes(events(run), 1) == writes(events(run), 2) == []
    assert calls(events(run), "riscv_kvm_init")[-1] == "kvm_riscv_aia_exit"
    assert not any(kind == "warn" for kind, *_ in events(run))


def test_not_enabled_at_load() -> None:
    """With enable_virt_at_load=0 no CPU is touched by loading but for what is probed."""
    run = go("riscv", "load", "unload", params={"enable_virt_at_load": "0"})
    assert {name for name, _ in writes(events(run), 0)} == {"HGATP", "HGEIE"}
    assert writes(events(run), 1) == []
    assert held(RiscV(), run) == []
    assert changed(run) == {}


def test_interrupt_is_requested_once() -> None:
    """request_percpu_irq() gives -EBUSY for an interrupt that has an action (kernel/irq/manage.c)."""
    k = Kernel(RiscV())
    request_percpu_irq(k, 5, "first")
    with pytest.raises(KernelError) as error:
        request_percpu_irq(k, 5, "second")
    assert error.value.errno == EBUSY
    free_percpu_irq(k, 5)
    request_percpu_irq(k, 5, "second")


def test_interrupt_is_freed_disabled() -> None:
    """__free_percpu_irq() warns and keeps an interrupt that some CPU has enabled (kernel/irq/manage.c)."""
    k = Kernel(RiscV())
    request_percpu_irq(k, 5, "irq")
    enable_percpu_irq(k, 5, 0)
    free_percpu_irq(k, 5)
    with pytest.raises(KernelError):
        request_percpu_irq(k, 5, "irq")
    disable_percpu_irq(k, 5)
    free_percpu_irq(k, 5)
    free_percpu_irq(k, 5)
    warned = [text for kind, _, _, _, text in k.events if kind == "warn"]
    assert warned == ["!cpumask_empty(desc->percpu_enabled)", "!action"]


def test_interrupts_are_numbered() -> None:
    """irq_create_mapping() gives each interrupt of a domain a number above 0 of its own."""
    k = Kernel(RiscV())
    domain = irq_domain("intc")
    assert [irq_create_mapping(k, domain, hwirq) for hwirq in (12, 13, 12)] == [1, 2, 1]


def test_no_other_hypervisor_takes_a_hart() -> None:
    """Foreign hypervisors are of x86: the verbs say so."""
    for verb in ("foreign-on=0", "foreign-off=0"):
        with pytest.raises(Misuse, match="knows no other hypervisor"):
            go("riscv", verb)
