"""The golden file of refused command lines: `python -m tests.torture.parameters.commands` renews it.

A command line stands below what it prints and its exit code. AIRFLOWAKS_HOME is below a file, so that no rehearsal can
start: a command line that is accepted ends there.
"""

from __future__ import annotations

import os
import re
import shlex
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.testing import CliRunner

from airflowaks.cli import airflowaks
from tests.torture.golden import render
from tests.torture.parameters.refusals import furnish

if TYPE_CHECKING:
    from collections.abc import Iterator

FILE = Path(__file__).with_suffix(".txt")
COMMON = ("--no-such-option", "surplus")
"""What each command gets."""
LINES = """
runz
runs lst
runs list nowhere
runs list file.txt
runs list empty
runs show
runs show nowhere.ipynb
runs show empty
runs show file.txt
runs show dags/daily.py
runs show a{*300}
runs compare file.txt
runs compare file.txt nowhere.ipynb
runs compare nowhere.ipynb file.txt
web --port x
web --port -1
web --port 65536
web --port 1.5
web --port ''
web --where --password
web --env
web --env lcoal
web --env ''
web --env ../local
web --env LOCAL
preflight --env lcoal
preflight --image sha256:xyz
preflight --image apache/airflow:3.3.2
preflight --image ' '
image --env lcoal
image --image sha256:xyz
image --image apache/airflow:3.3.2
image --image -x
check
check --all --env local
rehearsal upp
rehearsal up --time-scale x
rehearsal up --time-scale -1
rehearsal up --time-scale nan
rehearsal up --time-scale inf
rehearsal up --replication-seconds -1
rehearsal up --replication-seconds nan
rehearsal up --docker-hub closed
rehearsal up --home file.txt
rehearsal up --home dags
rehearsal down --home dags
rehearsal status --home dags
rehearsal up --home file.txt/home
rehearsal down --home file.txt
rehearsal reset --home file.txt
rehearsal reset --home dags
rehearsal status --home file.txt
rehearsal env --home file.txt
rehearsal compare
rehearsal compare nowhere.jsonl
rehearsal compare empty
rehearsal compare file.txt
rehearsal compare dags/daily.py
"""


def _commands(group: click.Group, context: click.Context, prefix: str = "") -> Iterator[str]:
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if isinstance(command, click.Group):
            yield from _commands(command, context, f"{prefix}{name} ")
        else:
            yield f"{prefix}{name}"


def now() -> str:
    """Return the golden file as it is to be; raises AssertionError where a refused command has written something."""
    groups: dict[str, dict[str, list[str]]] = {}
    names = [*_commands(airflowaks, click.Context(airflowaks))]
    lines = [*LINES.strip().splitlines(), *(f"{name} {word}" for name in names for word in COMMON)]
    here = Path.cwd()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place).resolve()
        furnish(folder)
        os.chdir(folder)
        try:
            before = sorted(folder.rglob("*"))
            for line in lines:
                result = CliRunner().invoke(airflowaks, shlex.split(line))
                told = re.sub("(?s)^Usage: .*\n\n", "", result.output.replace(f"{folder}/", "")).strip()
                told = told or repr(result.exception)
                groups.setdefault(f"exit code {result.exit_code}", {}).setdefault(told, []).append(line)
                assert sorted(folder.rglob("*")) == before, line
        finally:
            os.chdir(here)
    return render(groups)


if __name__ == "__main__":
    FILE.write_text(now(), encoding="utf-8")
