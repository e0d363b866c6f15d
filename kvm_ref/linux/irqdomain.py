# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors include/linux/irqdomain.h: from an interrupt controller's own numbers to Linux's.

A mapping is made once and found again by whoever asks next; it outlives the module that asked.
"""

from __future__ import annotations

from kvm_ref.errno import EBUSY, EINVAL, ENOMEM
from kvm_ref.kernel import Kernel, Resource, Statics
from kvm_ref.vocabulary import NULL, kernel_function


class irq_domain(Resource):
    """The numbers of one interrupt controller."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


class fwnode_handle(Resource):
    """What names a controller that no firmware describes."""

    __slots__ = ()


class IrqDomains(Statics):
    """The static variables of kernel/irq/irqdomain.c."""

    __slots__ = ("mapped",)

    def __init__(self) -> None:
        self.mapped: dict[tuple[str, int], int] = {}


@kernel_function(fails=NULL, args=("fwnode",), symbol="irq_find_matching_fwspec")
def irq_find_matching_fwnode(k: Kernel, fwnode: str) -> irq_domain | None:
    """Return the domain of the controller that firmware calls `fwnode`."""
    return irq_domain(fwnode)


@kernel_function(fails=False, args=("host", "hwirq"), symbol="irq_create_mapping_affinity")
def irq_create_mapping(k: Kernel, host: irq_domain, hwirq: int) -> int:
    """Return Linux's number for `hwirq`, a new one if there is none yet; 0 if that fails."""
    mapped = k[IrqDomains].mapped
    return mapped.setdefault((host.name, hwirq), len(mapped) + 1)


@kernel_function(fails=NULL, acquires="fwnode", args=("name",), symbol="__irq_domain_alloc_fwnode")
def irq_domain_alloc_named_fwnode(k: Kernel, name: str) -> fwnode_handle | None:
    """Make a name for a controller that software plays."""
    return fwnode_handle(k.new(f"fwnode:{name}"))


@kernel_function(releases="fwnode")
def irq_domain_free_fwnode(k: Kernel, fwnode: fwnode_handle | None) -> None:
    """Free such a name; NULL is legal."""


@kernel_function(fails=NULL, acquires="irq_domain", args=("fwnode",))
def irq_domain_create_hierarchy(k: Kernel, fwnode: fwnode_handle) -> irq_domain | None:
    """Make a domain that lies on top of another."""
    return irq_domain(k.new(f"domain:{fwnode.id}"))


@kernel_function(fails=(ENOMEM, EBUSY, EINVAL), uses="irq_domain", args=("virq",))
def irq_domain_push_irq(k: Kernel, domain: irq_domain, virq: int) -> None:
    """Put a domain on top of those that an interrupt, not requested yet, passes through."""
