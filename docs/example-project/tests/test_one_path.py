# SPDX-License-Identifier: GPL-2.0-only
"""One path, written down by hand from the C."""

import pytest

from kvm_ref.testing import assert_same, assert_unwinds


@pytest.mark.kvm_run("load", fail="kvm_vfio_ops_init", backend="x86-svm", cpus=2)
def test_the_labels_of_kvm_init(kvm_run):
    expected = [
        "kvm_async_pf_deinit",
        "kvm_irqfd_exit",
        "free_cpumask_var",
        "free_cpumask_var",
        "kmem_cache_destroy",
    ]
    assert_unwinds(kvm_run, expected, function="kvm_init")


def test_a_second_load_is_like_the_first(kvm_machine):
    assert [kvm_machine.do(verb) for verb in ("load", "unload", "load")] == [0, 0, 0]


@pytest.mark.kvm_run("foreign-on=1", "load", backend="x86-vmx")
def test_another_hypervisor_comes_first(kvm_run):
    # -EBUSY of the CPU is -EIO for the user: kvm_enable_virtualization_cpu() makes it so.
    assert kvm_run.results == (0, -5)
    assert_same(kvm_run, kvm_run.trace)
