# SPDX-License-Identifier: GPL-2.0-only
"""The command `run`: real faults, followed by hand through virt/kvm/kvm_main.c of 6.12.117."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import pytest
from command_line import Command, Done
from reading import go

# kvm_init() from err_register on, and kvm_enable_virtualization() from err_rebooting on.
ERR_CPU_KICK_MASK = ["free_cpumask_var", "free_cpumask_var", "kmem_cache_destroy"]
ERR_VFIO = ["kvm_async_pf_deinit", "kvm_irqfd_exit", *ERR_CPU_KICK_MASK]
ERR_VIRT = ["kvm_vfio_ops_exit", *ERR_VFIO]
ERR_REGISTER = ["kvm_uninit_virtualization", *ERR_VIRT]
ERR_CPUHP = ["kvm_arch_disable_virtualization"]
ERR_REBOOTING = ["unregister_syscore", "cpuhp_remove_state", *ERR_CPUHP]


def svm(kvm_ref: Command, *args: str) -> Done:
    """Run on SVM with two CPUs, as JSON."""
    return kvm_ref("run", "--backend", "x86-svm", "--cpus", "2", "--format", "json", *args)


def after_goto(data: Any, function: str) -> list[str]:
    """Return the label of a function's goto, and what the function called from there on."""
    events = [e for step in data["steps"] for e in step["events"]]
    at = next(n for n, e in enumerate(events) if e["kind"] == "goto" and e["function"] == function)
    goto = events[at]
    out = [goto["args"]["label"]]
    for event in events[at:]:
        same = (event["task"], event["cpu"], event["depth"]) == (goto["task"], goto["cpu"], goto["depth"])
        if event["kind"] == "enter" and same:
            out.append(event["function"])
        if event["kind"] == "exit" and event["function"] == function:
            return out
    raise AssertionError(f"{function} did not return")


def results(data: Any) -> list[int]:
    """Return what each verb gave."""
    return [r for step in data["steps"] for r in step["results"]]


def entered(data: Any, function: str) -> list[int]:
    """Return the CPUs on which a function was called, in order."""
    return [
        e["cpu"]
        for s in data["steps"]
        for e in s["events"]
        if (e["kind"], e["function"]) == ("enter", function)
    ]


def test_misc_register_fails(kvm_ref: Command) -> None:
    """kvm_init(): goto err_register; everything but debugfs is undone, and -EBUSY is returned."""
    data = svm(kvm_ref, "--fail", "misc_register", "load").json
    assert results(data) == [-16]
    assert after_goto(data, "kvm_init") == ["err_register", *ERR_REGISTER]
    assert [(f["judge"], f["resource"], f["commit"]) for f in data["findings"]] == [
        ("leak", "debugfs:kvm", "b31e7c24b475")
    ]
    assert data["after"]["1 load"]["debugfs_kvm"] is True
    assert data["log"] == ["kvm: misc device register failed"]


def test_its_command_shows_it_again(kvm_ref: Command) -> None:
    """The `again` command of a finding is complete: it gives the same finding."""
    args = (
        "--fail",
        "misc_register#2",
        "--param",
        "kvm.enable_virt_at_load=n",
        "--feature",
        "constant_tsc=1",
    )
    first = svm(kvm_ref, *args, "load", "unload", "load").json["findings"]
    assert [f["judge"] for f in first] == ["leak"]
    again = shlex.split(first[0]["command"])
    assert again[:2] == ["kvm-ref", "run"]
    assert kvm_ref(*again[1:], "--format", "json").json["findings"] == first


def test_with_the_commit_that_mends_it(kvm_ref: Command) -> None:
    """b31e7c24b475 removes the directory below err_vfio; nothing is found then."""
    done = svm(kvm_ref, "--fail", "misc_register", "--with", "b31e7c24b475", "load")
    assert (done.status, done.json["findings"], results(done.json)) == (0, [], [-16])
    assert "debugfs_remove_recursive" in after_goto(done.json, "kvm_init")
    assert done.json["after"]["1 load"]["debugfs_kvm"] is False


@pytest.mark.parametrize("spelt", ["b31e7c2", "b31e7c24b475", "b31e7c24b475" + "0" * 28])
def test_commits_are_known_by_any_length(kvm_ref: Command, spelt: str) -> None:
    """Seven digits are enough, as git's own."""
    assert svm(kvm_ref, "--fail", "misc_register", "--with", spelt, "load").status == 0


def test_without_enabling_at_load(kvm_ref: Command) -> None:
    """Before b4886fab6fb6, kvm_init() and kvm_exit() left virtualization alone."""
    done = svm(kvm_ref, "--without", "b4886fab6fb6", "load", "unload")
    assert (done.status, results(done.json)) == (0, [0, 0])
    assert entered(done.json, "kvm_init_virtualization") == []
    assert entered(done.json, "kvm_enable_virtualization") == []
    failed = svm(kvm_ref, "--without", "b4886fab6fb6", "--fail", "misc_register", "load").json
    assert after_goto(failed, "kvm_init") == ["err_register", *ERR_VIRT]


def test_the_parameter_0_leaves_enabling_for_later(kvm_ref: Command) -> None:
    """kvm_init_virtualization() asks enable_virt_at_load; so does kvm_uninit_virtualization()."""
    data = svm(kvm_ref, "--param", "enable_virt_at_load=0", "load", "unload").json
    assert results(data) == [0, 0]
    assert entered(data, "kvm_init_virtualization") == [0]
    assert entered(data, "kvm_uninit_virtualization") == [0]
    assert entered(data, "kvm_enable_virtualization") == []
    assert entered(data, "kvm_disable_virtualization") == []
    assert data["params"]["enable_virt_at_load"] is False


def test_a_reboot_that_falls_into_the_load(kvm_ref: Command) -> None:
    """kvm_enable_virtualization(): the check behind register_syscore() goes to err_rebooting, -EBUSY."""
    data = svm(kvm_ref, "--reboot-at", "register_syscore", "load").json
    assert results(data) == [-16]
    assert after_goto(data, "kvm_enable_virtualization") == ["err_rebooting", *ERR_REBOOTING]
    assert after_goto(data, "kvm_init") == ["err_virt", *ERR_VIRT]
    assert data["faults"][0]["effect"] == "system_state=SYSTEM_RESTART"
    assert entered(data, "svm_disable_virtualization_cpu") == [0, 1]


def test_a_cpu_that_cannot_be_enabled(kvm_ref: Command) -> None:
    """The backend's -EBUSY becomes -EIO; CPU 0 is rolled back, CPU 1 is not; then err_cpuhp, err_virt."""
    data = svm(kvm_ref, "--fail", "kvm_arch_enable_virtualization_cpu@1=EBUSY", "load").json
    assert results(data) == [-5]
    assert entered(data, "kvm_online_cpu") == [0, 1]
    assert entered(data, "kvm_offline_cpu") == [0]
    assert after_goto(data, "kvm_enable_virtualization") == ["err_cpuhp", *ERR_CPUHP]
    assert after_goto(data, "kvm_init") == ["err_virt", *ERR_VIRT]


def test_another_hypervisor(kvm_ref: Command) -> None:
    """svm_enable_virtualization_cpu() gives -EBUSY where EFER.SVME is set; when it is gone, KVM loads."""
    data = svm(kvm_ref, "foreign-on=1", "load", "foreign-off=1", "load", "unload").json
    assert results(data) == [0, -5, 0, 0, 0]
    assert [data["after"][m]["svme_cpus"] for m in ("1 foreign-on=1", "2 load", "4 load")] == [
        [1],
        [1],
        [0, 1],
    ]
    assert "debugfs: Directory 'kvm' with parent '/' already present!" in data["log"]


def test_verbs_after_a_failed_one_still_run(kvm_ref: Command) -> None:
    """As a shell user's would; each gives its own errno."""
    done = kvm_ref(
        "run", "--fail", "misc_register", "unload", "load", "unload", "load", "load=kvm", "unload=kvm"
    )
    verdicts = [line for line in done.lines if line.startswith("== ")]
    assert verdicts == [
        "== unload: -ENOENT",
        "== load: -EBUSY",
        "== unload: -ENOENT",
        "== load: 0",
        "== load=kvm: -EEXIST",
        "== unload=kvm: -EBUSY",
    ]


def test_modules_by_name(kvm_ref: Command) -> None:
    """kvm.ko first, then the vendor module; either spelling of its name (kernel/module/main.c)."""
    data = svm(kvm_ref, "load=kvm", "load=kvm-amd", "unload=kvm", "unload=kvm_amd", "unload=kvm").json
    assert results(data) == [0, 0, -16, 0, 0]
    assert [data["after"][m]["modules"] for m in ("before", "1 load=kvm", "2 load=kvm-amd")] == [
        [],
        ["kvm"],
        ["kvm", "kvm_amd"],
    ]
    assert data["after"]["5 unload=kvm"]["modules"] == []


def test_a_fault_that_never_fires(kvm_ref: Command) -> None:
    """It is said on stderr, and the status is 1: what was asked for did not happen."""
    done = svm(kvm_ref, "--fail", "misc_register#2", "--reboot-at", "register_syscore#3", "load")
    assert done.status == 1
    assert done.err.splitlines() == [
        "kvm-ref: the fault misc_register#2 never fired",
        "kvm-ref: the fault reboot-at register_syscore#3 never fired",
    ]
    assert (done.json["findings"], done.json["idle"]) == (
        [],
        ["misc_register#2", "reboot-at register_syscore#3"],
    )


def test_several_faults(kvm_ref: Command) -> None:
    """Both are told in the head of the text, in each finding, and in its command."""
    done = kvm_ref("run", "--fail", "misc_register", "--fail", "KMEM_CACHE#4=", "load")
    assert done.status == 2
    done = kvm_ref("run", "--fail", "misc_register", "--fail", "kvm_irqfd_init#2", "load", "load")
    assert done.lines[1:3] == ["# fault: misc_register", "# fault: kvm_irqfd_init#2"]
    assert [line for line in done.lines if line.startswith("== ")] == ["== load: -EBUSY", "== load: -ENOMEM"]
    assert "      fault      misc_register kvm_irqfd_init#2" in done.lines


@pytest.mark.parametrize(
    ("line", "params"),
    [
        ("kvm.enable_virt_at_load=0", {"enable_virt_at_load": False}),
        ("kvm.enable-virt-at-load=n quiet", {"enable_virt_at_load": False}),
        ('ro "kvm.enable_virt_at_load=off" root="LABEL=a b"', {"enable_virt_at_load": False}),
        ("kvm.enable_virt_at_load=0 kvm.enable_virt_at_load=1", {"enable_virt_at_load": True}),
        ("kvm.enable_virt_at_load", {"enable_virt_at_load": True}),
        ("console=ttyS0 -- kvm.enable_virt_at_load=0", {"enable_virt_at_load": True}),
        ("kvm_amd.avic=1 xkvm.enable_virt_at_load=0 nokvm", {"enable_virt_at_load": True, "avic": True}),
    ],
)
def test_a_kernel_command_line(kvm_ref: Command, line: str, params: dict[str, bool]) -> None:
    """Dashes are underscores, quotes hold words together, the last one counts, others' words do not."""
    done = svm(kvm_ref, "--cmdline", line, "load")
    assert done.err == ""
    assert {name: done.json["params"][name] for name in params} == params


def test_a_kernel_command_line_in_a_file(kvm_ref: Command, tmp_path: Path) -> None:
    """@FILE reads it from there, as from /proc/cmdline; --param overrides it."""
    path = tmp_path / "cmdline"
    path.write_text("BOOT_IMAGE=/vmlinuz kvm-arm.mode=protected kvm.enable_virt_at_load=0\n")
    args = ("run", "--backend", "arm64", "--cmdline", f"@{path}", "--format", "json", "load")
    params = kvm_ref(*args).json["params"]
    assert (params["kvm-arm.mode"], params["enable_virt_at_load"]) == ("protected", False)
    params = kvm_ref(*args, "--param", "kvm_arm.mode=vhe").json["params"]
    assert (params["kvm-arm.mode"], params["enable_virt_at_load"]) == ("vhe", False)


def test_one_commit_added_and_another_taken_out(kvm_ref: Command) -> None:
    """Before b4886fab6fb6 there was no parameter, and a load enabled nothing; that b31e7c24b475 is there is told, too."""
    done = svm(kvm_ref, "--with", "b31e7c24b475", "--without", "b4886fab6fb6", "--format", "json", "load")
    assert done.json["source"]["commits"] == {"b31e7c24b475": True, "b4886fab6fb6": False}
    assert done.json["steps"][0]["results"] == [0]


def test_parameters_of_kvm_that_are_not_modelled(kvm_ref: Command) -> None:
    """They are legal, and said to make no difference; those of other modules are not spoken of."""
    done = svm(
        kvm_ref, "--cmdline", "kvm.halt_poll_ns=1 kvm_amd.nrips=0 snd.index=1 kvm.eager-page-split", "load"
    )
    assert done.status == 0
    assert done.err.splitlines() == [
        f"kvm-ref: {name} is not modelled and makes no difference here"
        for name in ("kvm.halt_poll_ns", "kvm_amd.nrips", "kvm.eager-page-split")
    ]


def test_a_feature_of_the_cpus(kvm_ref: Command) -> None:
    """Without constant TSC, kvm_timer_init() registers a hotplug state more (arch/x86/kvm/x86.c)."""
    states = {
        on: svm(kvm_ref, "--feature", f"constant_tsc={on}", "load").json["after"]["1 load"]["cpuhp_states"]
        for on in "01"
    }
    assert states == {"0": ["kvm/cpu:online", "x86/kvm/clk:online"], "1": ["kvm/cpu:online"]}


def test_a_list_of_cpus_with_holes(kvm_ref: Command) -> None:
    """Those of the list can exist and run, in ascending order, and no others."""
    data = kvm_ref("run", "--cpus", "8,1-2", "--format", "json", "load").json
    assert entered(data, "kvm_online_cpu") == [1, 2, 8]
    assert data["machine"] | {"features": None} == {
        "cpus": 3,
        "possible": "1-2,8",
        "present": "1-2,8",
        "online": "1-2,8",
        "features": None,
    }


def test_4096_cpus() -> None:
    """A load enables each of them, and an unload disables each."""
    done = go("x86-svm", "load", "unload", cpus=4096)
    assert [s.results for s in done.trace.steps] == [[0], [0]]
    for step, function in enumerate(("svm_enable_virtualization_cpu", "svm_disable_virtualization_cpu")):
        events = done.trace.steps[step].events or []
        assert [e[1].cpu for e in events if e[0] == "enter" and e[2] == function] == list(range(4096))
