"""KEDA's scalers: they measure a ScaledObject's triggers, here the result of a query on PostgreSQL.

https://keda.sh/docs/latest/scalers/postgresql/
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from rehearsal_cloud.kubernetes.controllers.autoscalers import MetricFailed
from rehearsal_cloud.kubernetes.controllers.container_environment import environment, secret_value

if TYPE_CHECKING:
    from pathlib import Path

    from rehearsal_cloud.documents import Document
    from rehearsal_cloud.kubernetes.objects.objects import Objects

_CONNECT_SECONDS = 10
_UNPARSED = "error parsing postgreSQL metadata: error parsing postgresql metadata"
_PARTS = {"host": "host", "port": "port", "userName": "user", "dbName": "dbname", "sslmode": "sslmode"}


class ScalerFailed(MetricFailed):
    """A trigger could not be built or measured; the message never holds the connection string."""


@dataclass(frozen=True)
class Scaler:
    """A trigger of a ScaledObject, ready to be measured."""

    metric: str
    """The metric's name for the autoscaler: `s0-postgresql`."""
    metric_type: str
    target: Decimal
    activation: Decimal
    query: str
    conninfo: str

    def __repr__(self) -> str:
        """Return the metric's name alone: the connection holds a password."""
        return f"Scaler({self.metric})"

    async def value(self) -> Decimal:
        """Return what the query answers now. Raises ScalerFailed."""
        import psycopg

        try:
            connection = await psycopg.AsyncConnection.connect(
                self.conninfo, autocommit=True, connect_timeout=_CONNECT_SECONDS, application_name="keda"
            )
            async with connection, connection.cursor() as cursor:
                await cursor.execute(self.query.encode())
                row = await cursor.fetchone()
        except psycopg.Error as fault:
            raise ScalerFailed(
                f"error inspecting postgreSQL: could not query postgreSQL: {_first_line(fault)}"
            ) from None
        if row is None or row[0] is None:
            raise ScalerFailed("error inspecting postgreSQL: could not query postgreSQL: no rows in result set")
        return Decimal(row[0])


def scalers(objects: Objects, scaled_object: Document, target: Document, authorities: Path) -> list[Scaler]:
    """Return the ScaledObject's scalers. Raises ScalerFailed for an invalid trigger.

    The operator's container trusts the certificates in `authorities`.
    """
    built = []
    for index, trigger in enumerate(scaled_object["spec"]["triggers"]):
        if trigger["type"] != "postgresql":
            raise ScalerFailed(f"no scaler found for type: {trigger['type']}")
        conninfo = _conninfo(_parameters(objects, scaled_object, target, trigger), authorities)
        built.append(_scaler(index, trigger, conninfo))
    return built


def _scaler(index: int, trigger: Document, conninfo: str) -> Scaler:
    metadata = trigger["metadata"]
    if not metadata.get("query"):
        raise ScalerFailed(f'{_UNPARSED}: missing required parameter "query" in [triggerMetadata]')
    numbers = []
    for name in ("targetQueryValue", "activationTargetQueryValue"):
        try:
            numbers.append(Decimal(metadata.get(name, "0")))
        except ArithmeticError:
            text = f'unable to set param "{name}" value "{metadata[name]}": unable to unmarshal to field type float64'
            raise ScalerFailed(
                f"error parsing postgreSQL metadata: error parsing postgresql metadata: {text}"
            ) from None
    if not numbers[0]:
        raise ScalerFailed("error parsing postgreSQL metadata: no targetQueryValue given")
    return Scaler(
        metric=f"s{index}-postgresql",
        metric_type=trigger.get("metricType") or "AverageValue",
        target=numbers[0],
        activation=numbers[1],
        query=metadata["query"],
        conninfo=conninfo,
    )


def _conninfo(parameters: dict[str, str], authorities: Path) -> str:
    from psycopg import ProgrammingError, conninfo

    parts: dict[str, Any]
    if text := parameters.get("connection"):
        try:
            parts = conninfo.conninfo_to_dict(text)
        except ProgrammingError:  # whose text repeats the string, and with it the password
            raise ScalerFailed("error establishing postgreSQL connection: cannot parse the connection string") from None
    else:
        for name in _PARTS:
            if not parameters.get(name):
                raise ScalerFailed(f"{_UNPARSED}: no {name} given")
        parts = {keyword: parameters[parameter] for parameter, keyword in _PARTS.items()} | {
            "password": parameters.get("password", "")
        }
    roots, mode = parts.get("sslrootcert"), parts.get("sslmode")
    if roots == "system" or (roots is None and mode in ("verify-ca", "verify-full")):
        # libpq would use this machine's authorities, or none at all if it was built for a different machine.
        parts |= {"sslrootcert": str(authorities), "sslmode": mode or "verify-full"}
    return conninfo.make_conninfo("", **parts)


def _parameters(objects: Objects, scaled_object: Document, target: Document, trigger: Document) -> dict[str, str]:
    """Return the trigger's parameters: its own, from the target's environment, and from its authentication."""
    namespace = scaled_object["metadata"]["namespace"]
    variables = _environment(
        objects, target, namespace, scaled_object["spec"]["scaleTargetRef"].get("envSourceContainerName")
    )
    parameters = {name: value for name, value in trigger["metadata"].items() if name in _PARTS}
    for name, variable in trigger["metadata"].items():
        if name.endswith("FromEnv") and variable in variables:
            parameters[name.removesuffix("FromEnv")] = variables[variable]
    reference = trigger.get("authenticationRef")
    if reference is None:
        return parameters
    authentication = objects.get("TriggerAuthentication", reference["name"], namespace)
    if authentication is None:
        text = f'TriggerAuthentication.keda.sh "{reference["name"]}" not found'
        raise ScalerFailed(f"error getting triggerAuth: {text}")
    spec = authentication["spec"]
    for source in spec.get("secretTargetRef") or ():
        parameters[source["parameter"]] = secret_value(objects, source["name"], source["key"], namespace) or ""
    for source in spec.get("env") or ():
        variables = _environment(objects, target, namespace, source.get("containerName"))
        parameters[source["parameter"]] = variables.get(source["name"], "")
    return parameters


def _environment(objects: Objects, target: Document, namespace: str, container: str | None) -> dict[str, str]:
    containers = target["spec"]["template"]["spec"]["containers"]
    chosen = (
        next((candidate for candidate in containers if candidate["name"] == container), None)
        if container
        else containers[0]
    )
    if chosen is None:
        text = f"couldn't find container with name {container} on Target object"
        raise ScalerFailed(f"error resolving secrets for ScaleTarget: {text}")
    return environment(objects, chosen, namespace)


def _first_line(fault: Exception) -> str:
    return str(fault).partition("\n")[0]
