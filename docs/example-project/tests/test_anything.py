# SPDX-License-Identifier: GPL-2.0-only
"""Any verbs in any order, with any call failing: Hypothesis looks for what no judge should find."""

from hypothesis import settings

from kvm_ref.stateful import kvm_machine

Loongarch = kvm_machine(
    "loongarch", commits=["b31e7c24b475"], verbs=["load", "unload", "create-vm", "close-vm"]
)
TestLoongarch = Loongarch.TestCase
TestLoongarch.settings = settings(max_examples=25, stateful_step_count=10, deadline=None)
