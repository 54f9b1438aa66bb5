"""An environment whose runs keep a trace, and what a trace must not hold."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.support.deployment import GUID
from tests.support.repository import REPOSITORY

if TYPE_CHECKING:
    from airflowaks.session import Session

COMPANY = """
trace: true
tags: {owner: ada.lovelace@contoso.example, cost-center: fabrikam-9}
"""
OFFICE = "203.0.113.77"
SAME_IN_EVERY_TENANT = {
    "00000000-0000-0000-0000-000000000000",  # the default role of an application
    "00000003-0000-0000-c000-000000000000",  # Microsoft Graph
}


def describe_traced_environment(folder: Path, name: str) -> None:
    """Write an environment of its own for the rehearsal cloud, of a company that keeps traces."""
    environments = folder / "manifests" / "environments"
    environments.mkdir(parents=True, exist_ok=True)
    local = (REPOSITORY / "manifests" / "environments" / "local.yaml").read_text()
    office = local.replace("  firewall:\n", f"  firewall:\n    office-of-contoso: {{start: {OFFICE}}}\n")
    (environments / f"{name}.yaml").write_text(office + COMPANY)


def trace_of(session: Session) -> Path:
    return Path(session.connection.trace.file)


def lines_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def identities_in(session: Session) -> set[str]:
    """The names, IDs and addresses of the environment, and the company's own words."""
    environment = session.environment
    names = environment.names - {"airflow", "airflow_celery", "apache/airflow", "this-machine"}
    ids = {environment.subscription_id, environment.tenant_id, session.operator.object_id, session.operator.name}
    return {*names, *ids, OFFICE, "contoso", "fabrikam", "lovelace"}


def real_guids_in(text: str) -> set[str]:
    """The GUIDs that are neither a pseudonym, nor the ID of a built-in role, nor the same in every tenant."""
    guids = {match[0] for match in re.finditer(GUID, text, re.IGNORECASE)}
    roles = {match[1] for match in re.finditer(rf"roleDefinitions/({GUID})", text)}
    return {guid for guid in guids - roles - SAME_IN_EVERY_TENANT if not guid.startswith("00000000-0000-4000-8000-")}
