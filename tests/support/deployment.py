"""Steps 1 to 4 as a program runs them, in a process that can be killed, and what they leave behind in the cloud."""

from __future__ import annotations

import os
import re
import sys
from typing import TYPE_CHECKING, Any

from airflowaks.session import open_session
from airflowaks.steps import backend, cluster, key_vault, registry
from tests.support.repository import REPOSITORY

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from airflowaks.session import Session

STEPS = (cluster, registry, backend, key_vault)
WRITES = ("PUT", "POST", "PATCH", "DELETE")
GUID = r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"


DIRECT = """
access: direct
postgresql:
  firewall:
    this-machine: {start: 127.0.0.1}
"""


def describe_environment(folder: Path, name: str, more: str = DIRECT) -> None:
    """Write an environment of its own for the rehearsal cloud: own resource group, groups and global names.

    It connects to PostgreSQL from here, without the seconds that a pod takes.
    """
    environments = folder / "manifests" / "environments"
    environments.mkdir(parents=True, exist_ok=True)
    text = (REPOSITORY / "manifests" / "environments" / "local.yaml").read_text()
    (environments / f"{name}.yaml").write_text(text + more)


def deploy(name: str, folder: Path, home: Path) -> None:
    """Run steps 1 to 4 with their checks; the process exits with 1 where a check fails."""
    os.chdir(folder)
    os.environ["AIRFLOWAKS_HOME"] = str(home)
    session = open_session(name)
    for step in STEPS:
        step.everything(session)
        if failed := step.checks(session).failed:
            print(failed, file=sys.stderr)
            sys.exit(1)


def is_write(entry: dict[str, Any]) -> bool:
    """Tell whether an entry of the rehearsal's request log is one that changes something."""
    asking = ("/token", "/exchange", "/listKeys", "/listClusterUserCredential", "/getByIds", "accessreviews")
    asking += ("/checkPolicyRestrictions", "/checkNameAvailability")
    reading = entry["path"].endswith(asking) or "dryRun=All" in entry["query"]
    return entry["method"] in WRITES and not reading and entry["host"] != "localhost"


def state(session: Session) -> list[str]:
    """Return all that the environment has in the cloud, under names that are the same for every environment."""
    group, name = session.environment.resource_group, session.environment.name
    found = [one.id for one in session.resources.resources.list()]
    roles = session.authorization.role_assignments.list_for_subscription()
    found += [f"{one.scope} {one.role_definition_id} {one.principal_type}" for one in roles]
    found = [one for one in found if f"/{group}/" in one or f"_{group}_" in one]
    found += [
        f"secret {one.name}" for one in session.memoize(key_vault.Resources).vault.secrets.list_properties_of_secrets()
    ]
    found += [f"group {one}" for one in _groups(session) if one.startswith(f"airflow-{name}-")]
    suffix = session.environment.postgresql.name.rpartition("-")[2]
    known = [
        one.replace(suffix, "SUFFIX").replace(f"airflow-{name}", "NAME").replace(f"airflow{name}", "NAME")
        for one in found
    ]
    return sorted(re.sub(GUID, "GUID", one) for one in known)


def _groups(session: Session) -> Iterator[str]:
    from azure.core.rest import HttpRequest

    page = session.graph.format_url("/groups")
    while page:
        response = session.graph.send_request(HttpRequest("GET", page))
        response.raise_for_status()
        answer = response.json()
        yield from (group["displayName"] for group in answer["value"])
        page = answer.get("@odata.nextLink")
