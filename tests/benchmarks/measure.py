"""What steps 1 to 4 cost: requests and seconds of a fresh apply and of a run with nothing to change, and import times.

    python tests/benchmarks/measure.py [--time-scale X]

prints a table in Markdown and, as JSON, what the table was made of. The rehearsal cloud runs in a folder of its own and
is forgotten afterwards. Nothing is asserted: a benchmark measures, and tests test.
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
from collections import Counter
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

from tests.support.deployment import describe_environment, is_write
from tests.support.rehearsal import Rehearsal, run_rehearsal, start_rehearsal

IMPORTS = (
    "airflowaks.steps.cluster",
    "airflowaks.steps.registry",
    "airflowaks.steps.backend",
    "airflowaks.steps.key_vault",
)
PROGRAM = """
import sys, time
started = time.monotonic()
from airflowaks.session import open_session
from airflowaks.steps import backend, cluster, key_vault, registry
session = open_session("measured")
for step in (cluster, registry, backend, key_vault):
    begun = time.monotonic()
    changes = step.everything(session)
    print(step.__name__.rpartition(".")[2], len(changes), sum(one.applied for one in changes), time.monotonic() - begun)
print("whole", 0, 0, time.monotonic() - started)
"""
REPEATS = 5


def run_steps(cloud: Rehearsal, folder: Path) -> dict[str, Any]:
    """Run the steps in a process of their own, as papermill would, and return what each cost."""
    before = len(cloud.requests())
    environment = {**os.environ, "AIRFLOWAKS_HOME": str(cloud.home)}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], cwd=folder, env=environment, check=True, capture_output=True, text=True
    )
    served = [one for one in cloud.requests()[before:] if one["host"] != "localhost"]
    rows = [line.split() for line in done.stdout.splitlines()]
    return {
        "resources": sum(int(row[1]) for row in rows),
        "written": sum(int(row[2]) for row in rows),
        "seconds": {row[0]: round(float(row[3]), 2) for row in rows},
        "requests": len(served),
        "writes": sum(is_write(one) for one in served),
        "sign-ins": sum(one["path"].endswith(("/token", "/exchange")) for one in served),
        "polls": sum("operation" in one["path"].lower() for one in served),
        "most reads of one path": max(Counter(one["path"] for one in served if one["method"] == "GET").values()),
    }


def import_seconds(module: str) -> float:
    """Return the shortest of several imports of `module`, each in a new interpreter, without the interpreter's own."""
    program = f"import time; t = time.perf_counter(); import {module}; print(time.perf_counter() - t)"
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    runs = [
        subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True, env=environment)
        for _ in range(REPEATS)
    ]
    return round(min(float(run.stdout) for run in runs), 3)


def measure(time_scale: str) -> dict[str, Any]:
    """Measure everything on a rehearsal cloud of its own."""
    with tempfile.TemporaryDirectory() as temporary:
        folder, home = Path(temporary), Path(temporary) / "home"
        describe_environment(folder, "measured")
        started = time.monotonic()
        cloud = start_rehearsal(home, "--time-scale", time_scale)
        up = round(time.monotonic() - started, 2)
        try:
            fresh, unchanged = run_steps(cloud, folder), run_steps(cloud, folder)
        finally:
            run_rehearsal(home, "reset")
    return {
        "machine": f"{os.cpu_count()} cores, {platform.system()}, Python {platform.python_version()}",
        "time scale": float(time_scale),
        "rehearsal up": up,
        "fresh apply": fresh,
        "nothing to change": unchanged,
        "import": {module: import_seconds(module) for module in IMPORTS},
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--time-scale", default="0.01", help="Azure's durations times this (0.01)")
    found = measure(parser.parse_args().time_scale)
    print(f"{found['machine']}, time scale {found['time scale']}\n")
    print("| steps 1 to 4 | resources | written | requests | of these writes | polls | sign-ins | seconds |")
    print("|---|---|---|---|---|---|---|---|")
    for name in ("fresh apply", "nothing to change"):
        row = found[name]
        cells = [row[key] for key in ("resources", "written", "requests", "writes", "polls", "sign-ins")]
        print("|", " | ".join(str(cell) for cell in (name, *cells, row["seconds"]["whole"])), "|")
    for module, seconds in found["import"].items():
        print(f"\n`import {module}`: {seconds} s")
    print(f"\n{json.dumps(found, indent=1)}")


if __name__ == "__main__":
    main()
