"""What the rehearsal costs while nobody uses it: CPU and memory, its own apart from those of what runs in it.

    python tests/benchmarks/idle.py [--seconds N] [--without-airflow]

On a rehearsal cloud of its own it measures after the start, after steps 1 to 6, and after step 7 with a run of its
DAG. Memory is the proportional set size: what processes share is counted once. Nothing is asserted.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from collections import defaultdict
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

import psutil

from airflowaks.session import open_session
from airflowaks.steps import airflow, backend, cluster, key_vault, registry, volumes, workload_identity
from rehearsal_cloud.home import Home
from rehearsal_cloud.server.daemon import processes as daemon_processes
from tests.support.deployment import describe_environment
from tests.support.rehearsal import run_rehearsal, start_rehearsal

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.rehearsal import Rehearsal

BEFORE_AIRFLOW: Any = (cluster, registry, backend, key_vault, workload_identity, volumes)
SETTLING_SECONDS = 30
ITSELF, SHORT, SERVERS, CONTAINERS = "rehearsal", "its short commands", "PostgreSQL, Valkey", "containers"
_MIB = 1024 * 1024


def measure(cloud: Rehearsal, seconds: float) -> dict[str, dict[str, float]]:
    """Return CPU as a percentage of one core, and memory in MiB, of the rehearsal and of what runs in it."""
    time.sleep(SETTLING_SECONDS)
    before, started = _cpu(cloud), time.monotonic()
    time.sleep(seconds)
    after, passed = _cpu(cloud), time.monotonic() - started
    memory: dict[str, float] = defaultdict(float)
    for kind, process in _processes(cloud):
        memory[kind] += process.memory_full_info().pss / _MIB
    return {
        kind: {"percent": round((after[kind] - before[kind]) / passed * 100, 2), "MiB": round(memory[kind])}
        for kind in (ITSELF, SHORT, SERVERS, CONTAINERS)
    }


def _cpu(cloud: Rehearsal) -> dict[str, float]:
    """Return the CPU seconds until now; those of processes that have ended are their parent's."""
    spent: dict[str, float] = defaultdict(float)
    for kind, process in _processes(cloud):
        times = process.cpu_times()
        spent[kind] += times.user + times.system
        spent[SHORT if kind == ITSELF else kind] += times.children_user + times.children_system
    return spent


def _processes(cloud: Rehearsal) -> Iterator[tuple[str, psutil.Process]]:
    daemon, *rest = daemon_processes(Home(cloud.home))
    yield ITSELF, daemon
    for process in rest:
        with suppress(psutil.NoSuchProcess):
            yield SERVERS if process.name() in ("postgres", "valkey-server") else CONTAINERS, process


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--without-airflow", action="store_true")
    options = parser.parse_args()
    print(f"{os.cpu_count()} cores, {platform.system()}, Python {platform.python_version()}\n")
    measured = {}
    with tempfile.TemporaryDirectory() as temporary:
        folder, home = Path(temporary), Path(temporary) / "home"
        describe_environment(folder, "idle")
        cloud = start_rehearsal(home)
        os.environ["AIRFLOWAKS_HOME"] = str(home)
        os.chdir(folder)
        try:
            measured["after the start"] = measure(cloud, options.seconds)
            with closing(open_session("idle")) as session:
                for step in BEFORE_AIRFLOW:
                    step.everything(session)
            measured["after steps 1 to 6"] = measure(cloud, options.seconds)
            if not options.without_airflow:
                with closing(open_session("idle")) as session:
                    airflow.everything(session)
                    airflow.checks(session)
                measured["with Airflow"] = measure(cloud, options.seconds)
        finally:
            os.chdir("/")
            run_rehearsal(home, "reset")
    print("| a rehearsal | processes | % of a core | MiB |\n|---|---|---|---|")
    for name, kinds in measured.items():
        for kind, costs in kinds.items():
            if any(costs.values()):
                print(f"| {name} | {kind} | {costs['percent']:.1f} | {costs['MiB']:.0f} |")
    print(f"\n{json.dumps(measured)}")


if __name__ == "__main__":
    main()
