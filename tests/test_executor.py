# SPDX-License-Identifier: GPL-2.0-only
"""matrix.run() takes any executor: a thread pool, processes, or a cluster."""

from __future__ import annotations

import json
import subprocess
import sys
import warnings
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

import pytest

from kvm_ref.matrix import run
from kvm_ref.scenario import Cpus, Scenario

BASES = [
    Scenario(
        "mips",
        ("load", "create-vm", "close-vm", "unload"),
        cpus=Cpus.of((0, 1)),
        params={"enable_virt_at_load": v},
    )
    for v in ("1", "0")
]


@pytest.mark.parametrize("executor", [ThreadPoolExecutor, ProcessPoolExecutor])
@pytest.mark.parametrize("jobs", [1, 3])
def test_parts_of_a_matrix_make_the_whole(
    executor: type[ThreadPoolExecutor | ProcessPoolExecutor], jobs: int
) -> None:
    """Whoever runs the parts, and however many there are: the same rows in the same order."""
    with executor(2) as workers:
        assert run(BASES, workers, jobs=jobs).to_json() == run(BASES).to_json()


# A process of its own: others have functions that tests have declared.
FRESH = """
import json
from concurrent.futures import ProcessPoolExecutor
from kvm_ref.matrix import run
from kvm_ref.scenario import Scenario
bases = [Scenario("mips", ("load", "unload"))]
with ProcessPoolExecutor(2) as workers:
    parts = run(bases, workers, jobs=2)
print(json.dumps([parts.to_json(), run(bases).to_json()]))
"""


def test_the_parts_come_to_a_process_that_has_run_nothing() -> None:
    """Who only collects what others ran knows all functions of the backend, so what was not reached, too."""
    done = subprocess.run([sys.executable, "-c", FRESH], capture_output=True, text=True, check=True)
    parts, whole = json.loads(done.stdout)
    assert parts == whole
    assert any(name.startswith("misc_minor_alloc:") for name in parts["unreached"])


def test_a_dask_cluster() -> None:
    """Client.get_executor() of Dask does as well; here on a cluster within this process."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # whatever Dask finds old of itself or of its parts
        from distributed import Client, LocalCluster

        with (
            LocalCluster(  # type: ignore[no-untyped-call]  # Dask's own have no types
                n_workers=2, threads_per_worker=1, processes=False, dashboard_address=None
            ) as cluster,
            Client(cluster) as client,  # type: ignore[no-untyped-call]  # likewise
        ):
            done = run(BASES, client.get_executor(), jobs=2)
    assert done.to_json() == run(BASES).to_json()
