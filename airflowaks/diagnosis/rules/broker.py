"""The broker: why Celery cannot use it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflowaks.diagnosis.rules.rule import DOWNSTREAM, WARNING, Cause, Section, differing, in_turn
from airflowaks.steps import airflow, backend, key_vault

if TYPE_CHECKING:
    from collections.abc import Iterable

    from airflowaks.diagnosis.facts.snapshot import Snapshot

_EFFECTS = ("AKA-609", "AKA-706", "AKA-006", *DOWNSTREAM)
_REDIS = "https://learn.microsoft.com/azure/redis/"
_CELERY = "https://airflow.apache.org/docs/apache-airflow-providers-celery/stable/configurations-ref.html"
_NEARLY_ALL = 0.9
# Pods get a new secret only after a restart.
_URLS = in_turn(key_vault.secrets, airflow.components)
BROKER = Section("log", "reading", "resource", "task", effects=_EFFECTS)


@BROKER.rule("AKA-601", link=f"{_REDIS}architecture#clustering-policies")
def _broker_is_clustered(facts: Snapshot) -> Iterable[Cause]:
    policy = differing(facts, "backend.broker", "clusteringPolicy")
    yield Cause(
        "The broker has a clustering policy that Celery cannot publish with.",
        "Delete the Redis database while no task runs, then run steps 3, 4 and 7: an update cannot change the policy.",
        [*policy, *BROKER.lines(facts, ("CROSSSLOT",), ("ResponseError: MOVED",))],
    )


BROKER.text_rules("AKA-602", remedy=_URLS)


@BROKER.rule("AKA-603", link=f"{_REDIS}how-to-configure", remedy=in_turn(backend.servers, _URLS))
def _access_key_is_refused(facts: Snapshot) -> Iterable[Cause]:
    disabled = differing(facts, "backend.broker", "accessKeysAuthentication")
    words = (("WRONGPASS",), ("NOAUTH",), ("invalid username-password",), ("access keys are disabled",))
    yield Cause(
        "The broker refuses Airflow's access key: access keys are disabled or were regenerated.",
        "Run step 3, which enables them, then step 4, which updates the vault, then step 7, which restarts the pods.",
        [*disabled, *BROKER.lines(facts, *words)],
    )


@BROKER.rule("AKA-604", link=f"{_REDIS}tls-configuration", remedy=_URLS)
def broker_is_called_without_tls(facts: Snapshot) -> Iterable[Cause]:
    """Find connections without TLS, which the broker resets. If the vault's URL works, the broker was only down."""
    words = (
        ("calls the broker without TLS",),
        ("Error while reading from", "Connection reset"),
        ("Connection closed by server",),
    )
    if facts.unread("backend.broker"):
        yield Cause(
            "A client connects to the broker's TLS port without TLS: the URL begins with redis://, not rediss://.",
            "Run step 4, which writes the URL, then step 7, which restarts the pods.",
            BROKER.lines(facts, *words),
        )


BROKER.text_rules("AKA-605", remedy=_URLS)
BROKER.text_rules("AKA-606", remedy=airflow.configuration)


@BROKER.rule("AKA-607", link=f"{_REDIS}best-practices-memory-management")
def _memory_is_used_up(facts: Snapshot) -> Iterable[Cause]:
    broker = facts.backend.broker
    usage = []
    if broker.most_memory and broker.used_memory >= _NEARLY_ALL * broker.most_memory:
        usage = [f"{broker.used_memory / 2**20:.0f} of {broker.most_memory / 2**20:.0f} MiB are in use"]
    yield Cause(
        "The broker has no free memory, so no task can be queued.",
        "Choose a larger `broker.sku` and run step 3, and look for a queue that no worker consumes.",
        [*usage, *BROKER.lines(facts, ("command not allowed when used memory",))],
    )


@BROKER.rule("AKA-608", WARNING, effects=(), link=f"{_REDIS}best-practices-memory-management", remedy=backend.servers)
def _broker_evicts_keys(facts: Snapshot) -> Iterable[Cause]:
    policy = facts.backend.broker.policy
    yield Cause(
        "The broker evicts keys when it is short of memory: queued tasks would be lost without an error.",
        "Run step 3, which sets NoEviction. For an existing cache, set maxmemory-policy to noeviction.",
        [
            *differing(facts, "backend.broker", "evictionPolicy"),
            *([] if policy == "noeviction" else [f"maxmemory-policy is {policy}"]),
        ],
    )


@BROKER.rule(
    "AKA-609",
    effects=("AKA-706", "AKA-006", *DOWNSTREAM),
    link=f"{_REDIS}troubleshoot-connectivity",
    remedy=backend.servers,
)
def _broker_is_unreachable(facts: Snapshot) -> Iterable[Cause]:
    words = (("kombu", "OperationalError"), ("redis", "Error", "connecting to"), ("Cannot connect to rediss://",))
    instances = [status for status in facts.azure.resources.values() if status.kind == "Managed Redis"]
    closed = [f"{status.title}: {line}" for status in instances for line in status.differing("publicNetworkAccess")]
    yield Cause(
        "The broker is unreachable, or does not answer with the Redis protocol.",
        "Run step 3, which enables its public endpoint; or check its state in the portal, its DNS name and its port.",
        [*closed, *BROKER.lines(facts, *words)],
    )
