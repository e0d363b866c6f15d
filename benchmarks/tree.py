# SPDX-License-Identifier: GPL-2.0-only
"""Measure the reading of C: python benchmarks/tree.py TREE

The whole process of ``kvm-ref tree check``, all seven backends, on one core, and beside it gcc with
-fsyntax-only on the same files. A tree that is not configured lacks generated headers: there gcc stops at the
first that is missing, and its time is what it needs to come that far.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time

from kvm_ref import backend as backends
from kvm_ref.tree.check import Check, configuration
from kvm_ref.tree.evidence import Evidence
from kvm_ref.tree.source import Tree


def seconds(*command: str, times: int = 1) -> float:
    """Return the seconds that the quickest of some runs of a command took."""
    taken = []
    for _ in range(times):
        start = time.perf_counter()
        subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
        taken.append(time.perf_counter() - start)
    return min(taken)


def compiled(tree: Tree, path: str) -> tuple[str, ...]:
    """Return the command that lets gcc read a file of a tree."""
    arch = path.split("/")[1] if path.startswith("arch/") else "x86"
    places = (
        f"arch/{arch}/include",
        f"arch/{arch}/include/generated",
        "include",
        f"arch/{arch}/include/uapi",
        "include/uapi",
    )
    return (
        "gcc", "-fsyntax-only", "-w", "-std=gnu11", "-nostdinc", "-D__KERNEL__",
        *(f"-I{tree.root / place}" for place in places),
        "-include", str(tree.root / "include/linux/kconfig.h"), str(tree.root / path),
    )  # fmt: skip


def main() -> None:
    """Print all figures."""
    if len(sys.argv) != 2:
        sys.exit("usage: python benchmarks/tree.py TREE")
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    tree = Tree(sys.argv[1])
    whole = seconds(sys.executable, "-m", "kvm_ref", "tree", "check", sys.argv[1], times=5)
    print(f"tree check, all backends, whole process   {whole:7.3f} s")
    files: set[str] = set()
    for name in backends.available():
        backend = backends.load(name)
        start = time.perf_counter()
        evidence = Evidence(backend)
        model = time.perf_counter() - start
        check = Check(tree, backend, configuration(backend), evidence)
        read = time.perf_counter() - start - model
        cases = sum(held.cases for held in check.all())
        walked = time.perf_counter() - start - model - read
        files |= {file.path for file in check.program.files if file.path.endswith(".c")}
        print(f"    {name:<10} model {model:.3f}  reading {read:.3f}  walking {walked:.3f} s   {cases} cases")
    if shutil.which("gcc"):
        taken = sum(seconds(*compiled(tree, path)) for path in sorted(files))
        print(f"gcc -fsyntax-only, the same {len(files)} C files    {taken:7.3f} s")


if __name__ == "__main__":
    main()
