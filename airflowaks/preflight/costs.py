"""What an environment costs a month, roughly, by its resources: the prices are those of the environment files."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflowaks.preflight.rows import Row

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflowaks.config.environment import Environment
    from airflowaks.session import Session

_PRICES: dict[str, Any] = tomllib.loads(Path(__file__).with_name("prices.toml").read_text(encoding="utf-8"))
_CALCULATOR = "https://azure.microsoft.com/pricing/calculator"


def month(session: Session) -> Iterator[Row]:
    """Sum up what the resources cost in a month; traffic and logs come on top."""
    environment = session.environment
    if environment.is_local:
        yield Row("cost a month", "ok", "nothing: the rehearsal runs on this machine")
        return
    prices = {**_nodes(environment), **_services(environment)}
    parts = [f"{what} {_dollars(price)}" for what, price in prices.items()]
    priced = [price for price in prices.values() if price is not None]
    least, most = (round(sum(price[end] for price in priced)) for end in (0, 1))
    total = f"about {least}" + (f" to {most}" if most > least else "")
    rest = " and what is not known" if len(priced) < len(prices) else ""
    yield Row("cost a month", "ok", f"{total} US dollars{rest}, roughly: {', '.join(parts)}; see {_CALCULATOR}")


def _dollars(price: tuple[float, float] | None) -> str:
    if price is None:
        return "not known"
    least, most = map(round, price)
    return f"{least}" + (f" to {most}" if most > least else "")


def _nodes(environment: Environment) -> dict[str, tuple[float, float] | None]:
    cluster = environment.cluster
    prices: dict[str, tuple[float, float] | None] = {
        f"cluster ({cluster.tier})": (_PRICES["cluster"][cluster.tier],) * 2,
    }
    for key, pool in cluster.pools.items():
        node = _cores(pool.vm_size) * _PRICES["node"]["vcpu_hour"] * _PRICES["hours"]
        kind = "" if pool is cluster.node_pool else f"{key.removesuffix('_pool')} "
        counts = f"{pool.min_count} to {pool.max_count}" if pool.max_count > pool.min_count else f"{pool.max_count}"
        part = _PRICES["node"]["spot"] if key == "spot_pool" else 1
        prices[f"{counts} {kind}nodes"] = (part * node * pool.min_count, part * node * pool.max_count)
    return prices


def _services(environment: Environment) -> dict[str, tuple[float, float] | None]:
    server, broker = environment.postgresql, environment.broker
    if server.tier == "Burstable":
        compute = _PRICES["postgresql"]["burstable"].get(server.sku)
    else:
        compute = _cores(server.sku) * _PRICES["postgresql"]["vcpu_hour"][server.tier] * _PRICES["hours"]
    storage = server.storage_gb * _PRICES["postgresql"]["gib"]
    servers = 1 if server.high_availability == "Disabled" else 2
    prices: dict[str, tuple[float, float] | None] = {
        "registry": (_PRICES["registry"][environment.registry.sku],) * 2,
        "PostgreSQL": None if compute is None else (servers * (compute + storage),) * 2,
    }
    files = environment.airflow.files
    share = _PRICES["files"][files.sku] * (files.dags_gb + files.logs_gb)
    prices["shares"] = (share if files.sku.startswith("Premium") else 0, share)
    if broker.kind == "managed_redis":
        node = _PRICES["broker"].get(broker.sku)
        prices["broker"] = None if node is None else (node * (2 if broker.high_availability else 1),) * 2
    return prices


def _cores(size: str) -> int:
    return int(re.sub(r"\D*(\d+).*", r"\1", size.partition("_")[2]))
