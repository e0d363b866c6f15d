# SPDX-License-Identifier: GPL-2.0-only
"""``python -m kvm_ref`` is the command kvm-ref."""

import sys

from kvm_ref.cli import main

sys.exit(main())
