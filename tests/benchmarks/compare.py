"""Steps 1 to 5 as library calls and as notebooks, against the same with az and kubectl: all in one run.

    python tests/benchmarks/compare.py [--rounds N] [--time-scale X ...]

On a rehearsal cloud for each time scale the contenders take turns, each with an environment of its own that is removed
afterwards. It prints medians, ratios to az, and as JSON what they were made of. CPU seconds are those of a contender's
processes, memory is that of its largest one. az (azure-cli in an environment of its own) is looked for on PATH, or
named by AIRFLOWAKS_AZ; where it is missing, that row says so. Nothing is asserted.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

from airflowaks.session import open_session
from airflowaks.steps import teardown
from tests.support.deployment import describe_environment
from tests.support.rehearsal import run_rehearsal, start_rehearsal
from tests.support.repository import REPOSITORY

NOTEBOOKS = ("01_cluster", "02_registry", "03_backend", "04_key_vault", "05_workload_identity")
PROGRAM = """
import sys
from airflowaks.session import open_session
from airflowaks.steps import backend, cluster, key_vault, registry, workload_identity
session = open_session(sys.argv[1], sys.argv[2])
for step in (cluster, registry, backend, key_vault, workload_identity):
    step.everything(session)
"""
BY_HAND = REPOSITORY / "tests" / "benchmarks" / "by_hand.sh"
LOGIN = 'az login --service-principal -u "$AZURE_CLIENT_ID" -p "$AZURE_CLIENT_SECRET" -t "$AZURE_TENANT_ID"'
AZ = os.environ.get("AIRFLOWAKS_AZ") or shutil.which("az")
CALLS, AGAIN, CHECK, AS_NOTEBOOKS, WITH_AZ = "library calls", "run again", "mode=check", "notebooks", "az and kubectl"
CONTENDERS = (CALLS, AS_NOTEBOOKS, AGAIN, CHECK, WITH_AZ)
COSTS = ("seconds", "requests", "CPU seconds", "peak MB")


class Bench:
    """A rehearsal cloud in a folder, the environment of programs that use it, and a signed-in az."""

    def __init__(self, folder: Path, time_scale: str) -> None:
        self.folder, self.home = folder, folder / "home"
        self.cloud = start_rehearsal(self.home, "--time-scale", time_scale)
        os.environ["AIRFLOWAKS_HOME"] = str(self.home)
        exported = (shlex.split(line)[1].partition("=") for line in run_rehearsal(self.home, "env").splitlines())
        self.shell = os.environ | {name: value for name, _, value in exported}
        self.shell |= {"AZURE_CORE_COLLECT_TELEMETRY": "false", "AZURE_CORE_ONLY_SHOW_ERRORS": "true"}
        credentials = shlex.join([sys.executable, "-m", "rehearsal_cloud", "env", "--home", str(self.home)])
        self.shell["CREDENTIALS"] = f'eval "$({credentials})"'
        if AZ:
            self.shell["PATH"] = f"{Path(AZ).parent}:{self.shell['PATH']}"
            Path(self.shell["AZURE_CONFIG_DIR"]).mkdir()
            subprocess.run(["/bin/bash", "-c", LOGIN], check=True, env=self.shell, stdout=subprocess.DEVNULL)

    def round(self, number: int) -> dict[str, dict[str, float]]:
        """Let each contender run once, and return what each cost."""
        costs = {}
        calls, notebooks, by_hand = f"calls{number}", f"notebooks{number}", f"byhand{number}"
        for name in (calls, notebooks):
            describe_environment(self.folder, name)
        for contender, mode in ((CALLS, "apply"), (AGAIN, "apply"), (CHECK, "check")):
            costs[contender] = self.cost([sys.executable, "-c", PROGRAM, calls, mode], os.environ)
        teardown.everything(open_session(calls), confirm=calls)
        runs = [
            f"{sys.executable} -m papermill --no-progress-bar {REPOSITORY}/notebooks/{notebook}.ipynb"
            f" {notebook}.ipynb -p env {notebooks}"
            for notebook in NOTEBOOKS
        ]
        costs[AS_NOTEBOOKS] = self.cost(["/bin/bash", "-c", " && ".join(runs)], os.environ)
        teardown.everything(open_session(notebooks), confirm=notebooks)
        if AZ:
            costs[WITH_AZ] = self.cost(["/bin/bash", str(BY_HAND), by_hand, str(REPOSITORY / "manifests")], self.shell)
            open_session(calls).resources.resource_groups.begin_delete(by_hand).result()
        return costs

    def cost(self, command: list[str], environment: Any) -> dict[str, float]:
        """Run a command and return what it cost. Raises CalledProcessError with its last output if it fails."""
        before, started = len(self.cloud.requests()), time.monotonic()
        with tempfile.TemporaryFile("w+") as output:
            program = subprocess.Popen(command, cwd=self.folder, env=environment, stdout=output, stderr=output)
            _, status, usage = os.wait4(program.pid, 0)  # with all descendants that were waited for
            seconds = time.monotonic() - started
            program.returncode = os.waitstatus_to_exitcode(status)
            if program.returncode:
                output.seek(0)
                print(output.read()[-4000:], file=sys.stderr)
                raise subprocess.CalledProcessError(program.returncode, command[:2])
        requests = [entry for entry in self.cloud.requests()[before:] if entry["host"] != "localhost"]
        memory = usage.ru_maxrss / (1 if sys.platform == "linux" else 1024) / 1024
        return dict(zip(COSTS, (seconds, len(requests), usage.ru_utime + usage.ru_stime, memory), strict=True))


def compare(time_scale: str, rounds: int) -> dict[str, dict[str, float]]:
    """Return each contender's medians over the rounds."""
    with tempfile.TemporaryDirectory() as temporary:
        bench = Bench(Path(temporary), time_scale)
        os.chdir(temporary)
        try:
            measured = []
            for number in range(1, rounds + 1):
                measured.append(bench.round(number))
                print(f"time scale {time_scale}, round {number}: {json.dumps(measured[-1])}", file=sys.stderr)
        finally:
            os.chdir(REPOSITORY)
            run_rehearsal(bench.home, "reset")
    return {
        contender: {cost: round(median(costs[contender][cost] for costs in measured), 2) for cost in COSTS}
        for contender in CONTENDERS
        if contender in measured[0]
    }


def main() -> None:
    """Compare and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--time-scale", nargs="+", default=["0", "0.05"], help="Azure's durations times each of these")
    options = parser.parse_args()
    print(f"{os.cpu_count()} cores, {platform.system()}, Python {platform.python_version()}, {options.rounds} rounds\n")
    for time_scale in options.time_scale:
        medians = compare(time_scale, options.rounds)
        print(f"| steps 1 to 5, time scale {time_scale} | seconds | of az | requests | CPU seconds | peak memory |")
        print("|---|---|---|---|---|---|")
        for contender in CONTENDERS:
            if contender not in medians:
                print(f"| {contender} | not measured: azure-cli is not installed | | | | |")
                continue
            seconds, requests, cpu, memory = medians[contender].values()
            ratio = f"{seconds / medians[WITH_AZ]['seconds']:.2f}" if WITH_AZ in medians else ""
            print(f"| {contender} | {seconds:.1f} | {ratio} | {requests:.0f} | {cpu:.1f} | {memory:.0f} MB |")
        print(f"\n{json.dumps(medians)}\n")


if __name__ == "__main__":
    main()
