# SPDX-License-Identifier: GPL-2.0-only
"""The architecture-independent part of KVM: a module for each file of virt/kvm."""
