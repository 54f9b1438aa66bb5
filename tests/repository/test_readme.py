from __future__ import annotations

import re
import tomllib

import pytest
import yaml

from airflowaks.steps import key_vault
from tests.support.drills.table import table
from tests.support.repository import REPOSITORY

README = (REPOSITORY / "README.md").read_text()
ARCHITECTURE = (REPOSITORY / "docs/architecture.md").read_text()
MOST_BYTES = 8000
MOST_IMAGE_BYTES = 300_000
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
SECTIONS = dict(re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", README, re.DOTALL | re.MULTILINE))


def dependencies() -> set[str]:
    """The names of what the runbook and its rehearsal need to run."""
    extras = PROJECT["optional-dependencies"]
    wanted = [*PROJECT["dependencies"], *extras["rehearsal"], *extras["notebooks"], *extras["lab"]]
    return {re.split(r"[\[<>=;! ]", one, maxsplit=1)[0] for one in wanted} - {"airflowaks"}


@pytest.mark.parametrize("heading", ["Run it", "Test it"])
def test_each_of_the_two_commands_is_one_block(heading: str) -> None:
    assert SECTIONS[heading].count("```bash\n") == 1


def test_the_readme_and_its_pictures_are_small() -> None:
    assert len(README.encode()) <= MOST_BYTES
    images = list((REPOSITORY / "docs/images").glob("*"))
    assert sum(image.stat().st_size for image in images) <= MOST_IMAGE_BYTES


@pytest.mark.parametrize("package", ["airflowaks", "rehearsal_cloud"])
def test_every_module_is_in_the_architectures_table_of_its_package(package: str) -> None:
    table = ARCHITECTURE.partition(f": `{package}/`")[2].partition("\n## ")[0]
    places = [path.name for path in (REPOSITORY / package).glob("*.py") if path.name != "__init__.py"]
    folders = [path.parent.name for path in (REPOSITORY / package).glob("*/__init__.py")]

    assert [name for name in places if f"`{name}`" not in table] == []
    assert [name for name in folders if f"`{name}/" not in table] == []


def test_every_dependency_is_in_the_table_with_what_it_is_for() -> None:
    rows = ARCHITECTURE.partition("| dependency |")[2].lower()
    names = rows.replace(", -", ", azure-mgmt-")

    assert sorted(one for one in dependencies() if one.lower() not in names) == []


def test_every_secret_is_in_the_table_of_rotation() -> None:
    named = {value for name, value in vars(key_vault).items() if name.isupper() and str(value).startswith("airflow-")}

    assert len(named) == 9
    shorthand = (REPOSITORY / "docs/rotation.md").read_text().replace("`-async`", "`airflow-sql-alchemy-conn-async`")
    assert [one for one in named if f"`{one}`" not in shorthand] == []


def test_the_table_of_findings_is_as_rules_and_drills_have_it() -> None:
    assert table() in (REPOSITORY / "docs/findings.md").read_text()


def test_the_table_of_secrets_names_the_components_that_mount_each() -> None:
    table = (REPOSITORY / "docs/security.md").read_text().partition("| secret | held by |")[2].partition("\n\n")[0]
    documented = {name: set(holders.split(", ")) for name, holders in re.findall(r"\| `(\S+)` \| (.+?) \|", table)}
    manifests = (REPOSITORY / "manifests/05_workload_identity/secret-provider-classes.yaml").read_text()
    mounted: dict[str, set[str]] = {}
    for manifest in yaml.safe_load_all(manifests):
        component = manifest["metadata"]["labels"]["app.kubernetes.io/component"]
        for name in re.findall(r"objectName: (airflow-\S+)", manifest["spec"]["parameters"]["objects"]):
            mounted.setdefault(name, set()).add(component)

    assert documented == mounted
