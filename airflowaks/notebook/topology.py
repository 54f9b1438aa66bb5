"""What an environment describes, before anything of it exists: as a table of names and as a picture."""

from __future__ import annotations

import html
from dataclasses import dataclass
from typing import TYPE_CHECKING

from airflowaks.config.backend_schema import ManagedRedis
from airflowaks.engine.table import Picture, Table

if TYPE_CHECKING:
    from airflowaks.config.environment import Environment

_WIDTH, _HEIGHT = 840, 400
_BOX_WIDTH, _BOX_HEIGHT = 220, 46
# How many letters of the font's size fit into a box before they have to be squeezed.
_ROOM = 34
_NOW, _BEFORE, _LATER = "fill:#dbeafe;stroke:#1d4ed8", "fill:#f3f4f6;stroke:#6b7280", "fill:#fff;stroke:#9ca3af"
_DASHED = ";stroke-dasharray:4 3"


@dataclass(frozen=True)
class _Part:
    """One thing that a step makes, and where its box stands in the picture, in pixels."""

    step: int
    kind: str
    name: str
    detail: str
    x: int
    y: int


def deployment(environment: Environment) -> Table:
    """Return a table of what the steps make for `environment`: where, under which name and of which size."""
    rows = [("1", "resource group", environment.resource_group, f"{environment.location}, {environment.cloud}")]
    rows += [(str(part.step), part.kind, part.name, part.detail) for part in _parts(environment)]
    return Table(("step", "what", "name", "details"), rows, f"Environment {environment.name}")


class Topology(Picture):
    """A picture of `environment`: resources of `step` are blue, earlier ones grey, later ones dashed."""

    def __init__(self, environment: Environment, step: int) -> None:
        self._environment = environment
        self._step = step

    def __str__(self) -> str:
        made = [f"{part.kind} {part.name}" for part in _parts(self._environment) if part.step == self._step]
        return f"Step {self._step} makes in {self._environment.resource_group}: {', '.join(made)}"

    def svg(self) -> str:
        """Return the picture as SVG."""
        group = f"resource group {self._environment.resource_group} in {self._environment.location}"
        boxes = "".join(self._box(part) for part in _parts(self._environment))
        arrows = _ARROWS + _SIGN_IN * _has_application(self._environment)
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" width="{_WIDTH}" role="img"'
            f' font-family="sans-serif" font-size="12"><title>{html.escape(str(self))}</title>'
            '<defs><marker id="tip" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="8" markerHeight="8" orient="auto">'
            '<path d="M0,0L8,4L0,8z" fill="#374151"/></marker></defs>'
            f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="#fff"/>'
            f'<rect x="265" y="10" width="565" height="{_HEIGHT - 20}" rx="8" style="fill:none;stroke:#374151"/>'
            f'<text x="277" y="30" font-weight="bold">{html.escape(group)}</text>{arrows}{boxes}</svg>'
        )

    def _box(self, part: _Part) -> str:
        style = _NOW if part.step == self._step else _BEFORE if part.step < self._step else _LATER + _DASHED
        squeeze = f' textLength="{_BOX_WIDTH - 20}" lengthAdjust="spacingAndGlyphs"' if len(part.name) > _ROOM else ""
        return (
            f'<rect x="{part.x}" y="{part.y}" width="{_BOX_WIDTH}" height="{_BOX_HEIGHT}" rx="6" style="{style}"/>'
            f'<text x="{part.x + 10}" y="{part.y + 19}" fill="#374151">{part.step} · {html.escape(part.kind)}</text>'
            f'<text x="{part.x + 10}" y="{part.y + 36}"{squeeze} font-weight="bold">{html.escape(part.name)}</text>'
        )


def _arrow(x: int, y: int, to_x: int, to_y: int, words: str, words_x: int, words_y: int) -> str:
    return (
        f'<path d="M{x},{y}L{to_x},{to_y}" stroke="#374151" fill="none" marker-end="url(#tip)"/>'
        f'<text x="{words_x}" y="{words_y}" font-size="10" fill="#374151">{words}</text>'
    )


_ARROWS = "".join(
    (
        _arrow(235, 68, 278, 165, "administer", 183, 122),
        _arrow(235, 198, 278, 180, "use", 239, 216),
        _arrow(390, 150, 390, 93, "acts as", 396, 124),
        _arrow(500, 155, 598, 72, "pulls", 512, 112),
        _arrow(390, 198, 390, 238, "runs", 396, 222),
        _arrow(500, 252, 598, 142, "stores", 508, 200),
        _arrow(500, 262, 598, 212, "queues", 553, 243),
        _arrow(500, 276, 598, 346, "acts as", 514, 318),
        _arrow(390, 288, 390, 328, "mounts", 396, 312),
        _arrow(710, 333, 710, 303, "reads", 716, 322),
    )
)
_SIGN_IN = _arrow(235, 315, 278, 272, "signs in to", 183, 290)


def _has_application(environment: Environment) -> bool:
    """Tell whether step 1 makes the application that people sign in to."""
    return environment.airflow.login != "password" and not environment.entra.application_id


def _parts(environment: Environment) -> list[_Part]:
    cluster, pool = environment.cluster, environment.cluster.node_pool
    registry, postgresql = environment.registry, environment.postgresql
    broker, vault = environment.broker, environment.key_vault
    if isinstance(broker, ManagedRedis):
        redis, redis_detail = "Azure Managed Redis", f"{broker.sku}{', high availability' * broker.high_availability}"
    else:
        redis, redis_detail = "Azure Cache for Redis", f"adopted from {broker.resource_group}"
    nodes = f"Kubernetes {cluster.kubernetes_version}, {pool.min_count} to {pool.max_count} of {pool.vm_size}"
    server = f"version {postgresql.version}, {postgresql.sku}, {postgresql.storage_gb} GiB"
    kept = f"{vault.sku}, deleted secrets are kept {vault.soft_delete_days} days"
    airflow = environment.airflow
    workers = f"{airflow.workers.min_count} to {airflow.workers.max_count} workers of {airflow.workers.memory}"
    shares = f"{airflow.files.dags_gb} + {airflow.files.logs_gb} GB, {airflow.files.sku}"
    right = 600
    application = _Part(1, "Entra application", environment.entra.application, "people sign in to Airflow", 15, 305)
    return [
        _Part(1, "Entra group", environment.entra.admin_group, "administers the cluster", 15, 45),
        _Part(1, "Entra group", environment.entra.developer_group, "uses the cluster", 15, 175),
        *([application] if _has_application(environment) else []),
        _Part(1, "managed identity", environment.identities.cluster, "what the cluster acts as", 280, 45),
        _Part(1, "AKS cluster", cluster.name, nodes, 280, 150),
        _Part(2, "container registry", registry.name, f"{registry.sku}, {registry.source}", right, 45),
        _Part(3, "PostgreSQL server", postgresql.name, server, right, 115),
        _Part(3, redis, broker.name, redis_detail, right, 185),
        _Part(4, "key vault", vault.name, kept, right, 255),
        _Part(5, "managed identity", environment.identities.pods, "what Airflow's pods act as", right, 335),
        _Part(6, "Azure Files", "airflow-dags, airflow-logs", shares, 280, 330),
        _Part(7, "Airflow", f"namespace {cluster.namespace}", workers, 280, 240),
    ]
