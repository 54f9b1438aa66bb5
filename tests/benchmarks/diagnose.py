"""What a diagnosis costs in a crowd: seconds, requests, bytes and memory with 1,000 pods and 10,000 events.

    python tests/benchmarks/diagnose.py [--pods N] [--events N]

prints a table in Markdown and, as JSON, what the table was made of. Steps 1 to 4 are done in a rehearsal cloud of its
own; pods and events are written through the cluster's API: pods of a node that is not there, so that nobody runs them,
four in a hundred of them ill, and events of an hour, three in four of them warnings. One program diagnoses twice: at
first it also imports the SDKs. Nothing is asserted.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

import psutil

from airflowaks.kube.client import Document, Kube, Reference, connect
from airflowaks.session import open_session
from tests.support.deployment import deploy, describe_environment, is_write
from tests.support.hardened import hardened
from tests.support.rehearsal import Rehearsal, run_rehearsal, start_rehearsal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

PROGRAM = """
import json, resource, sys, time
from airflowaks.diagnosis.diagnose import diagnose
from airflowaks.session import open_session
session = open_session("measured", "plan")
seconds = []
for _ in range(2):
    begun = time.monotonic()
    diagnosis = diagnose(session)
    seconds.append(round(time.monotonic() - begun, 2))
pods = diagnosis.facts.kubernetes.pods.values()
print(json.dumps({
    "seconds": seconds[0],
    "again": seconds[1],
    "cpu": round(time.process_time(), 2),
    "memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // (1 if sys.platform == "linux" else 1024),
    "parts": {name: one.seconds for name, one in diagnosis.facts.readings.items()},
    "findings": [one.id for one in diagnosis.findings],
    "kept": {
        "pods": len(pods),
        "events": len(diagnosis.facts.kubernetes.events),
        "logs": sum(bool(one.log) for pod in pods for one in pod.containers.values()),
    },
}))
"""
NAMESPACE = "airflow"
SIDE_BY_SIDE = 4
MERGE = "application/merge-patch+json"
ILL_OF_A_HUNDRED, WARNINGS_OF_FOUR = 4, 3
REASONS = ("Unhealthy", "BackOff", "FailedMount", "FailedScheduling", "Failed")


def pod(number: int) -> Document:
    """A worker as the manifests have it, on a node that is not there."""
    container = {
        "name": "worker",
        "image": "docker.io/library/python:3.13",
        "args": ["celery", "worker"],
        "env": [{"name": f"AIRFLOW__SETTING__{one}", "value": "x" * 40} for one in range(20)],
        "resources": {"requests": {"cpu": "1m", "memory": "1Mi"}},
    }
    labels = {"app.kubernetes.io/name": "airflow", "app.kubernetes.io/component": "worker"}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": f"crowd-{number:05}", "namespace": NAMESPACE, "labels": labels},
        "spec": hardened(nodeName="aks-elsewhere-0", containers=[container]),
    }


def status(number: int) -> Document:
    """How such a pod fares: well, or ending again and again."""
    well = number % 100 >= ILL_OF_A_HUNDRED
    at = stamp(timedelta(minutes=50))
    state = {"running": {"startedAt": at}} if well else {"waiting": {"reason": "CrashLoopBackOff"}}
    container = {"name": "worker", "image": "python", "imageID": "", "ready": well, "state": state}
    container |= {"restartCount": 0 if well else 7}
    if not well:
        container["lastState"] = {"terminated": {"exitCode": 1, "reason": "Error", "startedAt": at, "finishedAt": at}}
    ready = {"type": "Ready", "status": "True" if well else "False", "lastTransitionTime": at}
    return {"status": {"phase": "Running", "conditions": [ready], "containerStatuses": [container]}}


def event(number: int, pods: int) -> Document:
    """One thing that was said of one of the pods within the last hour."""
    at, name = stamp(timedelta(seconds=number % 3500)), f"crowd-{number % pods:05}"
    warning = number % 4 < WARNINGS_OF_FOUR
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": f"{name}.{number:x}", "namespace": NAMESPACE},
        "involvedObject": {"apiVersion": "v1", "kind": "Pod", "name": name, "namespace": NAMESPACE},
        "type": "Warning" if warning else "Normal",
        "reason": REASONS[number % len(REASONS)] if warning else "Pulled",
        "message": f"{number}: " + "what the kubelet says of a pod is about as long as this is. " * 4,
        "firstTimestamp": at,
        "lastTimestamp": at,
        "count": 1,
        "source": {"component": "kubelet", "host": "aks-elsewhere-0"},
    }


def stamp(before: timedelta) -> str:
    """That long ago, as the API writes it."""
    return (datetime.now(UTC) - before).strftime("%Y-%m-%dT%H:%M:%SZ")


def crowd(kube: Kube, pods: int, events: int) -> float:
    """Write all of it through the API, and return how many seconds that took."""

    def live(number: int) -> None:
        made = kube.create(pod(number))
        kube.request("PATCH", f"{kube.path(Reference.of(made))}/status", {}, status(number), MERGE)

    started = time.monotonic()
    with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
        for write, count in ((live, pods), (lambda number: kube.create(event(number, pods)), events)):
            do: Callable[[int], Any] = write
            everything: Iterable[Any] = pool.map(do, range(count))
            for _ in everything:
                pass
    return round(time.monotonic() - started, 1)


def diagnosed(cloud: Rehearsal, folder: Path) -> dict[str, Any]:
    """Diagnose in a process of its own, and return what that cost."""
    before, daemon = len(cloud.requests()), _daemon(cloud)
    served_cpu = sum(daemon.cpu_times()[:2])
    environment = {**os.environ, "AIRFLOWAKS_HOME": str(cloud.home)}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], cwd=folder, env=environment, check=True, capture_output=True, text=True
    )
    served = cloud.requests()[before:]
    cluster = [one for one in served if one["host"].startswith("localhost:")]
    found: dict[str, Any] = json.loads(done.stdout)
    return found | {
        "requests": len(served),
        "of the cluster": len(cluster),
        "writes": sum(is_write(one) for one in served),
        "bytes": sum(one["bytes"] for one in cluster),
        "rehearsal's cpu": round(sum(daemon.cpu_times()[:2]) - served_cpu, 2),
        "rehearsal's memory": daemon.memory_info().rss // 1024,
    }


def _daemon(cloud: Rehearsal) -> psutil.Process:
    return psutil.Process(int((cloud.home / "rehearsal.pid").read_text()))


def measure(pods: int, events: int) -> dict[str, Any]:
    """Measure an empty namespace and a crowded one, on a rehearsal cloud of its own."""
    with tempfile.TemporaryDirectory() as temporary:
        folder, home = Path(temporary), Path(temporary) / "home"
        describe_environment(folder, "measured")
        cloud = start_rehearsal(home)
        try:
            deploy("measured", folder, home)
            alone = diagnosed(cloud, folder)
            seconds = crowd(open_session("measured").memoize(connect), pods, events)
            crowded = diagnosed(cloud, folder)
        finally:
            run_rehearsal(home, "reset")
    return {
        "machine": f"{os.cpu_count()} cores, {platform.system()}, Python {platform.python_version()}",
        "written in": seconds,
        "an empty namespace": alone,
        f"{pods:,} pods, {events:,} events": crowded,
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--pods", type=int, default=1000)
    parser.add_argument("--events", type=int, default=10_000)
    given = parser.parse_args()
    found = measure(given.pods, given.events)
    print(f"{found['machine']}\n")
    print("| two diagnoses of | first, s | second, s | CPU | requests | to the cluster | its answers | peak memory |")
    print("|---|---|---|---|---|---|---|---|")
    for name, row in list(found.items())[2:]:
        cells = [name, row["seconds"], row["again"], f"{row['cpu']} s", row["requests"], row["of the cluster"]]
        cells += [f"{row['bytes'] / 1e6:.1f} MB", f"{row['memory'] / 1024:.0f} MB"]
        print("|", " | ".join(str(cell) for cell in cells), "|")
    print(f"\n{json.dumps(found, indent=1)}")


if __name__ == "__main__":
    main()
