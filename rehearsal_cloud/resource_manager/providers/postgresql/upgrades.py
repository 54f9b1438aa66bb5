"""The prechecks of an upgrade to another major version, of what is really in the server's databases.

Rules: https://learn.microsoft.com/azure/postgresql/configure-maintain/concepts-major-version-upgrade. Format, names of
the policies, code 1020 and its text: MajorVersionUpgradePrecheckGet.json in Azure/azure-rest-api-specs, by which a
precheck has succeeded although one of its policies has failed. The other codes and texts are believed.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple

from rehearsal_cloud.errors import ServiceError
from rehearsal_cloud.resource_manager.providers.postgresql.flexible_resource import ServerChild

if TYPE_CHECKING:
    from rehearsal_cloud.documents import Document
    from rehearsal_cloud.resource_manager.cloud import Cloud
    from rehearsal_cloud.resource_manager.providers.postgresql.instances import Instance
    from rehearsal_cloud.resource_manager.resource_types import Call

_DOCUMENTATION = (
    "Refer documentation -"
    " https://learn.microsoft.com/en-us/azure/postgresql/flexible-server/concepts-major-version-upgrade"
)
_EXTENSIONS = "timescaledb,postgres_fdw,session_variable,pg_hint_plan,plv8,pg_repack,hypopg"
_EXTENSIONS_TO_17 = "age,azure_ai,hll,pg_diskann,pgrouting"
_FIRST_WITHOUT = 17


class _Policy(NamedTuple):
    name: str
    description: str
    code: int
    text: str
    query: str


_POLICIES = (
    _Policy(
        "NotSupportedExtensionPrecheckPolicy",
        "Confirm that server extensions are supported for this upgrade path.",
        1001,
        "Upgrading with extension {name} is not allowed. Found it in database {database}. Please drop this extension"
        " prior to reattempting the upgrade.",
        "SELECT extname FROM pg_extension WHERE extname = ANY (string_to_array('{extensions}', ','))",
    ),
    _Policy(
        "NoViewDependentObjectsPrecheckPolicy",
        "Confirm there are no view-dependent objects.",
        1020,
        "Upgrading with views dependent upon pg_stat_activity is not allowed. Found dependent object {name} in database"
        " {database}. Please drop this view prior to reattempting the upgrade.",
        "SELECT DISTINCT ev_class::regclass FROM pg_depend JOIN pg_rewrite ON pg_rewrite.oid = objid"
        " JOIN pg_class ON pg_class.oid = ev_class"
        " WHERE refobjid = 'pg_catalog.pg_stat_activity'::regclass AND ev_class <> refobjid"
        " AND relnamespace NOT IN ('pg_catalog'::regnamespace, 'information_schema'::regnamespace)",
    ),
)


class Precheck(ServerChild):
    """The result of a precheck, which clients cannot write."""

    type = "flexibleServers/majorVersionUpgradePrecheck"

    def validate(self, call: Call, body: Document, existing: Document | None) -> None:
        """Refuse it."""
        del body, existing
        raise ServiceError(405, "MethodNotAllowed", f"The method {call.method} is not served at a precheck.")


async def precheck(instance: Instance, target: str) -> list[Document]:
    """Return each policy's details for an upgrade to the version `target`."""
    extensions = f"{_EXTENSIONS},{_EXTENSIONS_TO_17}" if int(target) >= _FIRST_WITHOUT else _EXTENSIONS
    details = []
    for policy in _POLICIES:
        rows = await instance.server.in_each_database(policy.query.format(extensions=extensions))
        text = " ".join(policy.text.format(database=database, name=name) for database, name in rows)
        failure = {"errorCode": policy.code, "errorMessage": f"{text} {_DOCUMENTATION}"} if rows else {"errorCode": 0}
        details.append(
            {
                "policyName": policy.name,
                "passed": not rows,
                **failure,
                "policyDescription": policy.description,
            }
        )
    return details


def keep_precheck(cloud: Cloud, server: Document, name: str, target: str, details: list[Document]) -> None:
    """Store the result of a precheck as a child of its server."""
    errors = [{"ErrorCode": detail["errorCode"]} for detail in details if not detail["passed"]]
    sequence = {"SourceVersion": server["properties"]["version"], "TargetVersion": target}
    cloud.keep(
        {
            "id": f"{server['id']}/majorVersionUpgradePrecheck/{name}",
            "name": name,
            "type": f"Microsoft.DBforPostgreSQL/{Precheck.type}",
            "properties": {
                "createTime": datetime.now(UTC).isoformat(),
                "status": "Succeeded",
                "precheckResult": {"Action": "Precheck", "UpgradeSequence": sequence, "ErrorInfo": errors},
                "targetVersion": target,
                "policyDetails": details,
            },
            "_state": "Succeeded",
        }
    )


def refusal(details: list[Document]) -> ServiceError | None:
    """Return the error with which an upgrade is blocked, or None; its code is believed."""
    texts = [detail["errorMessage"] for detail in details if not detail["passed"]]
    return ServiceError(400, "MajorVersionUpgradePrecheckFailed", " ".join(texts)) if texts else None
