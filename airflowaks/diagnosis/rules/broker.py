"""The broker: why Celery cannot use it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflowaks.diagnosis.rules.rule import (
    CRITICAL,
    DOWNSTREAM,
    WARNING,
    Cause,
    Section,
    differing,
    in_turn,
    lines,
    log_lines,
)
from airflowaks.steps import airflow, backend, key_vault

if TYPE_CHECKING:
    from collections.abc import Iterable

    from airflowaks.diagnosis.facts.snapshot import Snapshot

BROKER = Section()
_SAID = ("log", "reading", "resource", "task")
_AFTER = ("AKA-609", "AKA-706", "AKA-006", *DOWNSTREAM)
_REDIS = "https://learn.microsoft.com/azure/redis/"
_CELERY = "https://airflow.apache.org/docs/apache-airflow-providers-celery/stable/configurations-ref.html"
_NEARLY_ALL = 0.9
# What the vault holds anew, pods have only once they are rolled.
_URLS = in_turn(key_vault.secrets, airflow.components)


@BROKER.rule("AKA-601", CRITICAL, effects=_AFTER, link=f"{_REDIS}architecture#clustering-policies")
def broker_is_clustered(facts: Snapshot) -> Iterable[Cause]:
    """Tell that the broker spreads keys over shards, which Celery's transport cannot cope with."""
    wrong = differing(facts, "backend.broker", "clusteringPolicy")
    said = log_lines(facts, ("CROSSSLOT",), ("ResponseError: MOVED",), sources=_SAID)
    if wrong or said:
        yield Cause(
            "The broker has a clustering policy, with which Celery cannot publish.",
            "The policy cannot be changed: delete the Redis database while no task runs, then run steps 3, 4 and 7.",
            [*wrong, *lines(said)],
        )


BROKER.said(
    "AKA-602",
    CRITICAL,
    ("DB index is out of range",),
    sources=_SAID,
    cause="The broker's URL names another database than 0, and Managed Redis has no other.",
    fix="Run step 4: it writes the URL with database 0; then step 7 rolls the pods.",
    effects=_AFTER,
    link=f"{_REDIS}overview",
    remedy=_URLS,
)


@BROKER.rule(
    "AKA-603", CRITICAL, effects=_AFTER, link=f"{_REDIS}how-to-configure", remedy=in_turn(backend.servers, _URLS)
)
def keys_do_not_open(facts: Snapshot) -> Iterable[Cause]:
    """Tell that access keys are off, or renewed behind the vault's back."""
    off = differing(facts, "backend.broker", "accessKeysAuthentication")
    said = log_lines(
        facts, ("WRONGPASS",), ("NOAUTH",), ("invalid username-password",), ("access keys are disabled",), sources=_SAID
    )
    if off or said:
        yield Cause(
            "The broker refuses Airflow's access key: keys are switched off, or were renewed.",
            "Run step 3, which switches them on, then step 4 for the key in the vault, then step 7 for the pods.",
            [*off, *lines(said)],
        )


@BROKER.rule("AKA-604", CRITICAL, effects=_AFTER, link=f"{_REDIS}tls-configuration", remedy=_URLS)
def broker_is_called_without_tls(facts: Snapshot) -> Iterable[Cause]:
    """Tell of connections that are cut at once; where the vault's own URL opens the broker it was only away."""
    words = (
        ("calls the broker without TLS",),
        ("Error while reading from", "Connection reset"),
        ("Connection closed by server",),
    )
    said = log_lines(facts, *words, sources=_SAID)
    if said and facts.unread("backend.broker"):
        yield Cause(
            "The broker is called without TLS on its TLS port: the URL says redis:// where it must be rediss://.",
            "Run step 4: it writes the URL; then step 7 rolls the pods.",
            lines(said),
        )


BROKER.said(
    "AKA-605",
    CRITICAL,
    ("rediss:// URL must have parameter ssl_cert_reqs",),
    sources=_SAID,
    cause="Celery's result backend is a rediss:// URL that does not say how to verify the certificate.",
    fix="Keep results in PostgreSQL, as step 4 writes it, or add ?ssl_cert_reqs=required; then step 7 rolls the pods.",
    effects=_AFTER,
    link=_CELERY,
    remedy=_URLS,
)
BROKER.said(
    "AKA-606",
    CRITICAL,
    ("SSL_MUTUAL_TLS", "SSL_KEY"),
    sources=_SAID,
    cause="AIRFLOW__CELERY__SSL_ACTIVE wants a client certificate, which there is none of.",
    fix="Run step 7: its configuration has TLS in the broker's URL; else set AIRFLOW__CELERY__SSL_MUTUAL_TLS=False.",
    effects=_AFTER,
    link=_CELERY,
    remedy=airflow.configuration,
)


@BROKER.rule("AKA-607", CRITICAL, effects=_AFTER, link=f"{_REDIS}best-practices-memory-management")
def memory_is_used_up(facts: Snapshot) -> Iterable[Cause]:
    """Tell that the broker has no memory left, or nearly none."""
    broker = facts.backend.broker
    said = log_lines(facts, ("command not allowed when used memory",), sources=_SAID)
    seen = []
    if broker.most_memory and broker.used_memory >= _NEARLY_ALL * broker.most_memory:
        seen = [f"{broker.used_memory / 2**20:.0f} of {broker.most_memory / 2**20:.0f} MiB are in use"]
    if seen or said:
        yield Cause(
            "The broker's memory is used up, so that no task can be queued.",
            "Choose a larger `broker.sku` and run step 3; look for a queue that nobody consumes.",
            [*seen, *lines(said)],
        )


@BROKER.rule("AKA-608", WARNING, link=f"{_REDIS}best-practices-memory-management", remedy=backend.servers)
def broker_may_forget(facts: Snapshot) -> Iterable[Cause]:
    """Tell that the broker drops what is queued when its memory is short."""
    wrong = differing(facts, "backend.broker", "evictionPolicy")
    policy = facts.backend.broker.policy
    seen = [] if policy == "noeviction" else [f"maxmemory-policy is {policy}"]
    if wrong or seen:
        yield Cause(
            "The broker evicts keys when its memory is short: queued tasks would be lost silently.",
            "Run step 3: it sets NoEviction; with a cache of your own set maxmemory-policy to noeviction.",
            [*wrong, *seen],
        )


@BROKER.rule(
    "AKA-609",
    CRITICAL,
    effects=("AKA-706", "AKA-006", *DOWNSTREAM),
    link=f"{_REDIS}troubleshoot-connectivity",
    remedy=backend.servers,
)
def broker_cannot_be_reached(facts: Snapshot) -> Iterable[Cause]:
    """Tell that no connection to the broker comes about."""
    words = (("kombu", "OperationalError"), ("redis", "Error", "connecting to"), ("Cannot connect to rediss://",))
    instances = [one for one in facts.azure.resources.values() if one.kind == "Managed Redis"]
    closed = [f"{one.title}: {each}" for one in instances for each in one.differing("publicNetworkAccess")]
    said = log_lines(facts, *words, sources=_SAID)
    if closed or said:
        yield Cause(
            "The broker cannot be reached, or does not answer as it should.",
            "Run step 3, which opens its public endpoint; else see its state in the portal, DNS, and the way to its"
            " port.",
            [*closed, *lines(said)],
        )
