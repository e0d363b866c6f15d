# SPDX-License-Identifier: GPL-2.0-only
"""The vocabulary: who is asked for a function's facts."""

from __future__ import annotations

import pickle
import subprocess
import sys

from bare_machine import bare, errno_of, seen

from kvm_ref import backend as backends
from kvm_ref.errno import EIO, KernelError
from kvm_ref.kernel import Kernel
from kvm_ref.vocabulary import NULL, Vocabulary, declared, ending, kernel_function


def test_each_backend_has_its_own_words() -> None:
    """A hook that every architecture implements is found in the backend's own packages."""
    for name, package in (("riscv", "arch.riscv"), ("arm64", "arch.arm64"), ("mips", "arch.mips")):
        words = Vocabulary.of(backends.load(name))
        assert words["kvm_arch_enable_virtualization_cpu"].module.startswith(package)
        assert "svm_init" not in words
        assert len(words) == len(list(words))


def test_one_built_symbol_stands_for_several_names() -> None:
    """README.md of the traces: __kmem_cache_create_args is what three macros and functions became."""
    words = Vocabulary.of(backends.load("x86-svm"))
    names = {facts.name for facts in words.built("__kmem_cache_create_args")}
    assert names == {"KMEM_CACHE", "kmem_cache_create", "kmem_cache_create_usercopy"}
    assert words.symbol("KMEM_CACHE") == "__kmem_cache_create_args"
    assert words.symbol("no_such_function") == "no_such_function"
    assert words.built("no_such_symbol") == []


def test_facts_name_their_kernel_file() -> None:
    """The file comes from the first line of the module that holds the model."""
    words = Vocabulary.of(backends.load("x86-svm"))
    assert words["kvm_init"].file == "virt/kvm/kvm_main.c"
    assert words["svm_init"].file == "arch/x86/kvm/svm/svm.c"


def test_functions_whose_names_end_alike() -> None:
    """They are found among all that are declared, whichever backend has them."""
    for backend in ("x86-svm", "arm64"):
        Vocabulary.of(backends.load(backend))
    found = ending("enable_virtualization_cpu")
    assert found == [f for f in declared() if f.name.endswith("enable_virtualization_cpu")]
    assert {"kvm_enable_virtualization_cpu", "svm_enable_virtualization_cpu"} <= {f.name for f in found}


def test_a_vocabulary_can_be_handed_to_another_process() -> None:
    """It is found again there, not copied; it equals itself only."""
    words = Vocabulary.of(backends.load("x86-svm"))
    assert pickle.loads(pickle.dumps(words)) is words
    assert words != Vocabulary(("arch.x86",))
    assert {words: 1}[words] == 1
    assert repr(NULL) == "NULL"


@kernel_function(fails=EIO, args=("size",))
def takes(k: Kernel, size: int, more: int = 3) -> int:
    """Return the sum, but fail for a negative size."""
    if size < 0:
        raise KernelError(EIO)
    return size + more


def test_the_first_call_is_like_any_other() -> None:
    """A wrapper that is not yet written takes defaults and keywords, and leaves the same events."""
    k = bare()
    assert (takes(k, 1), takes(k, 1)) == (4, 4)
    assert seen(k) == ["init >takes", "init <takes 4"] * 2
    assert k.events[:2] == k.events[2:]
    again = kernel_function(fails=EIO, args=("size",))(takes.__wrapped__)  # type: ignore[attr-defined]
    assert again(k, more=1, size=2) == again(k, more=1, size=2) == 3
    assert k.events[4:6] == k.events[6:]
    fails = kernel_function(fails=EIO)(takes.__wrapped__)  # type: ignore[attr-defined]
    k.record()
    assert [errno_of(lambda: fails(k, -1)) for _ in range(2)] == [EIO, EIO]
    assert k.events[:2] == k.events[2:]
    assert k.events[1][4] == -5  # EIO (include/uapi/asm-generic/errno-base.h)


def test_a_vocabulary_is_whole_whoever_asks_first() -> None:
    """Functions that no backend leads to, such as those of suspend, are there before anything has run."""
    program = (
        "from kvm_ref import backend as b; from kvm_ref.vocabulary import Vocabulary as V; "
        "n = [*V.of(b.load('x86-svm'))]; print('pm_suspend' in n, 'kernel_kexec' in n); "
        "import kvm_ref.cli, kvm_ref.commands, kvm_ref.testing; V.of.__func__.__globals__['_of'].cache_clear(); "
        "print(n == [*V.of(b.load('x86-svm'))])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "True True\nTrue\n"


def test_a_vocabulary_does_not_depend_on_other_backends() -> None:
    """A backend has the same functions alone as after all others, those that only others call among them."""
    alone = "print(*Vocabulary.of(backends.load('riscv')))"
    after = f"[Vocabulary.of(backends.load(name)) for name in ('x86-svm', 'arm64')]; {alone}"
    said = set()
    for program in (alone, after):
        whole = (
            f"from kvm_ref import backend as backends\nfrom kvm_ref.vocabulary import Vocabulary\n{program}"
        )
        done = subprocess.run([sys.executable, "-c", whole], capture_output=True, text=True, check=True)
        said.add(done.stdout)
    (names,) = said
    # include/linux/hashtable.h: in 6.12.117 only SVM's KVM, of what is modelled, adds to a hash table.
    assert "hash_add" in names.split()
