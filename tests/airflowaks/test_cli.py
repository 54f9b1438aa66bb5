"""The command line: each command's help, shell completion, two-line errors, and how the rehearsal joins it."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from importlib.metadata import EntryPoint, EntryPoints
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from airflowaks import cli
from tests.support.repository import REPOSITORY

if TYPE_CHECKING:
    from click.testing import Result

    from tests.support.rehearsal import Rehearsal


PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
((GROUP, JOINING),) = PROJECT["entry-points"].items()


def run(*words: str) -> Result:
    return CliRunner().invoke(cli.airflowaks, words)


def commands(printed: str) -> list[str]:
    """The names under `Commands:` in a help text."""
    return re.findall(r"^  (\w+)", printed.partition("Commands:")[2], re.MULTILINE)


@pytest.fixture(autouse=True)
def joined(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the entry points be those of this checkout's pyproject.toml, however old the installed ones are."""
    declared = EntryPoints(EntryPoint(name, value, GROUP) for name, value in JOINING.items())
    monkeypatch.setattr(cli, "entry_points", declared.select)


def test_every_command_has_help() -> None:
    assert commands(run("--help").output) == ["check", "image", "preflight", "rehearsal", "runs", "web"]
    assert commands(run("runs", "--help").output) == ["compare", "list", "show"]
    assert commands(run("rehearsal", "--help").output) == ["compare", "down", "env", "reset", "status", "up"]
    lines = [
        ("check",),
        ("image",),
        ("preflight",),
        ("web",),
        *(("runs", name) for name in ("compare", "list", "show")),
    ]
    lines += [("rehearsal", name) for name in ("down", "env", "reset", "status", "up", "serve", "credential")]
    lines.append(("rehearsal", "compare"))
    for words in lines:
        shown = run(*words, "--help")
        assert shown.exit_code == 0, shown.output
        assert f"Usage: airflowaks {' '.join(words)} [OPTIONS]" in shown.output


@pytest.mark.parametrize(
    ("words", "completed"),
    [
        ("airflowaks r", {"rehearsal", "runs"}),
        ("airflowaks rehearsal re", {"reset"}),
        ("airflowaks web --env d", {"dev"}),
        ("airflowaks web --p", {"--password", "--port"}),
    ],
)
def test_a_shell_completes_commands_options_and_environments(words: str, completed: set[str]) -> None:
    asked = {"_AIRFLOWAKS_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
    answer = CliRunner(env=asked).invoke(cli.airflowaks, prog_name="airflowaks")
    assert {line.partition(",")[2] for line in answer.output.splitlines()} == completed


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_is_told_how_to_complete(shell: str) -> None:
    script = CliRunner(env={"_AIRFLOWAKS_COMPLETE": f"{shell}_source"}).invoke(cli.airflowaks, prog_name="airflowaks")
    assert f"_AIRFLOWAKS_COMPLETE={shell}_complete" in script.output


def test_as_a_module_it_is_the_same() -> None:
    done = subprocess.run([sys.executable, "-m", "airflowaks", "--help"], check=True, capture_output=True, text=True)
    assert done.stdout.startswith("Usage: python -m airflowaks [OPTIONS] COMMAND")
    assert {"image", "runs", "web"} <= set(commands(done.stdout))


def test_where_tells_the_address_and_how_to_sign_in(rehearsal: Rehearsal) -> None:
    del rehearsal
    shown = run("web", "--where")
    assert shown.exit_code == 0, shown.output
    told = " ".join(shown.output.split())
    assert "address http://localhost:8080, while `airflowaks web --env local` runs" in told
    assert "as Op members of airflow-local-developers: " in told
    assert "in an emergency admin, with the secret airflow-admin-password in airflow-local-kv-" in told


@pytest.mark.broad
def test_a_preflight_is_a_table_and_an_exit_code(rehearsal: Rehearsal) -> None:
    healthy = run("preflight")
    assert healthy.exit_code == 0, healthy.output
    assert "Owner" in healthy.output
    rehearsal.control("POST", {"restriction": "version", "name": "PostgreSQL 17"})
    try:
        stopped = run("preflight")
    finally:
        rehearsal.control("DELETE")
    assert stopped.exit_code == 1
    assert re.search(r"stops +PostgreSQL +PostgreSQL 17 is not available in westeurope", stopped.output)


@pytest.mark.broad
@pytest.mark.usefixtures("rehearsal")
def test_a_check_of_environments_is_a_table_and_an_exit_code() -> None:
    checked = run("check", "--env", "local", "--env", "nowhere")
    assert checked.exit_code == 1
    assert re.search(r"local +drifted +[0-9]+ to create", checked.output)
    assert re.search(r"to create +resource group airflow-local", checked.output)
    assert re.search(r'nowhere +failed +There is no environment "nowhere"', checked.output)


def test_all_environments_are_those_on_azure_and_none_may_be_named_beside() -> None:
    checked = run("check", "--all")
    assert checked.exit_code == 1
    assert re.findall(r"^ (\w+) +failed ", checked.output, re.MULTILINE) == ["dev", "prod"]
    assert checked.output.count("is a placeholder") == 4
    assert run("check", "--all", "--env", "dev").exit_code == run("check").exit_code == 2


def test_without_its_packages_the_rehearsal_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psutil", None)
    for name in [name for name in sys.modules if name.startswith("rehearsal_cloud")]:
        monkeypatch.delitem(sys.modules, name)
    assert re.search(r"rehearsal +\(not installed\)", run("--help").output)
    refused = run("rehearsal", "up", "--json")
    assert refused.exit_code == 1
    first, second = refused.stderr.splitlines()
    assert first.startswith("The command rehearsal cannot start: ")
    assert "psutil" in first
    assert second == "→ Install what it needs with `pip install 'airflowaks[rehearsal]'`."


def test_without_nbformat_records_say_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "nbformat", None)
    refused = run("runs", "show", "any.ipynb")
    assert refused.exit_code == 2
    assert refused.stderr.splitlines() == [
        "The package nbformat is not installed.",
        "→ Install it with `pip install 'airflowaks[notebooks]'`.",
    ]


def test_where_no_entry_point_is_installed_it_says_how_to_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli, "entry_points", EntryPoints().select)
    assert commands(run("--help").output) == ["check", "image", "preflight", "runs", "web"]
    refused = run("rehearsal", "up")
    assert refused.exit_code == 2
    assert "No such command 'rehearsal'. After an update of the checkout, run `pip install --editable .`" in (
        refused.stderr
    )
