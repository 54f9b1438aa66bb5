"""The run of a preflight: it asks Azure everything side by side, and writes nothing."""

from __future__ import annotations

import time
from contextvars import copy_context
from threading import Thread
from typing import TYPE_CHECKING

from airflowaks.errors import ImmutableProperty, MissingDependency, SignInFailed, SkuNotAvailable, UpgradeRequired
from airflowaks.preflight import application, costs, region, resources, rights, source
from airflowaks.preflight.rows import Preflight, Row, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from airflowaks.session import Session

_SECONDS = 20.0
_STOPPING = (ImmutableProperty, MissingDependency, SignInFailed, SkuNotAvailable, UpgradeRequired)
"""The errors that an apply would meet, too; any other leaves a verdict unknown."""


def preflight(session: Session, *, seconds: float = _SECONDS) -> Preflight:
    """Return what Azure says to the environment before anything is created, at most after `seconds`.

    It does not raise: what cannot be asked is unknown. A session that waits for other steps is one of a deployment,
    which has asked before it began, so it asks nothing.
    """
    if session.waits:
        return Preflight([Row("everything", "ok", "00_deploy has asked before it began the steps")], session.applies)
    checks: Mapping[str, Callable[[Session], Iterator[Row]]] = {
        "sign-in": rights.sign_in,
        "roles on Azure": rights.roles,
        "rights in Entra": rights.directory,
        "sign-in to Airflow": application.registration,
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
        "image": source.image,
        "cost a month": costs.month,
    }
    rows: dict[str, list[Row]] = {}

    def make(name: str, check: Callable[[Session], Iterator[Row]]) -> None:
        rows[name] = _rows(session, name, check)

    # Daemons, because what does not answer must not keep the program from ending.
    threads = [Thread(target=copy_context().run, args=(make, *each), daemon=True) for each in checks.items()]
    deadline = time.monotonic() + seconds
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    late = f"no answer within {seconds:g} s"
    seen = [rows.get(name) or [Row(name, "unknown", late, "Run the preflight again.")] for name in checks]
    return Preflight([row for each in seen for row in each], session.applies)


def _rows(session: Session, name: str, check: Callable[[Session], Iterator[Row]]) -> list[Row]:
    rows: list[Row] = []
    try:
        for row in check(session):
            rows.append(row)  # noqa: PERF402 - those before a failure count
    except Exception as raised:  # noqa: BLE001 - whatever keeps it from an answer is what the preflight has seen
        error = session.translate(raised, name)
        verdict: Verdict = "stops" if isinstance(error, _STOPPING) else "unknown"
        rows.append(Row(name, verdict, error.message, error.action))
    return [Row(row.check, row.verdict, session.redactor.redact(row.seen), row.action) for row in rows]
