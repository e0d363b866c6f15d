# SPDX-License-Identifier: GPL-2.0-only
"""The backend loongarch against the text of arch/loongarch/kvm/main.c."""

from __future__ import annotations

import pytest
from leftovers import changed, events, held, results
from reading import calls, go, writes

from arch.loongarch.kvm.backend import LoongArch
from arch.loongarch.kvm.main import LoongArchKvm, kvm_loongarch_env_exit, kvm_loongarch_env_init
from kvm_ref.errno import EBUSY, EIO, ENODEV, ENOMEM, KernelError
from kvm_ref.fault import arm, parse
from kvm_ref.kernel import Kernel
from kvm_ref.scenario import Cpus, Scenario, run
from kvm_ref.verbs import modprobe
from kvm_ref.vocabulary import Vocabulary

# GCFG: GCIP, bits 19-16, and MATP, bits 2-0, say what the CPU can do; this one has GCIP_SECURE
# (bit 18) and MATP_ROOT (bit 1). GSTAT: GIDBIT, bits 9-4, says that a GID has 8 bits.
GCFG, GSTAT = 1 << 18 | 1 << 1, 8 << 4
# GCI, bits 21-20, of 2 (secure), MATC, bits 5-4, of 1 (root).
CHOSEN = 2 << 20 | 1 << 4
USETGID = 1 << 12

# The first four lines are those of kvm_arch_disable_virtualization_cpu(), too.
CLEAR = [("GCFG", GCFG), ("GSTAT", GSTAT), ("GINTC", 0), ("GTLBC", 0)]
ENABLE = [*CLEAR, ("GCFG", GCFG | CHOSEN), ("GTLBC", USETGID)]


class Plain(LoongArch):
    """A CPU that can do none of the things that GCFG tells, and has no GIDs."""

    reset = {"GCFG": 0, "GSTAT": 0}  # noqa: RUF012  the base declares it ClassVar


def test_order_of_init() -> None:
    """kvm_loongarch_init() tests for LVZ, allocates, and calls kvm_init() last."""
    run = go("loongarch", "load")
    assert calls(events(run), "kvm_loongarch_init") == ["cpu_has_lvz", "kvm_loongarch_env_init", "kvm_init"]
    assert calls(events(run), "kvm_loongarch_env_init") == ["alloc_percpu", "kzalloc", "kvm_init_gcsr_flag"]
    assert results(run) == [0]
    assert run.trace.after["1 load"]["usetgid_cpus"] == [0, 1]


def test_order_of_exit() -> None:
    """kvm_loongarch_exit() frees after kvm_exit(), the per-CPU part first."""
    run = go("loongarch", "load", "unload")
    assert calls(events(run, 1), "kvm_loongarch_exit") == ["kvm_exit", "kvm_loongarch_env_exit"]
    assert calls(events(run, 1), "kvm_loongarch_env_exit") == ["free_percpu", "kfree"]
    assert results(run) == [0, 0]


def test_config() -> None:
    """arch/loongarch/kvm/Kconfig selects none of the optional parts of the common code."""
    seen = {name for _, _, name, _, _ in events(go("loongarch", "load"))}
    assert "kvm_init_virtualization" in seen
    assert not seen & {"kvm_irqfd_init", "kvm_async_pf_init", "kvm_vfio_ops_init", "kvm_gmem_init"}


def test_registers_of_each_cpu() -> None:
    """Each CPU is set up by kvm_arch_enable_virtualization_cpu() and cleared by its counterpart."""
    run = go("loongarch", "load", "unload", cpus=3)
    for cpu in (0, 1, 2):
        assert writes(events(run), cpu) == ENABLE
        assert writes(events(run, 1), cpu) == CLEAR


def test_tlb_is_flushed() -> None:
    """Enabling flushes after the second write of GCFG and before USETGID; disabling flushes last."""
    run = go("loongarch", "load", "unload", cpus=1)
    function = "kvm_arch_enable_virtualization_cpu"
    assert calls(events(run), function) == ["kvm_flush_tlb_all"]
    names = [(kind, name) for kind, at, name, _, _ in events(run) if at.task == "cpuhp/0"]
    assert names[names.index(("enter", function)) + 1 : names.index(("exit", function))] == [
        ("write", "GCFG"),
        ("write", "GSTAT"),
        ("write", "GINTC"),
        ("write", "GTLBC"),
        ("write", "GCFG"),
        ("enter", "kvm_flush_tlb_all"),
        ("exit", "kvm_flush_tlb_all"),
        ("write", "GTLBC"),
    ]
    function = "kvm_arch_disable_virtualization_cpu"
    names = [(kind, name) for kind, at, name, _, _ in events(run, 1) if at.task == "cpuhp/0"]
    assert names[names.index(("exit", function)) - 3 : names.index(("exit", function))] == [
        ("write", "GTLBC"),
        ("enter", "kvm_flush_tlb_all"),
        ("exit", "kvm_flush_tlb_all"),
    ]


def test_nothing_is_left_after_unload() -> None:
    """Everything acquired is released and every register is as before, a second time round as well."""
    loaded = go("loongarch", "load")
    assert ("percpu", "percpu:kvm_context") in held(LoongArch(), loaded)
    assert ("kmalloc", "kvm_world_switch") in held(LoongArch(), loaded)
    run = go("loongarch", "load", "unload", "load", "unload")
    assert held(LoongArch(), run) == []
    assert changed(run) == {}
    assert writes(events(run, 2), 1) == ENABLE
    assert run.trace.after["4 unload"] == run.trace.after["before"]


def test_plain_cpu() -> None:
    """What GCFG does not offer is not chosen in it."""
    plain = run(Scenario("loongarch", ("load",), cpus=Cpus.of((0, 1))), Plain())
    assert writes(events(plain), 1) == [
        ("GCFG", 0),
        ("GSTAT", 0),
        ("GINTC", 0),
        ("GTLBC", 0),
        ("GCFG", 0),
        ("GTLBC", USETGID),
    ]


@pytest.mark.parametrize(("backend", "mask"), [(LoongArch, 0xFF), (Plain, 0)])
def test_vpids(backend: type[LoongArch], mask: int) -> None:
    """kvm_loongarch_env_init() reads the width of a VPID from GSTAT, and starts each CPU's count above it."""
    k = Kernel(backend(), possible=range(3), online=[0, 1])
    modprobe(k, None)
    g = k[LoongArchKvm]
    assert g.vpid_mask == mask
    assert g.vmcs is not None
    assert [(c.vpid_cache, c.last_vcpu) for c in map(g.vmcs.cpu.get, range(3)) if c] == [(mask + 1, None)] * 3


def test_last_vcpu_is_forgotten() -> None:
    """kvm_arch_enable_virtualization_cpu() clears last_vcpu on its own CPU alone."""
    k = Kernel(LoongArch(), possible=range(2))
    modprobe(k, None)
    vmcs = k[LoongArchKvm].vmcs
    assert vmcs is not None
    contexts = [context for context in map(vmcs.cpu.get, range(2)) if context]
    for context in contexts:
        context.last_vcpu = "vcpu"
    k.run_on("ipi", 1, LoongArch.kvm_arch_enable_virtualization_cpu)
    assert [context.last_vcpu for context in contexts] == ["vcpu", None]


def test_no_lvz() -> None:
    """Without LVZ kvm_loongarch_init() gives -ENODEV before anything was done."""
    run = go("loongarch", "load", fail="cpu_has_lvz")
    assert results(run) == [-ENODEV]
    assert calls(events(run), "kvm_loongarch_init") == ["cpu_has_lvz"]
    assert len(run.trace.log) == 1


@pytest.mark.parametrize(
    ("fail", "expected"),
    [("alloc_percpu", ["alloc_percpu"]), ("kzalloc", ["alloc_percpu", "kzalloc", "free_percpu"])],
)
def test_no_memory(fail: str, expected: list[str]) -> None:
    """Without memory kvm_loongarch_env_init() gives -ENOMEM and undoes itself what it did."""
    run = go("loongarch", "load", "load", fail=fail)
    assert results(run) == [-ENOMEM, 0]
    assert calls(events(run), "kvm_loongarch_env_init") == expected
    assert calls(events(run), "kvm_loongarch_init") == ["cpu_has_lvz", "kvm_loongarch_env_init"]
    once = go("loongarch", "load", fail=fail)
    assert held(LoongArch(), once) == []
    assert len(once.trace.log) == (1 if fail == "alloc_percpu" else 0)


def test_freed_pointer_is_cleared() -> None:
    """Where kzalloc() fails, kvm_loongarch_env_init() clears vmcs, so that nobody frees it again."""
    k = Kernel(LoongArch())
    arm(k, [parse("kzalloc")], Vocabulary.of(k.arch))
    with pytest.raises(KernelError):
        kvm_loongarch_env_init(k)
    seen = k.record()
    kvm_loongarch_env_exit(k)
    assert calls(seen, "kvm_loongarch_env_exit") == []


def test_kvm_init_fails() -> None:
    """If kvm_init() fails, kvm_loongarch_init() calls kvm_loongarch_env_exit() and gives its errno."""
    run = go("loongarch", "load", fail="misc_register")
    assert results(run) == [-EBUSY]
    assert calls(events(run), "kvm_loongarch_init")[-2:] == ["kvm_init", "kvm_loongarch_env_exit"]
    assert calls(events(run), "kvm_loongarch_env_exit") == ["free_percpu", "kfree"]
    # kvm_init() of 6.12.117 forgets the debugfs directory on its three upper labels.
    assert held(LoongArch(), run) == [("debugfs", "kvm")]
    assert writes(events(run), 1) == ENABLE + CLEAR
    assert changed(run) == {}


def test_cpu_fails() -> None:
    """A CPU that cannot be enabled gives -EIO; the CPU below it is cleared, the others were not touched."""
    run = go("loongarch", "load", fail="kvm_enable_virtualization_cpu@1", cpus=3)
    assert results(run) == [-EIO]
    assert writes(events(run), 0) == ENABLE + CLEAR
    assert writes(events(run), 1) == writes(events(run), 2) == []
    assert calls(events(run), "kvm_loongarch_init")[-1] == "kvm_loongarch_env_exit"


def test_pointers_stay() -> None:
    """kvm_loongarch_env_exit() frees both allocations and clears neither pointer."""
    k = Kernel(LoongArch())
    kvm_loongarch_env_init(k)
    kvm_loongarch_env_exit(k)
    assert k[LoongArchKvm].vmcs is not None
    assert k[LoongArchKvm].kvm_loongarch_ops is not None
