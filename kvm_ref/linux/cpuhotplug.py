# SPDX-License-Identifier: GPL-2.0-only
"""Mirrors include/linux/cpuhotplug.h: the states of CPU hotplug that matter here (enum cpuhp_state)."""

from __future__ import annotations

CPUHP_INVALID = -1
CPUHP_OFFLINE = 0
CPUHP_BP_PREPARE_DYN = 64
CPUHP_BP_PREPARE_DYN_END = 84
CPUHP_BRINGUP_CPU = 86
CPUHP_AP_IDLE_DEAD = 87
CPUHP_AP_OFFLINE = 88
CPUHP_AP_ONLINE = 144
CPUHP_TEARDOWN_CPU = 145
CPUHP_AP_ONLINE_IDLE = 146
CPUHP_AP_KVM_ONLINE = 148
CPUHP_AP_ONLINE_DYN = 192
CPUHP_AP_ONLINE_DYN_END = 232
CPUHP_AP_X86_KVM_CLK_ONLINE = 234
CPUHP_AP_ACTIVE = 235
CPUHP_ONLINE = 236
# The kernel's own states; a log of KVM's callbacks, and what is told of a machine, leave them out.
OWN = frozenset({CPUHP_BRINGUP_CPU, CPUHP_TEARDOWN_CPU})
