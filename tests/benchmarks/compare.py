"""Steps 1 to 5 as library calls and as notebooks, against az and kubectl, and deployments with Airflow: all in one run.

    python tests/benchmarks/compare.py [--rounds N] [--time-scale X ...] [--deployments N]

On a rehearsal cloud for each time scale the contenders take turns, each with an environment of its own that is removed
afterwards. It prints medians, ratios, and as JSON what they were made of. CPU seconds are those of a contender's
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
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

from airflowaks.notebook.critical_path import critical_path
from airflowaks.notebook.deploy import NOTEBOOKS
from airflowaks.notebook.records import read_record
from airflowaks.session import open_session
from airflowaks.steps import teardown
from tests.support.deployment import describe_environment
from tests.support.rehearsal import run_rehearsal, start_rehearsal
from tests.support.repository import REPOSITORY

if TYPE_CHECKING:
    from collections.abc import Sequence

PROGRAM = """
import sys
from airflowaks.session import open_session
from airflowaks.steps import backend, cluster, key_vault, registry, workload_identity
session = open_session(sys.argv[1], sys.argv[2])
for step in (cluster, registry, backend, key_vault, workload_identity):
    step.everything(session)
"""
_NOTEBOOKS = REPOSITORY / "notebooks"
BY_HAND = REPOSITORY / "tests" / "benchmarks" / "by_hand.sh"
PAPERMILL = (sys.executable, "-m", "papermill", "--no-progress-bar")
LOGIN = 'az login --service-principal -u "$AZURE_CLIENT_ID" --password="$AZURE_CLIENT_SECRET" -t "$AZURE_TENANT_ID"'
AZ = os.environ.get("AIRFLOWAKS_AZ") or shutil.which("az")
CALLS, AGAIN, CHECK, AS_NOTEBOOKS, WITH_AZ = "library calls", "run again", "mode=check", "notebooks", "az and kubectl"
CONTENDERS = (CALLS, AS_NOTEBOOKS, AGAIN, CHECK, WITH_AZ)
WITHOUT_AIRFLOW = 5
DEPLOYED, IN_TURN, PATH = "00_deploy", "notebooks 1 to 7 in turn", "critical path"
COSTS = ("seconds", "requests", "CPU seconds", "peak MB")


class Bench:
    """A rehearsal cloud in a folder, the environment of programs that use it, and a signed-in az."""

    def __init__(self, folder: Path, time_scale: str) -> None:
        self.folder, self.home = folder, folder / "home"
        self.cloud = start_rehearsal(self.home, "--time-scale", time_scale)
        os.environ["AIRFLOWAKS_HOME"] = str(self.home)
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # each program would compile what it imports
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
        costs[AS_NOTEBOOKS] = self.in_turn(notebooks, NOTEBOOKS[:WITHOUT_AIRFLOW])
        if AZ:
            costs[WITH_AZ] = self.cost(["/bin/bash", str(BY_HAND), by_hand, str(REPOSITORY / "manifests")], self.shell)
            open_session(calls).resources.resource_groups.begin_delete(by_hand).result()
        return costs

    def in_turn(self, name: str, notebooks: Sequence[str]) -> dict[str, float]:
        """Run notebooks one after another, then remove the environment; return what they cost."""
        runs = [
            " ".join([*PAPERMILL, f"{_NOTEBOOKS}/{each}.ipynb", f"{each}.ipynb", "-p env", name]) for each in notebooks
        ]
        cost = self.cost(["/bin/bash", "-c", " && ".join(runs)], os.environ)
        teardown.everything(open_session(name), confirm=name)
        return cost

    def deployment(self, number: int) -> dict[str, dict[str, float]]:
        """Deploy Airflow with 00_deploy and with one notebook after another; return what each cost."""
        together, in_turn = f"together{number}", f"inturn{number}"
        for name in (together, in_turn):
            describe_environment(self.folder, name)
        notebook, records = f"{_NOTEBOOKS}/00_deploy.ipynb", self.folder / together
        run = [*PAPERMILL, notebook, f"{together}.ipynb", "-p", "env", together, "-p", "records", str(records)]
        cost = self.cost(run, os.environ)
        path = critical_path({each: read_record(records / f"{each}.ipynb") for each in NOTEBOOKS})
        teardown.everything(open_session(together), confirm=together)
        costs = {DEPLOYED: cost, PATH: {COSTS[0]: sum(link.seconds for link in path)}}
        return costs | {IN_TURN: self.in_turn(in_turn, NOTEBOOKS)}

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


def compare(time_scale: str, rounds: int, deployments: int) -> list[dict[str, dict[str, float]]]:
    """Return each contender's medians over the rounds, and those of the deployments."""
    with tempfile.TemporaryDirectory() as temporary:
        bench = Bench(Path(temporary), time_scale)
        os.chdir(temporary)
        try:
            measured: list[list[dict[str, dict[str, float]]]] = []
            for turn, count in ((bench.round, rounds), (bench.deployment, deployments)):
                measured.append([])
                for number in range(1, count + 1):
                    measured[-1].append(turn(number))
                    print(f"time scale {time_scale}, round {number}: {json.dumps(measured[-1][-1])}", file=sys.stderr)
        finally:
            os.chdir(REPOSITORY)
            run_rehearsal(bench.home, "reset")
    return [_medians(turns) for turns in measured]


def _medians(turns: Sequence[dict[str, dict[str, float]]]) -> dict[str, dict[str, float]]:
    """Return the median of each cost of each contender."""
    return {
        contender: {cost: round(median(turn[contender][cost] for turn in turns), 2) for cost in costs}
        for contender, costs in (turns[0] if turns else {}).items()
    }


def show(title: str, medians: dict[str, dict[str, float]], contenders: Sequence[str], standard: str) -> None:
    """Print a table in Markdown, each contender's seconds also as a ratio to those of the standard."""
    print(f"| {title} | seconds | of {standard} | requests | CPU seconds | peak memory |")
    print("|---|---|---|---|---|---|")
    for contender in contenders:
        if contender not in medians:
            print(f"| {contender} | not measured: azure-cli is not installed | | | | |")
            continue
        seconds, *more = medians[contender].values()
        ratio = f"{seconds / medians[standard][COSTS[0]]:.2f}" if standard in medians else ""
        formats = ("{:.0f}", "{:.1f}", "{:.0f} MB")
        cells = [form.format(value) for form, value in zip(formats, more, strict=False)] or ["", "", ""]
        print(f"| {contender} | {seconds:.1f} | {ratio} | {' | '.join(cells)} |")
    print(f"\n{json.dumps(medians)}\n")


def main() -> None:
    """Compare and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--time-scale", nargs="+", default=["0", "0.05"], help="Azure's durations times each of these")
    parser.add_argument("--deployments", type=int, default=1, help="deployments of each kind, with a real Airflow")
    options = parser.parse_args()
    print(f"{os.cpu_count()} cores, {platform.system()}, Python {platform.python_version()}, {options.rounds} rounds\n")
    for time_scale in options.time_scale:
        steps, deployments = compare(time_scale, options.rounds, options.deployments)
        show(f"steps 1 to 5, time scale {time_scale}", steps, CONTENDERS, WITH_AZ)
        if deployments:
            show(f"with Airflow, time scale {time_scale}", deployments, (DEPLOYED, PATH, IN_TURN), PATH)


if __name__ == "__main__":
    main()
