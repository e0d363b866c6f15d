# SPDX-License-Identifier: GPL-2.0-only
"""What KVM leans on besides CPU hotplug: each with the semantics that KVM can observe."""

from __future__ import annotations

import pytest
from bare_machine import bare, errno_of

from kvm_ref.errno import (
    EBUSY,
    EEXIST,
    EIO,
    ENOENT,
    ENOMEM,
    ENOSPC,
    ENXIO,
    ERR_PTR,
    IS_ERR,
    IS_ERR_OR_NULL,
    PTR_ERR,
    Errno,
    KernelError,
)
from kvm_ref.fault import Fault, arm
from kvm_ref.kernel import Kernel, KernelBug
from kvm_ref.linux import mutex, notifier, syscore_ops
from kvm_ref.linux.cpumask import cpumask_var_t, format_list, free_cpumask_var, parse_list
from kvm_ref.linux.debugfs import debugfs_create_dir, debugfs_lookup, debugfs_remove_recursive
from kvm_ref.linux.file import file_operations
from kvm_ref.linux.jump_label import (
    static_branch_disable,
    static_branch_enable,
    static_branch_unlikely,
    static_key,
)
from kvm_ref.linux.miscdevice import (
    MISC_DYNAMIC_MINOR,
    Misc,
    misc_deregister,
    misc_minor_alloc,
    misc_register,
    miscdevice,
)
from kvm_ref.linux.mutex import Mutex, guard
from kvm_ref.linux.percpu import PerCpu, alloc_percpu, free_percpu
from kvm_ref.linux.printk import WARN_ON, WARN_ON_ONCE, WARN_ONCE
from kvm_ref.linux.smp import on_each_cpu, smp_call_function_single
from kvm_ref.virt.device_ops import kvm_register_device_ops, kvm_unregister_device_ops
from kvm_ref.vocabulary import Vocabulary

OPS = file_operations(None, None)


def test_a_second_directory_of_the_same_name_is_refused_and_logged() -> None:
    """start_creating() in fs/debugfs/inode.c: -EEXIST, and a line that names both."""
    k = bare()
    first = debugfs_create_dir(k, "kvm", None)
    assert debugfs_create_dir(k, "kvm", None) == ERR_PTR(EEXIST)
    assert k.log == ["debugfs: Directory 'kvm' with parent '/' already present!"]
    assert debugfs_lookup(k, "kvm", None) is first


def test_debugfs_hands_an_error_parent_on_and_removes_nothing_for_it() -> None:
    """Error pointers are legal everywhere in debugfs, so that callers need not check."""
    k = bare()
    broken = ERR_PTR(ENOMEM)
    assert debugfs_create_dir(k, "kvm", broken) is broken
    debugfs_remove_recursive(k, broken)
    debugfs_remove_recursive(k, None)
    assert debugfs_lookup(k, "kvm", None) is None


def test_a_directory_removed_twice_does_not_take_its_successor_along() -> None:
    """A stale dentry is not the one that now bears its name."""
    k = bare()
    old = debugfs_create_dir(k, "kvm", None)
    debugfs_remove_recursive(k, old)
    new = debugfs_create_dir(k, "kvm", None)
    debugfs_remove_recursive(k, old)
    assert debugfs_lookup(k, "kvm", None) is new


def test_a_minor_number_is_held_by_one_device() -> None:
    """misc_register() in drivers/char/misc.c gives -EBUSY for a minor on the list."""
    k = bare()
    kvm, other = miscdevice(232, "kvm", OPS), miscdevice(232, "other", OPS)
    misc_register(k, kvm)
    assert errno_of(lambda: misc_register(k, other)) == EBUSY
    misc_deregister(k, kvm)
    assert errno_of(lambda: misc_register(k, other)) is None


def test_devices_with_other_minors_do_not_mind() -> None:
    """misc_register() walks the whole list of devices and finds none with this minor."""
    k = bare()
    misc_register(k, miscdevice(231, "other", OPS))
    assert errno_of(lambda: misc_register(k, miscdevice(232, "kvm", OPS))) is None


def test_freeing_no_percpu_memory_is_legal() -> None:
    """free_percpu(NULL) does nothing (mm/percpu.c)."""
    k = bare()
    free_percpu(k, None)
    assert [e[3] for e in k.events if e[0] == "enter"] == [{"obj": "NULL"}]


def test_a_minor_number_held_elsewhere_is_busy() -> None:
    """misc_register() makes -EBUSY of what ida_alloc_range() gives for a number that is taken, -ENOSPC."""
    k = bare()
    assert misc_minor_alloc(k, 232) == 232
    assert errno_of(lambda: misc_minor_alloc(k, 232)) == ENOSPC
    assert errno_of(lambda: misc_register(k, miscdevice(232, "kvm", OPS))) == EBUSY


def test_minor_numbers_that_are_given_out() -> None:
    """misc_minor_alloc() gives the first free number above MISC_DYNAMIC_MINOR; misc_deregister() forgets it."""
    k = bare()
    first, second = (miscdevice(MISC_DYNAMIC_MINOR, name, OPS) for name in ("first", "second"))
    misc_register(k, first)
    misc_register(k, second)
    assert (first.minor, second.minor) == (256, 257)
    misc_deregister(k, first)
    assert first.minor == MISC_DYNAMIC_MINOR
    misc_register(k, first)
    assert first.minor == 256


@pytest.mark.parametrize(
    ("function", "errno"), [("misc_minor_alloc", EBUSY), ("device_create_with_groups", ENOMEM)]
)
def test_a_device_without_a_number_keeps_none_when_it_fails(function: str, errno: Errno) -> None:
    """misc_register() makes -EBUSY of any failure to get a number, and gives a number back with the device."""
    k = bare()
    arm(k, [Fault(function)], Vocabulary.of(k.arch))
    device = miscdevice(MISC_DYNAMIC_MINOR, "kvm", OPS)
    assert errno_of(lambda: misc_register(k, device)) == errno
    assert device.minor == MISC_DYNAMIC_MINOR
    assert not k[Misc].misc_minors
    assert not k[Misc].misc_list


def test_withdrawing_a_device_that_is_not_there_warns() -> None:
    """misc_deregister() has WARN_ON(list_empty(&misc->list)) and returns."""
    k = bare()
    misc_deregister(k, miscdevice(232, "kvm", OPS))
    assert [e[0] for e in k.events].count("warn") == 1


def test_the_device_table_has_twelve_places_each_for_one() -> None:
    """kvm_register_device_ops(): -ENOSPC beyond KVM_DEV_TYPE_MAX, -EEXIST where one is."""
    k = bare()
    assert errno_of(lambda: kvm_register_device_ops(k, "a", 12)) == ENOSPC
    assert errno_of(lambda: kvm_register_device_ops(k, "a", 11)) is None
    assert errno_of(lambda: kvm_register_device_ops(k, "b", 11)) == EEXIST
    kvm_unregister_device_ops(k, 11)
    kvm_unregister_device_ops(k, 11)
    assert errno_of(lambda: kvm_register_device_ops(k, "b", 11)) is None


def test_a_notifier_is_on_a_chain_once() -> None:
    """kernel/notifier.c: -EEXIST for a second time, -ENOENT for one that is not there."""
    k, block = bare(), notifier.notifier_block("nb")
    notifier.notifier_chain_register(k, "chain", block)
    assert errno_of(lambda: notifier.notifier_chain_register(k, "chain", block)) == EEXIST
    notifier.notifier_chain_unregister(k, "chain", block)
    assert errno_of(lambda: notifier.notifier_chain_unregister(k, "chain", block)) == ENOENT


def test_a_chain_that_is_empty_again_leaves_nothing() -> None:
    """In C the head of a chain is NULL then, as it was at boot (kernel/notifier.c); the others stay on."""
    k, one, other = bare(), notifier.notifier_block("one"), notifier.notifier_block("other")
    chains = k[notifier.Notifiers].chains
    notifier.notifier_chain_register(k, "chain", one)
    notifier.notifier_chain_register(k, "chain", other)
    notifier.notifier_chain_unregister(k, "chain", one)
    assert chains == {"chain": [other]}
    notifier.notifier_chain_unregister(k, "chain", other)
    assert chains == {}


def _syscore(k: Kernel, name: str, ran: list[str], fails: bool = False) -> syscore_ops.syscore:
    def suspend(k: Kernel) -> None:
        ran.append(f"suspend {name}")
        if fails:
            raise KernelError(EIO)

    ops = syscore_ops.syscore(
        name,
        suspend,
        lambda k: ran.append(f"resume {name}"),
        lambda k: ran.append(f"shutdown {name}"),
    )
    syscore_ops.register_syscore(k, ops)
    return ops


def test_syscore_walks_backwards_down_and_forwards_up() -> None:
    """drivers/base/syscore.c: suspend and shutdown in reverse order, resume in order."""
    k = bare()
    ran: list[str] = []
    _syscore(k, "a", ran)
    syscore_ops.register_syscore(k, syscore_ops.syscore("empty"))
    _syscore(k, "b", ran)
    syscore_ops.syscore_suspend(k)
    syscore_ops.syscore_resume(k)
    syscore_ops.syscore_shutdown(k)
    assert ran == ["suspend b", "suspend a", "resume a", "resume b", "shutdown b", "shutdown a"]


def test_a_failed_suspend_resumes_those_that_were_suspended() -> None:
    """syscore_suspend(): err_out continues the list after the one that failed."""
    k = bare()
    ran: list[str] = []
    _syscore(k, "a", ran)
    _syscore(k, "b", ran, fails=True)
    syscore_ops.register_syscore(k, syscore_ops.syscore("empty"))
    _syscore(k, "c", ran)
    gone = _syscore(k, "d", ran)
    syscore_ops.unregister_syscore(k, gone)
    assert errno_of(lambda: syscore_ops.syscore_suspend(k)) == EIO
    assert ran == ["suspend c", "suspend b", "resume c"]


def test_ipi_runs_here_as_a_call_and_elsewhere_as_an_interrupt() -> None:
    """smp_call_function_single(): local calls are direct; an offline CPU gives -ENXIO."""
    k = bare(3, online=(0, 1))
    ran: list[str] = []

    def func(k: Kernel, info: object) -> None:
        ran.append(f"{info} {k.cpu} {k.at.task} {k.at.depth}")

    smp_call_function_single(k, 0, func, "x")
    smp_call_function_single(k, 1, func, "x")
    assert ran == ["x 0 init 1", "x 1 ipi 0"]
    assert errno_of(lambda: smp_call_function_single(k, 2, func, "x")) == ENXIO


def test_on_each_cpu_reaches_every_online_cpu() -> None:
    """on_each_cpu() runs on the others and on the caller's CPU, not on offline ones."""
    k = bare(4, online=(0, 1, 3))
    ran: list[str] = []
    on_each_cpu(k, lambda k, info: ran.append(f"{info} {k.cpu}"), "x")
    assert sorted(ran) == ["x 0", "x 1", "x 3"]


def test_a_mutex_taken_twice_hangs() -> None:
    """A second mutex_lock() by anyone would wait for ever; the model stops the machine."""
    k, lock = bare(), Mutex("m")
    with guard(k, lock), pytest.raises(KernelBug, match="waits for ever on m"):
        mutex.mutex_lock(k, lock)
    assert lock.owner == ""


def test_guard_unlocks_on_every_way_out() -> None:
    """guard(mutex)() releases on return and on an error alike."""
    k, lock = bare(), Mutex("m")

    def fail() -> None:
        with guard(k, lock):
            raise KernelError(EIO)

    assert errno_of(fail) == EIO
    assert [e[0] for e in k.events] == ["lock", "unlock"]


def test_lockdep_warns_of_both_wrong_states() -> None:
    """lockdep_assert_held() and lockdep_assert_not_held() warn, and only then."""
    k, lock = bare(), Mutex("m")
    mutex.lockdep_assert_not_held(k, lock)
    with guard(k, lock):
        mutex.lockdep_assert_held(k, lock)
    assert "warn" not in [e[0] for e in k.events]
    mutex.lockdep_assert_held(k, lock)
    with guard(k, lock):
        mutex.lockdep_assert_not_held(k, lock)
    assert [e[0] for e in k.events].count("warn") == 2


def test_warn_on_once_warns_once_at_each_place() -> None:
    """WARN_ON() warns each time, WARN_ON_ONCE() the first time; both return the condition."""
    k = bare()
    assert [WARN_ON_ONCE(k, x, "x") for x in (False, True, True)] == [False, True, True]
    assert [WARN_ON(k, x, "x") for x in (True, True)] == [True, True]
    assert [e[0] for e in k.events] == ["warn"] * 3


def test_warn_once_works_its_words_out_once() -> None:
    """WARN_ONCE() (asm-generic/bug.h) evaluates its arguments the first time only, and returns the condition."""
    k, asked = bare(), []

    def value() -> int:
        asked.append(True)
        return 0x2A

    assert [WARN_ONCE(k, x, "it is 0x%x", value) for x in (False, True, True)] == [False, True, True]
    assert [(e[0], e[4]) for e in k.events] == [("warn", "it is 0x2a")]
    assert asked == [True]


def test_a_static_key_is_on_after_enabling() -> None:
    """static_branch_enable() and static_branch_disable() set the branch."""
    k, key = bare(), static_key("key")
    states = [static_branch_unlikely(key)]
    static_branch_enable(k, key)
    states.append(static_branch_unlikely(key))
    static_branch_disable(k, key)
    assert [*states, static_branch_unlikely(key)] == [False, True, False]


def test_each_cpu_has_its_own_copy_of_percpu_memory() -> None:
    """alloc_percpu(): what one CPU writes no other reads."""
    k = bare()
    memory = alloc_percpu(k, "int", 7)
    assert memory is not None
    memory.cpu[1] = 8
    assert [memory.cpu[c] for c in (0, 1, 2)] == [7, 8, 7]


def test_freeing_a_mask_leaves_the_pointer() -> None:
    """free_cpumask_var() frees what the variable points to; the variable keeps its value."""
    k, masks = bare(), PerCpu[cpumask_var_t | None](None)
    free_cpumask_var(k, masks, 0)
    masks[0] = cpumask_var_t("mask")
    free_cpumask_var(k, masks, 0)
    assert [e[3] for e in k.events if e[0] == "enter"] == [{"obj": "NULL"}, {"obj": "mask"}]
    assert masks[0] is not None


def test_error_pointers() -> None:
    """include/linux/err.h: an error pointer is neither NULL nor a pointer."""
    pointer = ERR_PTR(EIO)
    assert IS_ERR(pointer)
    assert PTR_ERR(pointer) == EIO
    assert (IS_ERR(None), IS_ERR_OR_NULL(None), IS_ERR_OR_NULL(pointer)) == (False, True, True)
    assert repr(pointer) == "ERR_PTR(-5)"
    assert len({pointer, ERR_PTR(EIO), ERR_PTR(EBUSY)}) == 2


@pytest.mark.parametrize(
    ("text", "cpus"), [("0", (0,)), ("0-3,8", (0, 1, 2, 3, 8)), ("8,0-1", (0, 1, 8)), (" 2-2\n", (2,))]
)
def test_cpu_lists(text: str, cpus: tuple[int, ...]) -> None:
    """The notation of /sys/devices/system/cpu/online, both ways."""
    assert parse_list(text) == cpus
    assert parse_list(format_list(cpus)) == cpus


@pytest.mark.parametrize("text", ["", "a", "3-1", "1-", "-1", "0,,1", "0-99999999", "²"])
def test_malformed_cpu_lists(text: str) -> None:
    """What is no list is refused, and a huge range is not built."""
    with pytest.raises(ValueError, match=r"CPU|range"):
        parse_list(text)
