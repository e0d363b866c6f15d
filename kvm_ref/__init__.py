# SPDX-License-Identifier: GPL-2.0-only
"""An executable reference of how Linux KVM comes up and goes down."""

__version__ = "0.1.0"
