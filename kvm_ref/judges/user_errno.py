# SPDX-License-Identifier: GPL-2.0-only
"""The judge of what the user gets: each call has a table of the errors that it may give.

A module's init function hands on what it met, so nearly anything may come of a load; but not what
only the kernel itself understands, nor what belongs to another kind of call.
"""

from __future__ import annotations

from collections.abc import Mapping

from kvm_ref.errno import (
    EACCES,
    EAGAIN,
    EBADF,
    EBUSY,
    EEXIST,
    EFAULT,
    EINTR,
    EINVAL,
    EIO,
    EMFILE,
    ENFILE,
    ENODEV,
    ENOENT,
    ENOMEM,
    ENOSPC,
    ENOSYS,
    ENXIO,
    EOPNOTSUPP,
    EPERM,
    ERANGE,
    EWOULDBLOCK,
    Errno,
)  # fmt: skip
from kvm_ref.judges.each_step import EachStep
from kvm_ref.judges.finding import Finding
from kvm_ref.judges.index import Index
from kvm_ref.text import errno_name
from kvm_ref.trace import Trace

# By verb. Sources: init_module(2), delete_module(2), open(2), close(2); Documentation/virt/kvm/api.rst and
# fs/file.c for KVM_CREATE_VM; open(2) again, drivers/base/core.c, kernel/cpu.c, kernel/power/suspend.c.
MAY_GIVE: Mapping[str, frozenset[Errno]] = {
    "load": frozenset(
        {EAGAIN, EBUSY, EEXIST, EFAULT, EINTR, EINVAL, EIO, ENODEV, ENOENT, ENOMEM, ENOSPC, ENOSYS, ENXIO, EOPNOTSUPP, EPERM}
    ),
    "unload": frozenset({EBUSY, EINTR, ENOENT, EPERM, EWOULDBLOCK}),
    "open-dev": frozenset({EMFILE, ENFILE, ENODEV, ENOENT, ENOMEM}),
    "close-dev": frozenset({EBADF}),
    "create-vm": frozenset(
        {EAGAIN, EBUSY, EEXIST, EINTR, EINVAL, EIO, EMFILE, ENFILE, ENODEV, ENOENT, ENOMEM, ENOSPC, EOPNOTSUPP, EPERM}
    ),
    "close-vm": frozenset({EBADF}),
    "offline": frozenset({EACCES, EAGAIN, EBUSY, EINVAL, EIO, ENOENT, ENOMEM, ENOSPC, EOPNOTSUPP, EPERM}),
    "online": frozenset({EACCES, EAGAIN, EBUSY, EINVAL, EIO, ENODEV, ENOENT, ENOMEM, EOPNOTSUPP, EPERM}),
    "hotplug-fail": frozenset({EINVAL, ENOENT, EPERM, ERANGE}),
    "suspend": frozenset({EAGAIN, EBUSY, EINVAL, EIO, ENOENT, ENOMEM, ENOSPC, EOPNOTSUPP, EPERM}),
}  # fmt: skip


@EachStep
def user_errno(trace: Trace, number: int, seen: Index) -> list[Finding]:
    """Find verbs that gave the user what their table of errnos does not allow."""
    out: list[Finding] = []
    step = trace.steps[number]
    for text, result in zip(step.verbs, step.results, strict=True):
        if not result:
            continue
        allowed = MAY_GIVE.get(text.partition("=")[0])
        if allowed is not None and -result not in allowed:
            message = f"{text} gave {errno_name(result)}, which its table of errnos does not allow"
            out.append(Finding(judge="user_errno", message=message, step=number))
    return out
