"""Provenance: who ran what, when, from which commit and with which versions, as the run record keeps it."""

from __future__ import annotations

import platform
import shutil
import subprocess
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from airflowaks.table import Table

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflowaks.session import Session

RUN_MIME = "application/vnd.airflowaks.run+json"
NO_GIT = "no git"

_DISTRIBUTIONS = (
    "airflowaks",
    "azure-core",
    "azure-identity",
    "azure-keyvault-secrets",
    "azure-mgmt-containerservice",
    "azure-mgmt-postgresqlflexibleservers",
)


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """Where a run comes from. `started` is UTC in ISO 8601; `commit` is `no git` where there is none."""

    notebook: str
    started: str
    operator: str
    object_id: str
    commit: str
    dirty: bool
    environment: str
    fingerprint: str
    subscription_id: str
    mode: str
    parameters: Mapping[str, Any]
    versions: Mapping[str, str]

    def record(self) -> dict[str, Any]:
        """Return the provenance as JSON."""
        return asdict(self)

    def table(self) -> Table:
        """Return the provenance as a table that holds the same for machines."""
        rows = [
            ("operator", f"{self.operator} ({self.object_id})"),
            ("started", f"{self.started} (UTC)"),
            ("commit", self.commit + (", with changes that are not committed" if self.dirty else "")),
            ("environment", f"{self.environment} ({self.fingerprint})"),
            ("subscription", self.subscription_id),
            ("mode", self.mode),
            ("parameters", ", ".join(f"{name}={value!r}" for name, value in self.parameters.items())),
            ("versions", ", ".join(f"{name} {value}" for name, value in self.versions.items())),
        ]
        return Table(("", ""), rows, f"Run of {self.notebook}", data={RUN_MIME: self.record()})


def provenance(notebook: str, session: Session, parameters: Mapping[str, Any]) -> Provenance:
    """Collect the provenance of a run that begins now.

    Raises:
        SignInFailed: nobody is signed in.

    """
    revision, dirty = commit()
    environment = session.environment
    return Provenance(
        notebook=notebook,
        started=timestamp(),
        operator=session.operator.name,
        object_id=session.operator.object_id,
        commit=revision,
        dirty=dirty,
        environment=environment.name,
        fingerprint=environment.fingerprint,
        subscription_id=environment.subscription_id,
        mode=session.mode,
        parameters=dict(parameters),
        versions={"python": platform.python_version()} | {name: version(name) for name in _DISTRIBUTIONS},
    )


def timestamp() -> str:
    """Return the time now, UTC in ISO 8601, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def commit() -> tuple[str, bool]:
    """Return the commit of the working directory, where notebooks and environments are, and whether it has changes."""
    git = shutil.which("git")
    if git is None:
        return NO_GIT, False
    command = [git, "status", "--porcelain=v2", "--branch"]
    done = subprocess.run(command, check=False, capture_output=True, text=True, encoding="utf-8")
    lines = done.stdout.splitlines()
    revision = next((line.split()[-1] for line in lines if line.startswith("# branch.oid ")), NO_GIT)
    return revision, any(not line.startswith("#") for line in lines)
