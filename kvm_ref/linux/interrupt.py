# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors include/linux/interrupt.h: interrupts of which each CPU has its own.

Such an interrupt is requested once for all CPUs; each CPU then enables and disables its own. The
functions are in kernel/irq/manage.c.
"""

from __future__ import annotations

from kvm_ref.errno import EBUSY, EINVAL, ENOMEM, ENOSYS, KernelError
from kvm_ref.kernel import Kernel, Statics
from kvm_ref.linux.printk import WARN_ON
from kvm_ref.vocabulary import kernel_function

IRQ_TYPE_NONE = 0


class irq_desc:
    """One interrupt: who requested it, or None, and the CPUs on which it is enabled."""

    __slots__ = ("action", "percpu_enabled")

    def __init__(self) -> None:
        self.action: str | None = None
        self.percpu_enabled: set[int] = set()


class Irqs(Statics):
    """The descriptors of the interrupts, by number or name."""

    __slots__ = ("irq_desc",)

    def __init__(self) -> None:
        self.irq_desc: dict[int | str, irq_desc] = {}


def irq_to_desc(k: Kernel, irq: int | str) -> irq_desc:
    """Return the descriptor of an interrupt (kernel/irq/irqdesc.c)."""
    return k[Irqs].irq_desc.setdefault(irq, irq_desc())


def irq_get_trigger_type(k: Kernel, irq: int | str) -> int:
    """Return how an interrupt is triggered; here never said (include/linux/irq.h)."""
    return IRQ_TYPE_NONE


@kernel_function(
    fails=(EBUSY, EINVAL, ENOMEM),
    acquires="irq",
    obj="irq",
    args=("devname",),
    symbol="__request_percpu_irq",
)
def request_percpu_irq(k: Kernel, irq: int | str, devname: str) -> None:
    """Take an interrupt for all CPUs, enabled on none.

    Raises:
        KernelError: EBUSY, it is taken. In C also EINVAL, it is no interrupt of which each CPU has its
            own; or ENOMEM.
    """
    desc = irq_to_desc(k, irq)
    if desc.action is not None:
        raise KernelError(EBUSY)
    desc.action = devname


@kernel_function(releases="irq")
def free_percpu_irq(k: Kernel, irq: int | str) -> None:
    """Give an interrupt back; one that is free already, or enabled on a CPU, is left as it is."""
    desc = irq_to_desc(k, irq)
    if WARN_ON(k, desc.action is None, "!action"):
        return
    if WARN_ON(k, desc.percpu_enabled, "!cpumask_empty(desc->percpu_enabled)"):
        return
    desc.action = None


@kernel_function(uses="irq")
def enable_percpu_irq(k: Kernel, irq: int | str, type: int) -> None:
    """Enable an interrupt on the CPU that runs."""
    irq_to_desc(k, irq).percpu_enabled.add(k.cpu)


@kernel_function(uses="irq")
def disable_percpu_irq(k: Kernel, irq: int | str) -> None:
    """Disable an interrupt on the CPU that runs."""
    irq_to_desc(k, irq).percpu_enabled.discard(k.cpu)


@kernel_function(fails=(ENOSYS, EINVAL), uses="irq")
def irq_set_vcpu_affinity(k: Kernel, irq: int | str) -> None:
    """Tell the interrupt's chip that it goes to a VCPU; -ENOSYS if no chip above it wants to know."""
