"""azure-pipelines.yml: that Azure Pipelines takes it, and that it does what is done here."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import pipelines
from tests.support.repository import REPOSITORY

FILES = [pipelines.PIPELINE, *(f".azure-pipelines/{path.name}" for path in (REPOSITORY / ".azure-pipelines").iterdir())]


@pytest.mark.broad
@pytest.mark.parametrize("name", FILES)
def test_it_is_as_the_published_schema_says(name: str, tmp_path: Path) -> None:
    (tmp_path / "document.json").write_text(json.dumps(pipelines.read(name)))
    azure = ("--builtin-schema", "vendor.azure-pipelines", "--data-transform", "azure-pipelines")
    # Its patterns are those of Python and JavaScript alike, but not of regular expressions for Unicode.
    command = [sys.executable, "-m", "check_jsonschema", *azure, "--regex-variant", "python"]
    done = subprocess.run([*command, tmp_path / "document.json"], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_every_template_is_used_with_the_parameters_that_it_has() -> None:
    used = set()
    for stage in pipelines.read(pipelines.PIPELINE)["stages"]:
        for job in pipelines.jobs(stage["stage"], image="build"):
            found = pipelines.steps(job)
            assert "${{" not in json.dumps(found)
            used |= {step.get("env", {}).get("ENVIRONMENT") for step in found}
    assert used == {None, "dev", "prod"}


def test_what_it_lints_is_what_ci_does() -> None:
    lint = next(one for one in pipelines.steps(pipelines.jobs("validate")[0]) if one.get("displayName") == "Lint")
    ours = (REPOSITORY / ".ci/run").read_text()
    first, *lines = lint["bash"].splitlines()
    assert first == "set -e"  # or the last command alone decides: microsoft/azure-pipelines-agent#1803
    commands = [line for line in lines if "pip" not in line]
    assert len(commands) == 4
    assert [one for one in commands if f"\n{one}" not in ours] == []


def test_its_test_commands_are_the_readmes_and_those_of_ci() -> None:
    steps = {step.get("displayName"): step for step in pipelines.steps(pipelines.jobs("validate")[0])}
    commands = {name: steps[name]["bash"].partition(" --junitxml")[0] for name in ("Test", "Test broadly")}
    assert f"\n{commands['Test']}\n" in (REPOSITORY / "README.md").read_text()
    assert (REPOSITORY / ".ci/run").read_text().endswith(f"\n{commands['Test broadly']}\n")


def test_whichever_image_is_asked_for_is_that_of_each_notebook_that_has_the_parameter() -> None:
    """Also of the preflight in the first one, which judges what it takes to build or import."""
    asked = {}
    for stage in ("image", "dev", "drift", "prod"):
        for job in pipelines.jobs(stage, image="existing"):
            for step in pipelines.steps(job):
                if name := step.get("env", {}).get("NOTEBOOK"):
                    has_parameter = "image: str" in (REPOSITORY / f"notebooks/{name}.ipynb").read_text()
                    asked[stage, name] = "-p image existing" in step["env"]["MORE"] or not has_parameter
    assert len(asked) == 5
    assert all(asked.values()), asked


def test_who_checks_gets_no_login_of_the_source() -> None:
    modes = {}
    for stage in ("image", "dev", "drift", "prod"):
        for job in pipelines.jobs(stage, image="build"):
            for step in pipelines.steps(job):
                if "NOTEBOOK" in (variables := step.get("env", {})):
                    modes[stage, variables["MODE"]] = "AIRFLOWAKS_SOURCE_TOKEN" in variables

    assert modes == {(stage, mode): mode == "apply" for stage, mode in modes}
    assert {mode for _, mode in modes} == {"apply", "check"}


def test_every_slow_marker_runs_every_night() -> None:
    (job,) = pipelines.jobs("faults")
    nightly = [leg["tests"] for leg in job["strategy"]["matrix"].values()]
    assert {marker for tests in nightly for marker in re.findall(r"-m (\w+)", tests)} == {"drill", "story", "torture"}
    (torture,) = (tests for tests in nightly if "-m torture" in tests)
    assert f"`pytest {torture}`" in (REPOSITORY / "docs/contributing.md").read_text()
    tests = [path for path in (REPOSITORY / "tests").rglob("test_*.py") if path != Path(__file__).resolve()]
    marked = [path for path in tests if "pytest.mark.torture" in path.read_text()]
    folders = [REPOSITORY / word for word in torture.split() if word.startswith("tests/")]
    assert [path for path in marked if not any(map(path.is_relative_to, folders))] == []
    assert int(job["timeoutInMinutes"]) >= 120


@pytest.mark.parametrize("stage", ["validate", "faults"])
def test_no_test_of_a_browser_or_of_kubectl_skips_for_want_of_it(stage: str) -> None:
    """Their job gets the programs first, or fails: a run whose tests were skipped looks like one that passed."""
    (job,) = pipelines.jobs(stage)
    commands = [step.get("bash", "") for step in pipelines.steps(job)]
    (tested, *_) = [place for place, command in enumerate(commands) if command.startswith("pytest")]
    (tools,) = [command for command in commands[:tested] if "command -v" in command]
    assert tools.startswith("set -e\n")
    looked_for = set(re.findall(r"command -v ([\w-]+)", tools))
    supports = [(REPOSITORY / f"tests/support/{name}.py").read_text() for name in ("browser", "kubectl")]
    assert looked_for == {name for text in supports for name in re.findall(r'shutil\.which\("([\w-]+)"\)', text)}
