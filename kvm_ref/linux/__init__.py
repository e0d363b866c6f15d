# SPDX-License-Identifier: GPL-2.0-only
"""What KVM leans on: a module for each kernel header or file, with the semantics KVM can observe."""
