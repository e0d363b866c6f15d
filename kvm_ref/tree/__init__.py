# SPDX-License-Identifier: GPL-2.0-only
"""The C text of a kernel tree: reading it, walking it path by path, and comparing it with the model."""
