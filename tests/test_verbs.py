# SPDX-License-Identifier: GPL-2.0-only
"""The verbs: what a user can do, and the errno that Linux gives where it cannot be done."""

from __future__ import annotations

import pytest
from command_line import Command
from reading import calls, go

from kvm_ref.linux.file import FIRST, RLIMIT_NOFILE


def results(*verbs: str, backend: str = "x86-svm", fail: str = "", **more: object) -> list[int | None]:
    """Return what each verb gave."""
    return [r for step in go(backend, *verbs, fail=fail, **more).trace.steps for r in step.results]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("verbs", "given"),
    [
        ("create-vm", [-2]),  # ENOENT: open(2), there is no /dev/kvm
        ("open-dev", [-2]),
        ("load close-vm", [0, -9]),  # EBADF: close(2)
        ("load close-vm=3", [0, -9]),
        ("load close-dev", [0, -9]),
        ("load create-vm close-vm=1 close-vm=0", [0, 0, -9, 0]),
        ("load create-vm create-vm close-vm=0 create-vm close-vm=1 close-vm=0", [0] * 7),
        ("load create-vm unload close-vm unload", [0, 0, -16, 0, 0]),  # EBUSY: "Module is in use"
        ("load open-dev unload close-dev unload", [0, 0, -16, 0, 0]),
        ("load open-dev create-vm close-dev unload close-vm unload", [0, 0, 0, 0, -16, 0, 0]),
        ("load load unload unload", [0, -17, 0, -2]),  # EEXIST, ENOENT: kernel/module/main.c
        ("offline=1 offline=0", [0, -13]),  # EACCES: x86 has no file for CPU 0
        ("offline=1 offline=1 online=1 online=1", [0] * 4),  # nothing to do: device_offline()
        (
            "load hotplug-fail=1:99999999999 hotplug-fail=1:--5 hotplug-fail=1:+00000000000148 offline=1",
            [0, -34, -22, 0, -11],
        ),
        ("hotplug-fail=1:nosuch", [-22]),
        ("hotplug-fail=1:kvm/cpu:online load hotplug-fail=1:kvm/cpu:online", [-22, 0, 0]),
        ("load hotplug-fail=1:148 offline=1 offline=1", [0, 0, -11, 0]),
        ("foreign-on=0 foreign-on=0 foreign-off=0", [0, -16, 0]),
    ],
)
def test_what_the_kernel_says(verbs: str, given: list[int | None]) -> None:
    """Each verb gives the errno that Linux gives."""
    assert results(*verbs.split()) == given


def test_numbers_of_any_length() -> None:
    """kstrtoint() takes zeros in front, and no number that is none of an int."""
    many = "9" * 5000
    assert results(
        "load", "hotplug-fail=1:" + "0" * 5000 + "148", f"hotplug-fail=1:-{many}", "offline=1"
    ) == [0, 0, -34, -11]


def test_the_last_cpu_stays() -> None:
    """cpu_down_maps_locked() finds no CPU to do it on (EBUSY)."""
    assert results("offline=0", "offline=1", backend="riscv") == [0, -16]


def test_a_hypervisor_that_finds_the_cpu_taken() -> None:
    """Another hypervisor is refused where virtualization is on, and where the CPU does not run (ENXIO)."""
    assert results("load", "foreign-on=0", "unload", "foreign-on=0", backend="x86-vmx") == [0, -16, 0, 0]
    assert results("offline=1", "foreign-on=1", backend="x86-vmx") == [0, -6]


def test_s390_does_not_suspend() -> None:
    """arch/s390/Kconfig does not source kernel/power/Kconfig, so there is no /sys/power (kernel/power/main.c)."""
    assert results("load", "suspend", "unload", backend="s390") == [0, -2, 0]


@pytest.mark.parametrize("verb", ["reboot", "poweroff", "halt", "kexec"])
def test_nothing_follows_the_end(verb: str) -> None:
    """After the machine went down no verb runs; kvm_shutdown() has run on every CPU (kernel/reboot.c)."""
    done = go("x86-svm", "load", verb, "unload", cpus=3)
    assert [s.results for s in done.trace.steps] == [[0], [None]]
    off = [
        at.cpu
        for k, at, f, *_ in done.trace.steps[1].events or ()
        if (k, f) == ("exit", "kvm_arch_disable_virtualization_cpu")
    ]
    assert sorted(off) == [0, 1, 2]
    assert calls(done.trace.steps[1].events or (), "syscore_shutdown") == ["kvm_shutdown"]


def test_what_did_not_run_is_told(kvm_ref: Command) -> None:
    """What was asked for after the end of the machine is named on stderr; that is no mistake."""
    done = kvm_ref("run", "load", "reboot", "load", "offline=1")
    assert (done.status, done.err) == (0, "kvm-ref: the machine has stopped: load offline=1 did not run\n")
    assert kvm_ref("run", "load", "reboot").err == ""


def test_a_kexec_that_fails_lets_go() -> None:
    """reboot(2) gives what kernel_kexec() gives, and the next change of the system's state may come."""
    assert results("load", "kexec", "suspend", "unload", fail="kernel_kexec") == [0, -16, 0, 0]


def test_the_table_of_descriptors_can_be_full() -> None:
    """get_unused_fd_flags() gives -EMFILE when as many are open as may be (fs/file.c)."""
    room = RLIMIT_NOFILE - FIRST
    assert results("load", *["open-dev"] * (room - 1), "create-vm")[-1] == -24
    assert results("load", *["open-dev"] * (room + 1), "create-vm")[-2:] == [-24, -24]
    assert results("load", "create-vm", fail="get_unused_fd_flags") == [0, -24]


def test_a_vm_that_fails_leaves_no_number() -> None:
    """The number of a VM that could not be made goes to the next one."""
    assert results("load", "create-vm", "create-vm", "close-vm=0", fail="init_srcu_struct") == [0, -12, 0, 0]


def test_a_device_whose_module_goes() -> None:
    """misc_open() and anon_inode_getfile() fail if the module cannot be had (ENODEV, ENOENT)."""
    assert results("load", "open-dev", fail="try_module_get") == [0, -19]
    assert results("load", "create-vm", fail="try_module_get#2") == [0, -2]


@pytest.mark.parametrize("backend", ["arm64", "loongarch", "mips", "riscv", "s390", "x86-svm", "x86-vmx"])
def test_a_vm_on_every_backend(backend: str) -> None:
    """A VM comes and goes on every backend, with and without enabling at load."""
    unload = [] if backend == "arm64" else ["unload"]
    verbs = ["load", "create-vm", "create-vm", "close-vm", "close-vm", *unload]
    for params in (
        ({},) if backend == "s390" else ({"enable_virt_at_load": "0"}, {"enable_virt_at_load": "1"})
    ):
        assert results(*verbs, backend=backend, params=params) == [0] * len(verbs)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("offline=9", "no CPU 9: this machine has 0-3"),
        ("offline=x", "malformed CPU 'x': expected a number, as in offline=1"),
        ("offline", "verb offline takes CPU, as in offline=0"),
        ("suspend=now", "verb suspend takes no argument"),
        ("close-vm=", "verb close-vm takes [N], as in close-vm=0"),
        ("close-vm=one", "malformed VM 'one': expected a number, as in close-vm=0"),
        ("hotplug-fail=1", "verb hotplug-fail takes CPU:STATE, as in hotplug-fail=1:kvm/cpu:online"),
        ("hotplug-fail=1:", "verb hotplug-fail takes CPU:STATE, as in hotplug-fail=1:kvm/cpu:online"),
        ("hotplug-fail=1:nosuch", None),
        ("hotplug-fail=9:148", "no CPU 9: this machine has 0-3"),
        ("create-vmm", "unknown verb 'create-vmm': did you mean create-vm?"),
        ("load=nosuch", "unknown module 'nosuch'"),
    ],
)
def test_what_cannot_be_asked_for(kvm_ref: Command, words: str, message: str | None) -> None:
    """One line that says what would be right, and status 2; what the kernel refuses is no misuse."""
    done = kvm_ref("run", words)
    if message is None:
        assert done.status == 0
    else:
        assert done.status == 2
        assert done.err.startswith(f"kvm-ref: {message}")
        assert done.err.count("\n") == 1
