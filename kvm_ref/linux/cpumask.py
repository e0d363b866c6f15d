# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors include/linux/cpumask.h: the masks of CPUs, and masks allocated off the stack."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from kvm_ref.kernel import Kernel, Resource
from kvm_ref.linux.percpu import PerCpu
from kvm_ref.vocabulary import kernel_function

NR_CPUS = 8192


def for_each_possible_cpu(k: Kernel) -> Sequence[int]:
    """The CPUs that can ever exist, ascending."""
    return k.possible


def for_each_present_cpu(k: Kernel) -> Sequence[int]:
    """The CPUs that are plugged in, ascending."""
    return k.present


def for_each_online_cpu(k: Kernel) -> Sequence[int]:
    """The CPUs that run, ascending."""
    return sorted(k.online)


def cpu_online(k: Kernel, cpu: int) -> bool:
    """Say whether `cpu` runs."""
    return cpu in k.online


class cpumask_var_t(Resource):
    """A mask of CPUs that was allocated (CONFIG_CPUMASK_OFFSTACK=y)."""

    __slots__ = ()


@kernel_function(fails=False, acquires="cpumask", obj="mask[cpu]")
def alloc_cpumask_var_node(k: Kernel, mask: PerCpu[cpumask_var_t | None], cpu: int) -> bool:
    """Allocate the mask that ``per_cpu(mask, cpu)`` points to (lib/cpumask.c)."""
    mask[cpu] = cpumask_var_t(k.new("cpumask"))
    return True


@kernel_function(releases="cpumask", obj="mask[cpu]")
def free_cpumask_var(k: Kernel, mask: PerCpu[cpumask_var_t | None], cpu: int) -> None:
    """Free the mask that ``per_cpu(mask, cpu)`` points to; NULL is legal (lib/cpumask.c)."""


def format_list(cpus: Iterable[int]) -> str:
    """Write CPUs as a list of ranges, as sysfs does: ``0-3,8``."""
    runs: list[list[int]] = []
    for cpu in sorted(cpus):
        if runs and cpu == runs[-1][1] + 1:
            runs[-1][1] = cpu
        else:
            runs.append([cpu, cpu])
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in runs)


def parse_list(text: str) -> tuple[int, ...]:
    """Read a list of ranges, as sysfs writes them.

    Raises:
        ValueError: the text is no such list, or a range runs backwards, or is beyond NR_CPUS.
    """
    cpus: set[int] = set()
    for part in text.strip().split(","):
        first, dash, last = part.partition("-")
        if not (first.isascii() and first.isdigit()) or (dash and not (last.isascii() and last.isdigit())):
            raise ValueError(f"{part!r} is no CPU and no range")
        # A number of more digits than any CPU has is not built.
        low, high = (int(number) if len(number) < 9 else NR_CPUS for number in (first, last or first))
        if low > high:
            raise ValueError(f"range {part} runs backwards")
        if high >= NR_CPUS:
            raise ValueError(f"{part!r} is beyond the last CPU, {NR_CPUS - 1}")
        cpus.update(range(low, high + 1))
    return tuple(sorted(cpus))
