"""Airflow's image: whether its source answers, and whether the subscription may build in its registry."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from airflowaks.azure.subscription import ask_subscription
from airflowaks.preflight.rows import Row, Verdict
from airflowaks.steps import registry

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflowaks.session import Session

_HUB = {"docker.io": "registry-1.docker.io"}
_SECONDS: dict[str, Any] = {"connection_timeout": 5, "read_timeout": 5, "retry_total": 0}
_ACCEPT = "application/vnd.oci.image.index.v1+json, application/vnd.docker.distribution.manifest.list.v2+json, */*"
_UNAUTHORIZED, _NOT_FOUND, _TOO_MANY = 401, 404, 429


def image(session: Session) -> Iterator[Row]:
    """Look for the image where step 2 takes it from, without pulling it."""
    settings = session.environment.registry
    wanted = session.image or settings.image
    if wanted == "build":
        yield _builds(session)
    if wanted in ("import", "build"):
        yield _source(session, settings.source)
        return
    resolved = session.memoize(registry.Resources).image
    if resolved.facts is None:
        action = f"Push it before step 2 runs: `az acr login --name {settings.name}`, then `docker push`."
        # Who names a tag or a digest means an image that is there; `existing` may be pushed until step 2 runs.
        verdict: Verdict = "stops" if session.image not in ("", "existing") else "warns"
        yield Row("image", verdict, f"{resolved.name} is not in the registry {settings.name}", action)
    else:
        yield Row("image", "ok", f"{resolved.name} is in the registry")


def _builds(session: Session) -> Row:
    """Ask for the subscription's offer: on free credit a registry refuses builds (TasksOperationsNotAllowed).

    It refuses some others, too, and says so only at a build.
    https://learn.microsoft.com/azure/container-registry/container-registry-tasks-overview
    """
    response = ask_subscription(session)
    response.raise_for_status()
    policies = response.json().get("subscriptionPolicies") or {}
    if policies.get("spendingLimit") != "On":
        return Row("builds in the registry", "ok", f"the subscription's offer is {policies.get('quotaId')}")
    action = (
        "Set `registry.image: existing` and push the image yourself (docs/image.md), or remove the spending limit, and"
        " where that does not suffice file a support request: https://aka.ms/azuresupport."
    )
    seen = f"the subscription is on free credit ({policies.get('quotaId')}), and registries refuse to build for it"
    return Row("builds in the registry", "stops", seen, action)


def _source(session: Session, source: str) -> Row:
    """Ask the registry for the head of the manifest, which counts as no pull.

    Tokens: https://distribution.github.io/distribution/spec/auth/token. Docker Hub's limit, which is of the address
    that asks, here this machine's: https://docs.docker.com/docker-hub/usage/pulls.
    """
    host, _, rest = source.partition("/")
    repository, _, reference = rest.partition("@") if "@" in rest else rest.rpartition(":")
    repository = repository.rpartition(":")[0] if "@" in rest else repository
    url = f"https://{_HUB.get(host, host)}/v2/{repository}/manifests/{reference}"
    response = _head(session, url)
    if response.status_code == _UNAUTHORIZED and (
        token := _token(session, response.headers.get("WWW-Authenticate", ""))
    ):
        response = _head(session, url, token)
    left = response.headers.get("ratelimit-remaining", "").partition(";")[0]
    if response.status_code == _NOT_FOUND:
        return Row("image", "stops", f"{source} does not exist", "Correct `registry.source` in the environment file.")
    if response.status_code in (_UNAUTHORIZED, _TOO_MANY) or left == "0":
        return _refused(session, source, pulls=response.status_code != _UNAUTHORIZED)
    response.raise_for_status()
    return Row("image", "ok", source + (f", {left} anonymous pulls left from this address" if left else ""))


def _refused(session: Session, source: str, *, pulls: bool) -> Row:
    """Return the row of a source that refuses anonymous pulls: the credentials are sent with the import alone."""
    seen = f"{source}: no anonymous pulls are left from this address" if pulls else f"{source} asks for credentials"
    if session.source_login or session.environment.registry.source_credentials:
        return Row("image", "ok", f"{seen}; it is imported with credentials")
    action = "Give `registry.source` credentials (docs/image.md): imports are limited likewise."
    return Row("image", "warns" if pulls else "unknown", seen, action)


def _head(session: Session, url: str, token: str = "") -> Any:
    from azure.core.rest import HttpRequest

    headers = {"Accept": _ACCEPT} | ({"Authorization": f"Bearer {token}"} if token else {})
    with session.http_client(url) as client:
        return client.send_request(HttpRequest("HEAD", url, headers=headers), **_SECONDS)


def _token(session: Session, challenge: str) -> str:
    """Return an anonymous token for a challenge, or "" where there is none."""
    from azure.core.rest import HttpRequest

    asked = dict(re.findall(r'(\w+)="([^"]*)"', challenge))
    if not challenge.lower().startswith("bearer ") or not asked.get("realm", "").startswith("https://"):
        return ""
    parameters = {name: asked[name] for name in ("service", "scope") if name in asked}
    with session.http_client(asked["realm"]) as client:
        response = client.send_request(HttpRequest("GET", asked["realm"], params=parameters), **_SECONDS)
    body = response.json() if response.status_code < _UNAUTHORIZED else {}
    return str(body.get("token") or body.get("access_token") or "")
