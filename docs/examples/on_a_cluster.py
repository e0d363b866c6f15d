# SPDX-License-Identifier: GPL-2.0-only
"""A matrix whose parts run on a cluster."""

from distributed import Client

from kvm_ref.matrix import run
from kvm_ref.scenario import Scenario

if __name__ == "__main__":
    bases = [Scenario("loongarch", ("load", "create-vm", "close-vm", "unload"))]
    # Dask's Client is not annotated.
    with Client(processes=False, n_workers=2, dashboard_address=None) as client:  # type: ignore[no-untyped-call]
        done = run(bases, client.get_executor(), jobs=8)
    print(f"{len(done.rows)} runs, {sum(bool(row.findings) for row in done.rows)} with findings")
