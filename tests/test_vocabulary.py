# SPDX-License-Identifier: GPL-2.0-only
"""The vocabulary: who is asked for a function's facts."""

from __future__ import annotations

import pickle
import subprocess
import sys

from kvm_ref import backend as backends
from kvm_ref.vocabulary import NULL, Vocabulary


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


def test_a_vocabulary_can_be_handed_to_another_process() -> None:
    """It is found again there, not copied; it equals itself only."""
    words = Vocabulary.of(backends.load("x86-svm"))
    assert pickle.loads(pickle.dumps(words)) is words
    assert words != Vocabulary(("arch.x86",))
    assert {words: 1}[words] == 1
    assert repr(NULL) == "NULL"


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
