# SPDX-License-Identifier: GPL-2.0-only
"""The lists: what there is to name on the command line."""

from __future__ import annotations

from typing import Any

import pytest
from command_line import Command

# virt/kvm/kvm_main.c and include/linux/kvm_host.h: seven backends, by their directories.
BACKENDS = ["arm64", "loongarch", "mips", "riscv", "s390", "x86-svm", "x86-vmx"]


def rows(kvm_ref: Command, what: str, backend: str = "") -> list[dict[str, Any]]:
    """Return the rows of a list."""
    given = ("--backend", backend) if backend else ()
    found: list[dict[str, Any]] = kvm_ref("list", what, *given, "--format", "json").json
    return found


def names(kvm_ref: Command, what: str, backend: str = "") -> list[str]:
    """Return the names in a list."""
    return [row["name"] for row in rows(kvm_ref, what, backend)]


def test_backends(kvm_ref: Command) -> None:
    """Those that come with the package, with their modules, each after those that it needs."""
    found = {row["name"]: row["modules"] for row in rows(kvm_ref, "backends")}
    assert list(found) == BACKENDS
    assert (found["x86-svm"], found["x86-vmx"], found["riscv"]) == (
        ["kvm", "kvm_amd"],
        ["kvm", "kvm_intel"],
        ["kvm"],
    )
    assert names(kvm_ref, "backends", "mips") == ["mips"]


def test_functions(kvm_ref: Command) -> None:
    """Each with its kernel file and the backends that have it; one backend's are fewer."""
    found = {row["name"]: row for row in rows(kvm_ref, "functions")}
    assert found["kvm_init"] == {"name": "kvm_init", "file": "virt/kvm/kvm_main.c", "backends": ["all"]}
    assert found["kvm_riscv_aia_init"]["backends"] == ["riscv"]
    assert found["kvm_riscv_aia_init"]["file"] == "arch/riscv/kvm/aia.c"
    assert {"x86-svm", "x86-vmx"} == set(found["kvm_x86_vendor_init"]["backends"])
    svm = names(kvm_ref, "functions", "x86-svm")
    assert "svm_init" in svm
    assert "riscv_kvm_init" not in svm
    assert svm == sorted(svm)


def test_faults(kvm_ref: Command) -> None:
    """How each fails, the natural way first: an errno, NULL, an error pointer, false."""
    found = {row["name"]: row["fails"] for row in rows(kvm_ref, "faults")}
    assert found["misc_register"] == ["-EBUSY"]
    assert found["kvm_register_device_ops"] == ["-EEXIST", "-ENOSPC"]
    assert found["KMEM_CACHE"] == ["NULL"]
    assert found["debugfs_create_dir"] == ["ERR_PTR(-12)"]
    assert found["alloc_cpumask_var_node"] == ["False"]
    assert "kvm_exit" not in found


def test_every_listed_fault_is_accepted(kvm_ref: Command) -> None:
    """Whatever the list names can be given to --fail on that backend."""
    for name in names(kvm_ref, "faults", "s390"):
        assert kvm_ref("run", "--backend", "s390", "--cpus", "1", "--fail", name, "load=kvm").status in (
            0,
            1,
        ), name


def test_labels(kvm_ref: Command) -> None:
    """As the matrix counts them: function and label; RISC-V has none of its own."""
    found = names(kvm_ref, "labels", "riscv")
    assert [n for n in found if n.startswith("kvm_init:")] == [
        f"kvm_init:{n}"
        for n in ("err_register", "err_virt", "err_vfio", "err_async_pf", "err_irqfd", "err_cpu_kick_mask")
    ]
    assert not any(row["file"].startswith("arch/") for row in rows(kvm_ref, "labels", "riscv"))
    assert "svm_init:err_kvm_init" in names(kvm_ref, "labels", "x86-svm")


def test_commits(kvm_ref: Command) -> None:
    """Each with its title, and whether 6.12.117 contains it; sorted, and the same without a backend."""
    found = {row["name"]: row for row in rows(kvm_ref, "commits")}
    assert found["b31e7c24b475"]["in 6.12.117"] == "no"
    assert found["b4886fab6fb6"]["in 6.12.117"] == "yes"
    assert found["b31e7c24b475"]["title"] == "KVM: Remove kvm_debugfs_dir on kvm_init() error paths"
    assert list(found) == sorted(found)
    assert {"b31e7c24b475", "b4886fab6fb6"} <= set(names(kvm_ref, "commits", "mips"))


def test_judges_and_verbs(kvm_ref: Command) -> None:
    """Each says in a line what it is about; a verb says what it takes."""
    judges = rows(kvm_ref, "judges")
    assert {"leak", "double_release", "use_after_release", "label_order"} <= {row["name"] for row in judges}
    assert all(row["about"] for row in judges + rows(kvm_ref, "verbs"))
    assert {"load[=MODULE]", "unload[=MODULE]", "foreign-on=CPU", "foreign-off=CPU"} <= set(
        names(kvm_ref, "verbs")
    )


def test_features_and_parameters(kvm_ref: Command) -> None:
    """Each can be given to `run` with the value that the list shows, or one that it takes."""
    features = rows(kvm_ref, "features", "x86-vmx")
    assert {"name": "constant_tsc", "default": 0, "backend": "x86-vmx"} in features
    given = [word for f in features for word in ("--feature", f"{f['name']}={f['default']}")]
    assert kvm_ref("run", "--backend", "x86-vmx", *given, "load=kvm").status == 0
    arm = {row["name"]: row["takes"] for row in rows(kvm_ref, "params", "arm64")}
    assert "protected" in arm["kvm-arm.mode"]
    assert arm["kvm.enable_virt_at_load"] == "a bool: 0, 1, n, y, off, on"


@pytest.mark.parametrize("what", ["functions", "faults", "labels", "features", "params"])
def test_one_backend_is_a_part_of_all(kvm_ref: Command, what: str) -> None:
    """--backend narrows a list and adds nothing."""
    every = set(names(kvm_ref, what))
    for backend in BACKENDS:
        assert set(names(kvm_ref, what, backend)) <= every
