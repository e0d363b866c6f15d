# SPDX-License-Identifier: GPL-2.0-only
"""A matrix as one HTML page that needs nothing else."""
