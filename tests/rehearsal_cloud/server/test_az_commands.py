"""An operator's day with the newest az against the rehearsal: every command ends as on Azure.

azure-cli is no dependency of the project. Install it into an environment of its own (`pip install azure-cli`), and put
its `az` on PATH, or name it in AIRFLOWAKS_AZ.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Any

import pytest

from rehearsal_cloud.home import OPERATOR_OBJECT_ID, SUBSCRIPTION_ID
from tests.support.rehearsal import reset_rehearsal, run_rehearsal, start_rehearsal, unmeasured
from tests.support.repository import REPOSITORY

if TYPE_CHECKING:
    from collections.abc import Iterator

AZ = os.environ.get("AIRFLOWAKS_AZ") or shutil.which("az")
pytestmark = [
    pytest.mark.broad,
    pytest.mark.skipif(AZ is None, reason="needs azure-cli: put its az on PATH, or name it in AIRFLOWAKS_AZ"),
]
_DRIVER = REPOSITORY / "tests" / "support" / "az_driver.py"
_TABLE = Path(__file__).with_name("az_commands.txt")
_SECONDS = 600


@dataclass(frozen=True)
class Command:
    """A command; its output's `query` (JMESPath) is `value`. A refused command says `refusal`."""

    text: str
    query: str = ""
    value: Any = None
    refusal: str = ""

    @property
    def arguments(self) -> list[str]:
        return [*shlex.split(self.text), *(["--query", self.query, "--output", "json"] if self.query else [])]


def parts() -> dict[str, list[Command]]:
    """Return the commands of the table, by part."""
    text = Template(_TABLE.read_text()).substitute(subscription=SUBSCRIPTION_ID, operator=OPERATOR_OBJECT_ID)
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    commands: dict[str, list[Command]] = {}
    for line in lines:
        if line.startswith("["):
            commands[line.strip("[]")] = []
        else:
            commands[list(commands)[-1]].append(_command(line))
    return commands


def _command(line: str) -> Command:
    text, _, expected = line.removeprefix("az ").partition(" => ")
    if expected.startswith("refused: "):
        return Command(text, refusal=expected.removeprefix("refused: "))
    query, _, value = expected.rpartition(" == ")
    return Command(text, query, json.loads(value) if value else None)


class Az:
    """az with a folder of its own for its sign-in, reached as a user reaches it."""

    def __init__(self, home: Path) -> None:
        exports = run_rehearsal(home, "env").splitlines()
        words = (shlex.split(line)[1].partition("=") for line in exports)
        settings = {"AZURE_CORE_COLLECT_TELEMETRY": "false", "AZURE_CORE_NO_COLOR": "true"}
        self._environment = unmeasured() | settings | {name: value for name, _, value in words}
        version = self._run([str(AZ), "--version"])
        self._python = re.search(r"Python location '(.+)'", version.stdout)[1]  # type: ignore[index]  # else az has changed
        login = (
            "login --service-principal -u {AZURE_CLIENT_ID} -p {AZURE_CLIENT_SECRET} --tenant {AZURE_TENANT_ID}".format(
                **self._environment
            )
        )
        self._run([str(AZ), *login.split()]).check_returncode()

    def walk(self, commands: list[Command]) -> list[str]:
        """Run commands one after another, and return what was otherwise than they say."""
        typed = json.dumps([command.arguments for command in commands])
        walked = self._run([self._python, str(_DRIVER)], typed)
        answers = [json.loads(line) for line in walked.stdout.splitlines()]
        assert len(answers) == len(commands), walked.stderr
        return [found for pair in zip(commands, answers, strict=True) for found in _otherwise(*pair)]

    def _run(self, command: list[str], typed: str = "") -> subprocess.CompletedProcess[str]:
        folder = self._environment["AZURE_CONFIG_DIR"]
        Path(folder).mkdir(exist_ok=True)
        return subprocess.run(
            command,
            input=typed,
            cwd=folder,
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=False,
        )


def _otherwise(command: Command, answer: dict[str, Any]) -> list[str]:
    if command.refusal:
        refused = answer["code"] != 0 and command.refusal in answer["messages"]
        return [] if refused else [f"az {command.text}: not refused with {command.refusal!r}: {answer}"]
    if answer["code"] != 0:
        return [f"az {command.text}: {answer['messages']}"]
    if not command.query:
        return []
    value = json.loads(answer["output"] or "null")
    return [] if value == command.value else [f"az {command.text}: {command.query} is {value!r}"]


@pytest.fixture(scope="module")
def walks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, list[str]]]:
    """What was otherwise in each part of the table."""
    home = tmp_path_factory.mktemp("az") / "home"
    start_rehearsal(home, "--time-scale", "0.00005")
    az, commands = Az(home), parts()
    assert az.walk(commands.pop("before")) == []
    with ThreadPoolExecutor(2) as pool:
        found = pool.map(az.walk, commands.values())
        yield dict(zip(commands, found, strict=True))
    reset_rehearsal(home)


@pytest.mark.parametrize("part", [part for part in parts() if part != "before"])
def test_an_operators_day(walks: dict[str, list[str]], part: str) -> None:
    assert "\n".join(walks[part]) == ""
