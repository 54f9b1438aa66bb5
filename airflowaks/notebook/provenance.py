"""Provenance: who ran what, when, from which commit and with which versions, as the run record keeps it."""

from __future__ import annotations

import platform
from dataclasses import asdict, dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from airflowaks.config.git import commit
from airflowaks.engine.table import Table
from airflowaks.engine.times import timestamp

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflowaks.session import Session

RUN_MIME = "application/vnd.airflowaks.run+json"

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

    def table(self, title: str = "") -> Table:
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
        return Table(("", ""), rows, title or f"Run of {self.notebook}", data={RUN_MIME: self.record()})


def provenance(notebook: str, session: Session, parameters: Mapping[str, Any]) -> Provenance:
    """Collect the provenance of a run that begins now. Raises SignInFailed if the operator is not signed in."""
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
