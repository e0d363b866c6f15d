# SPDX-License-Identifier: GPL-2.0-only
"""How long the first VM waits for virtualization: counts of the model's run, times of a cost model."""
