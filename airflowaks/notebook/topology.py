"""What an environment describes, before anything of it exists: as a table of names and as a picture."""

from __future__ import annotations

import html
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from airflowaks.config.backend_schema import ManagedRedis
from airflowaks.engine.table import Picture, Table

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflowaks.config.airflow_schema import Workers
    from airflowaks.config.environment import Environment
    from airflowaks.config.schema import NodePool

_WIDTH = 840
_BOX_WIDTH, _BOX_HEIGHT, _LINE_HEIGHT, _GAP = 220, 46, 15, 40
# How many letters of a name, and of a line below it, fit into a box before they have to be squeezed.
_NAME_ROOM, _LINE_ROOM = 34, 40
_NOW, _BEFORE, _LATER = "fill:#dbeafe;stroke:#1d4ed8", "fill:#f3f4f6;stroke:#6b7280", "fill:#fff;stroke:#9ca3af"
_DASHED = ";stroke-dasharray:4 3"
_KINDS = {"system_pool": ", system", "node_pool": "", "spot_pool": ", spot"}


@dataclass(frozen=True)
class _Part:
    """One thing that a step makes, what it consists of, and where its box stands in the picture, in pixels."""

    step: int
    kind: str
    name: str
    detail: str
    x: int
    y: int
    member: str = ""
    members: Mapping[str, str] = field(default_factory=dict)

    @property
    def bottom(self) -> int:
        """Where the box ends: it has a line for each member."""
        return self.y + _BOX_HEIGHT + _LINE_HEIGHT * len(self.members)


def deployment(environment: Environment) -> Table:
    """Return a table of what the steps make for `environment`: where, under which name and of which size."""
    rows = [("1", "resource group", environment.resource_group, f"{environment.location}, {environment.cloud}")]
    for part in _parts(environment):
        rows.append((str(part.step), part.kind, part.name, part.detail))
        rows += [(str(part.step), part.member, name, detail) for name, detail in part.members.items()]
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
        parts = _parts(self._environment)
        height = max(part.bottom for part in parts) + 19
        boxes = "".join(self._box(part) for part in parts)
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" role="img"'
            f' font-family="sans-serif" font-size="12"><title>{html.escape(str(self))}</title>'
            '<defs><marker id="tip" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="8" markerHeight="8" orient="auto">'
            '<path d="M0,0L8,4L0,8z" fill="#374151"/></marker></defs>'
            f'<rect width="{_WIDTH}" height="{height}" fill="#fff"/>'
            f'<rect x="265" y="10" width="565" height="{height - 20}" rx="8" style="fill:none;stroke:#374151"/>'
            f'<text x="277" y="30" font-weight="bold">{html.escape(group)}</text>{_arrows(parts)}{boxes}</svg>'
        )

    def _box(self, part: _Part) -> str:
        style = _NOW if part.step == self._step else _BEFORE if part.step < self._step else _LATER + _DASHED
        lines = [f"{name}: {detail}" for name, detail in part.members.items()]
        return (
            f'<rect x="{part.x}" y="{part.y}" width="{_BOX_WIDTH}" height="{part.bottom - part.y}" rx="6"'
            f' style="{style}"/>'
            f'<text x="{part.x + 10}" y="{part.y + 19}" fill="#374151">{part.step} · {html.escape(part.kind)}</text>'
            f'<text x="{part.x + 10}" y="{part.y + 36}"{_squeezed(part.name, _NAME_ROOM)} font-weight="bold">'
            f"{html.escape(part.name)}</text>"
        ) + "".join(
            f'<text x="{part.x + 10}" y="{part.y + 36 + _LINE_HEIGHT * number}"{_squeezed(line, _LINE_ROOM)}'
            f' font-size="10">{html.escape(line)}</text>'
            for number, line in enumerate(lines, start=1)
        )


def _squeezed(text: str, room: int) -> str:
    return f' textLength="{_BOX_WIDTH - 20}" lengthAdjust="spacingAndGlyphs"' if len(text) > room else ""


def _arrow(x: int, y: int, to_x: int, to_y: int, words: str, words_x: int, words_y: int) -> str:
    return (
        f'<path d="M{x},{y}L{to_x},{to_y}" stroke="#374151" fill="none" marker-end="url(#tip)"/>'
        f'<text x="{words_x}" y="{words_y}" font-size="10" fill="#374151">{words}</text>'
    )


def _arrows(parts: Sequence[_Part]) -> str:
    at = {part.kind: part for part in parts}
    cluster, airflow, files = at["AKS cluster"], at["Airflow"], at["Azure Files"]
    arrows = [
        _arrow(235, 68, 278, 150, "administer", 183, 118),
        _arrow(235, 198, 278, 170, "use", 244, 204),
        _arrow(390, 135, 390, 93, "acts as", 396, 117),
        _arrow(500, 150, 598, 72, "pulls", 512, 108),
        _arrow(390, cluster.bottom, 390, airflow.y - 2, "runs", 396, cluster.bottom + 22),
        _arrow(500, airflow.y + 12, 598, 142, "stores", 505, airflow.y - 50),
        _arrow(500, airflow.y + 24, 598, 212, "queues", 548, airflow.y + 14),
        _arrow(500, airflow.y + 40, 598, 346, "acts as", 505, airflow.y + 80),
        _arrow(390, airflow.bottom, 390, files.y - 2, "mounts", 396, airflow.bottom + 22),
        _arrow(710, 333, 710, 303, "reads", 716, 322),
    ]
    if application := at.get("Entra application"):
        arrows.append(_arrow(235, application.y + 10, 278, airflow.y + 32, "signs in to", 183, airflow.y + 48))
    return "".join(arrows)


def _parts(environment: Environment) -> list[_Part]:
    cluster, airflow = environment.cluster, environment.airflow
    registry, postgresql = environment.registry, environment.postgresql
    broker, vault = environment.broker, environment.key_vault
    if isinstance(broker, ManagedRedis):
        redis, redis_detail = "Azure Managed Redis", f"{broker.sku}{', high availability' * broker.high_availability}"
    else:
        redis, redis_detail = "Azure Cache for Redis", f"adopted from {broker.resource_group}"
    server = f"version {postgresql.version}, {postgresql.sku}, {postgresql.storage_gb} GiB"
    kept = f"{vault.sku}, deleted secrets are kept {vault.soft_delete_days} days"
    pools = {pool.name: f"{_counts(pool)} of {pool.vm_size}{_KINDS[key]}" for key, pool in cluster.pools.items()}
    workers = {
        queue: f"{_counts(settings)} workers of {settings.memory}{', spot' * getattr(settings, 'spot', False)}"
        for queue, settings in airflow.workers_of.values()
    }
    shares = f"{airflow.files.dags_gb} + {airflow.files.logs_gb} GB, {airflow.files.sku}"
    application = environment.entra.application
    middle, right = 280, 600
    aks = _Part(
        1, "AKS cluster", cluster.name, f"Kubernetes {cluster.kubernetes_version}", middle, 135, "node pool", pools
    )
    in_aks = f"namespace {cluster.namespace}"
    pods = _Part(7, "Airflow", in_aks, "CeleryExecutor", middle, aks.bottom + _GAP, "workers of queue", workers)
    sign_in = _Part(1, "Entra application", application, "people sign in to Airflow", 15, max(305, pods.y + 60))
    return [
        _Part(1, "Entra group", environment.entra.admin_group, "administers the cluster", 15, 45),
        _Part(1, "Entra group", environment.entra.developer_group, "uses the cluster", 15, 175),
        *([sign_in] if environment.registers_application else []),
        _Part(1, "managed identity", environment.identities.cluster, "what the cluster acts as", middle, 45),
        aks,
        _Part(2, "container registry", registry.name, f"{registry.sku}, {registry.source}", right, 45),
        _Part(3, "PostgreSQL server", postgresql.name, server, right, 115),
        _Part(3, redis, broker.name, redis_detail, right, 185),
        _Part(4, "key vault", vault.name, kept, right, 255),
        _Part(5, "managed identity", environment.identities.pods, "what Airflow's pods act as", right, 335),
        _Part(6, "Azure Files", "airflow-dags, airflow-logs", shares, middle, pods.bottom + _GAP),
        pods,
    ]


def _counts(scaled: NodePool | Workers) -> str:
    return f"{scaled.min_count} to {scaled.max_count}" if scaled.max_count > scaled.min_count else f"{scaled.max_count}"
