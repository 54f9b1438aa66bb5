"""The run of a preflight: it asks Azure everything side by side, and writes nothing."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor, wait
from contextvars import copy_context
from functools import partial
from typing import TYPE_CHECKING

from airflowaks.cloud.error_mapping import translate
from airflowaks.errors import ImmutableProperty, MissingDependency, SignInFailed, SkuNotAvailable
from airflowaks.preflight import costs, region, resources, rights, source
from airflowaks.preflight.rows import Preflight, Row, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from airflowaks.session import Session

_SECONDS = 20.0
_STOPPING = (ImmutableProperty, MissingDependency, SignInFailed, SkuNotAvailable)
"""The errors that an apply would meet, too; any other leaves a verdict unknown."""


def preflight(session: Session, image: str = "", *, seconds: float = _SECONDS) -> Preflight:
    """Return what Azure says to the environment before anything is created, at most after `seconds`.

    `image` replaces the environment's, as in steps 2 and 7. It does not raise: what cannot be asked is unknown.
    """
    checks: Mapping[str, Callable[[Session], Iterator[Row]]] = {
        "sign-in": rights.sign_in,
        "roles on Azure": rights.roles,
        "rights in Entra": rights.directory,
        "resource providers": region.providers,
        "nodes": region.nodes,
        "Kubernetes": region.kubernetes,
        "PostgreSQL": region.postgresql,
        "networks": region.networks,
        "name of the registry": resources.registry_name,
        "name of the PostgreSQL server": resources.server_name,
        "name of the key vault": resources.vault_name,
        "name of the broker": resources.broker_name,
        "existing resources": resources.existing,
        "policies": resources.policies,
        "image": partial(source.image, image=image),
        "cost a month": costs.month,
    }
    pool = ThreadPoolExecutor(len(checks), "preflight")
    futures = {name: pool.submit(copy_context().run, _rows, session, name, check) for name, check in checks.items()}
    wait(futures.values(), seconds)
    pool.shutdown(wait=False, cancel_futures=True)
    rows: list[Row] = []
    for name, future in futures.items():
        late = Row(name, "unknown", f"no answer within {seconds:g} s", "Run the preflight again.")
        rows += future.result() if future.done() and not future.cancelled() else [late]
    return Preflight(rows, session.applies)


def _rows(session: Session, name: str, check: Callable[[Session], Iterator[Row]]) -> list[Row]:
    rows: list[Row] = []
    try:
        for row in check(session):
            rows.append(row)  # noqa: PERF402 - those before a failure count
    except Exception as raised:  # noqa: BLE001 - whatever keeps it from an answer is what the preflight has seen
        error = translate(raised, name, session.redactor)
        verdict: Verdict = "stops" if isinstance(error, _STOPPING) else "unknown"
        rows.append(Row(name, verdict, error.message, error.action))
    return [Row(row.check, row.verdict, session.redactor.redact(row.seen), row.action) for row in rows]
