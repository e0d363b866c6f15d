# SPDX-License-Identifier: GPL-2.0-only
"""A backend from a package of its own, installed beside kvm-ref, works as those that come with it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

METADATA = "Metadata-Version: 2.1\nName: toy-kvm\nVersion: 1\n"
BACKEND = '''
"""A backend for a processor that does not exist."""
from kvm_ref.backend import Backend
from kvm_ref.errno import EBUSY, ENOMEM, KernelError
from kvm_ref.kernel import Statics
from kvm_ref.linux.module import Module
from kvm_ref.linux.slab import kfree, kzalloc
from kvm_ref.unwind import ladder
from kvm_ref.virt import kvm_main
from kvm_ref.vocabulary import kernel_function


class ToyKvm(Statics):
    module = "kvm"

    def __init__(self):
        self.buffer = None


@kernel_function(fails=EBUSY)
def kvm_arch_enable_virtualization_cpu(k) -> "None":
    """Turn it on."""
    k.write("TOYCTL", 1)


@kernel_function()
def kvm_arch_disable_virtualization_cpu(k) -> "None":
    """Turn it off."""
    k.write("TOYCTL", 0)


@kernel_function(fails=ENOMEM)
def kvm_arch_init_vm(k, kvm, type) -> "None":
    """Make a VM a toy."""
    kvm.arch = kzalloc(k, "toy_vm")
    if not kvm.arch:
        raise KernelError(ENOMEM)


@kernel_function()
def kvm_arch_destroy_vm(k, kvm) -> "None":
    """Put the toy away."""
    kfree(k, kvm.arch)


@kernel_function(fails=ENOMEM)
def toy_init(k) -> "None":
    """Come up, and forget the buffer if that fails."""
    k[ToyKvm].buffer = kzalloc(k, "toy_buffer")
    if not k[ToyKvm].buffer:
        raise KernelError(ENOMEM)
    with ladder(k) as goto:
        with goto("err_init"):
            kvm_main.kvm_init(k, "toy")
        return
    if goto.reached("err_init"):
        {forgets}
    raise goto.error


@kernel_function()
def toy_exit(k) -> "None":
    """Go down."""
    kvm_main.kvm_exit(k)
    kfree(k, k[ToyKvm].buffer)


class Toy(Backend):
    name = "toy"
    summary = "a processor that does not exist"
    packages = ("toy_kvm",)
    modules = (Module("kvm", toy_init, toy_exit, params=kvm_main.PARAMS),)
    kvm_arch_enable_virtualization_cpu = staticmethod(kvm_arch_enable_virtualization_cpu)
    kvm_arch_init_vm = staticmethod(kvm_arch_init_vm)
    kvm_arch_destroy_vm = staticmethod(kvm_arch_destroy_vm)
    {hook}
'''
HOOK = "kvm_arch_disable_virtualization_cpu = staticmethod(kvm_arch_disable_virtualization_cpu)"


def install(
    site: Path, *, forgets: str = "kfree(k, k[ToyKvm].buffer)", hook: str = HOOK, entry: str = "toy_kvm:Toy"
) -> None:
    info = site / "toy_kvm-1.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(METADATA)
    (info / "entry_points.txt").write_text(f"[kvm_ref.backends]\ntoy = {entry}\n")
    (site / "toy_kvm.py").write_text(BACKEND.replace("{forgets}", forgets).replace("{hook}", hook))


def kvm_ref(site: Path, *args: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PYTHONPATH": str(site)}
    return subprocess.run(
        [sys.executable, "-m", "kvm_ref", *args], env=env, capture_output=True, text=True, check=False
    )


def test_it_is_listed_and_runs(tmp_path: Path) -> None:
    """The entry point is all that it takes; the vocabulary knows its functions."""
    install(tmp_path)
    assert "toy" in kvm_ref(tmp_path, "list", "backends").stdout.split()
    done = kvm_ref(tmp_path, "run", "--backend", "toy", "--format", "json", "load", "unload")
    assert (done.returncode, done.stderr) == (0, "")
    data = json.loads(done.stdout)
    assert [s["results"] for s in data["steps"]] == [[0], [0]]
    written = [(e["cpu"], e["value"]) for e in data["steps"][0]["events"] if e["kind"] == "write"]
    assert written == [(0, 1), (1, 1), (2, 1), (3, 1)]


def test_its_faults_are_found_and_judged(tmp_path: Path) -> None:
    """The matrix fails its calls too, and finds what its ladder forgets."""
    install(tmp_path, forgets="pass")
    done = kvm_ref(
        tmp_path, "matrix", "--backend", "toy", "--with", "b31e7c24b475", "--format", "json", "load"
    )
    assert done.returncode == 1
    data = json.loads(done.stdout)
    assert "kvm_arch_enable_virtualization_cpu@3" in [r["fault"] for r in data["runs"]]
    assert data["labels"]["toy_init:err_init"] > 10
    leaked = {f["resource"] for r in data["runs"] for f in r["findings"] if f["judge"] == "leak"}
    assert leaked == {"kmalloc:toy_buffer"}


def test_a_missing_hook_is_named(tmp_path: Path) -> None:
    """A backend that lacks a hook is refused when it is loaded, by the hook's name."""
    install(tmp_path, hook="pass")
    done = kvm_ref(tmp_path, "run", "--backend", "toy", "load")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "kvm-ref: backend 'toy' lacks the hook kvm_arch_disable_virtualization_cpu\n"


@pytest.mark.parametrize(
    ("hook", "says"),
    [
        ("= None", "is None: expected staticmethod of a function(k)"),
        (
            "= kvm_arch_disable_virtualization_cpu",
            "takes () -> 'None': expected staticmethod of a function(k)",
        ),
        ("= staticmethod(lambda: None)", "takes (): expected staticmethod of a function(k)"),
    ],
)
def test_a_hook_that_cannot_be_called(tmp_path: Path, hook: str, says: str) -> None:
    """One that is none, or does not take what the kernel hands it, is refused when it is loaded, too."""
    install(tmp_path, hook=f"kvm_arch_disable_virtualization_cpu {hook}")
    done = kvm_ref(tmp_path, "run", "--backend", "toy", "load")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"kvm-ref: the hook kvm_arch_disable_virtualization_cpu of backend 'toy' {says}\n"


def test_a_backend_without_modules(tmp_path: Path) -> None:
    """There would be nothing to load."""
    install(tmp_path, hook=f"{HOOK}\n    modules = ()")
    done = kvm_ref(tmp_path, "run", "--backend", "toy", "load")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("kvm-ref: backend 'toy' has no modules: expected at least one")


@pytest.mark.parametrize(
    ("entry", "says"),
    [
        ("toy_kvm:Nothing", "cannot be loaded: AttributeError"),
        ("toy_nowhere:Toy", "cannot be loaded: ModuleNotFoundError"),
        ("toy_kvm:HOOK", "cannot be loaded"),
        ("toy_kvm:toy_init", "is a function, expected a kvm_ref.backend.Backend"),
        ("toy_kvm:ToyKvm", "is a ToyKvm, expected a kvm_ref.backend.Backend"),
    ],
)
def test_an_entry_point_that_is_no_backend(tmp_path: Path, entry: str, says: str) -> None:
    """Whatever is wrong with it is said in one line, without a traceback."""
    install(tmp_path, entry=entry)
    done = kvm_ref(tmp_path, "run", "--backend", "toy", "load")
    assert done.returncode == 2
    assert says in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("breaks", "says"),
    [
        ("    def __init__(self):\n        raise RuntimeError('one\\ntwo')", "cannot be loaded: RuntimeError: one two"),
        ("    def __init__(self):\n        raise RuntimeError", "cannot be loaded: RuntimeError"),
        ("    def __init__(self, size):\n        pass", "cannot be loaded: TypeError: "),
        ("    after = property(lambda self: 1 // 0)", "cannot be loaded: ZeroDivisionError: "),
        ("raise OSError('one\\r\\n\\n  two')", "cannot be loaded: OSError: one two"),
        ("raise SystemExit('no')", "cannot be loaded: SystemExit: no"),
    ],
)  # fmt: skip
def test_a_backend_that_raises(tmp_path: Path, breaks: str, says: str) -> None:
    """Whatever its class or its module raises is told in one line."""
    install(tmp_path)
    with (tmp_path / "toy_kvm.py").open("a") as file:
        file.write(f"{breaks}\n")
    done = kvm_ref(tmp_path, "run", "--backend", "toy", "load")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"kvm-ref: backend 'toy' {says}")
    assert done.stderr.count("\n") == 1


def test_an_optional_hook_that_cannot_be_called(tmp_path: Path) -> None:
    """It is refused when the backend is loaded, whether or not the verbs would come to it."""
    install(tmp_path, hook=f"{HOOK}\n    machine_restart = staticmethod(lambda: None)")
    done = kvm_ref(tmp_path, "list", "backends")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "kvm-ref: the hook machine_restart of backend 'toy' takes (): expected None or staticmethod of a function(k)\n"
    )


def test_a_slip_in_its_packages(tmp_path: Path) -> None:
    """A package that there is not would leave its functions out of the matrix; the nearest is named."""
    install(tmp_path, hook=f"{HOOK}\n    packages = ('toy_kvn',)")
    done = kvm_ref(tmp_path, "matrix", "--backend", "toy", "load")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "kvm-ref: the package 'toy_kvn' of backend 'toy' cannot be imported: "
        "ModuleNotFoundError: No module named 'toy_kvn'; did you mean toy_kvm?\n"
    )


def test_a_package_that_nobody_has_imported(tmp_path: Path) -> None:
    """It is, so that its functions are known."""
    install(tmp_path, hook=f"{HOOK}\n    packages = ('toy_kvm', 'toy_more.deep')")
    (tmp_path / "toy_more").mkdir()
    (tmp_path / "toy_more" / "deep.py").write_text(
        "from kvm_ref.vocabulary import kernel_function\n"
        "@kernel_function()\n"
        "def toy_more_init(k) -> 'None':\n"
        "    pass\n"
    )
    done = kvm_ref(tmp_path, "list", "functions", "--backend", "toy", "--format", "json")
    assert (done.returncode, done.stderr) == (0, "")
    assert "toy_more_init" in [row["name"] for row in json.loads(done.stdout)]


def test_another_name_than_its_entry_point(tmp_path: Path) -> None:
    """The commands that show a run again would name a backend that there is not."""
    install(tmp_path, hook=f"{HOOK}\n    name = 'tov'")
    done = kvm_ref(tmp_path, "run", "--backend", "toy", "load")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "kvm-ref: backend 'toy' is 'tov' by its attribute name: expected 'toy'\n"


def test_a_broken_backend_does_not_hide_another_ones_commit(tmp_path: Path) -> None:
    """Who has a commit is asked of all backends, and one that cannot be loaded is passed over."""
    install(tmp_path, entry="aaa_nowhere:Toy")
    (tmp_path / "toy_kvm-1.dist-info" / "entry_points.txt").write_text(
        "[kvm_ref.backends]\naaa = aaa_nowhere:Toy\n"
    )
    done = kvm_ref(tmp_path, "run", "--with", "9a2b9416fd1d", "load")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "kvm-ref: commit '9a2b9416fd1d' is one of arm64: expected --backend arm64\n"
