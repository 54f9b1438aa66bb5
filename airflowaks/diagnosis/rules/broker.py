"""The broker: why Celery cannot use it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflowaks.diagnosis.facts.waiting import duration
from airflowaks.diagnosis.remedies import queue_again
from airflowaks.diagnosis.rules.rule import (
    DOWNSTREAM,
    WARNING,
    Cause,
    Section,
    differing,
    in_turn,
    listed,
    restart,
    sentence,
)
from airflowaks.steps import airflow, backend, key_vault

if TYPE_CHECKING:
    from collections.abc import Iterable

    from airflowaks.diagnosis.facts.snapshot import Snapshot

_EFFECTS = ("AKA-609", "AKA-706", "AKA-006", "AKA-317", *DOWNSTREAM)
_REDIS = "https://learn.microsoft.com/azure/redis/"
_CELERY = "https://airflow.apache.org/docs/apache-airflow-providers-celery/stable/configurations-ref.html"
_NEARLY_ALL, _SILENT_SECONDS = 0.9, 60.0
# Pods get a new secret only after a restart.
_URLS = in_turn(key_vault.secrets, airflow.components)
_SETTINGS = in_turn(airflow.configuration, airflow.components)
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


@BROKER.rule("AKA-610", link=f"{_REDIS}failover", effects=("AKA-609", *_EFFECTS), automatic=True)
def _broker_is_a_replica(facts: Snapshot) -> Iterable[Cause]:
    """Find that writes are refused, in the words of Redis without their code READONLY, which clients take off."""
    replica = ["INFO: role is slave"] if facts.backend.broker.replica else []
    lines = BROKER.lines(facts, ("read only replica",))
    components = frozenset(line.component for line in lines) - {""}
    if replica or facts.unread("backend.broker"):
        yield Cause(
            "The broker is a read-only replica: after a failover, its name leads to what is no primary any more.",
            "Wait some minutes for the failover to end.",
            [*replica, *lines],
        )
    elif facts.backend.broker.sent:
        yield Cause(
            f"{sentence(listed(sorted(components) or ['a component']))}: connected to what was the broker's primary"
            " before a failover.",
            "Restart it, so that it connects to the new primary.",
            lines,
            components,
            restart(facts, *sorted(components)),
        )


@BROKER.rule("AKA-611", link=f"{_REDIS}best-practices-connection")
def _clients_are_at_their_limit(facts: Snapshot) -> Iterable[Cause]:
    broker = facts.backend.broker
    usage = []
    if broker.most_clients and broker.clients >= _NEARLY_ALL * broker.most_clients:
        most = ", ".join(f"{count} from {address}" for address, count in broker.addresses.items())
        usage = [f"{broker.clients} of {broker.most_clients} clients are connected: {most}"]
    yield Cause(
        "The broker accepts no more clients.",
        "Stop the client that has most connections, if it is not Airflow; or choose a larger `broker.sku` and run"
        " step 3.",
        [*usage, *BROKER.lines(facts, ("max number of clients reached",))],
    )


@BROKER.rule("AKA-612", link=_CELERY, remedy=queue_again, effects=("AKA-905", "AKA-907"))
def _messages_are_lost(facts: Snapshot) -> Iterable[Cause]:
    """Find tasks that are queued in the database while the broker has messages of running tasks only.

    Airflow acknowledges a message when its task has ended (task_acks_late), so each running task has one, too.
    """
    broker = facts.backend.broker
    lost = min(broker.sent, broker.sent + broker.started - broker.unacknowledged)
    sends = facts.airflow.waiting.heartbeats.get("SchedulerJob", _SILENT_SECONDS) < _SILENT_SECONDS
    if lost > 0 and sends and not sum(broker.queued.values()) and not facts.unread("backend.broker"):
        yield Cause(
            f"The broker has lost the messages of {lost} queued task{'s' * (lost > 1)}: no worker will run them.",
            "Queue them again, which this fix does by clearing them. Airflow itself does so after ten minutes"
            " (task_queued_timeout), twice.",
            [
                f"tasks that have been queued for a minute: {broker.sent}; messages in the broker's queues: 0",
                f"messages that workers have taken: {broker.unacknowledged}, for running tasks: {broker.started}",
            ],
        )


@BROKER.rule("AKA-613", WARNING, effects=(), link=_CELERY, remedy=_SETTINGS)
def _messages_are_repeated(facts: Snapshot) -> Iterable[Cause]:
    waiting = facts.airflow.waiting
    if waiting.longest and waiting.longest.seconds > waiting.visibility_seconds:
        yield Cause(
            "A task runs longer than the broker's visibility time-out: it is given to a second worker, where it fails.",
            "Set AIRFLOW__CELERY_BROKER_TRANSPORT_OPTIONS__VISIBILITY_TIMEOUT to more than any task takes (the manifest"
            " has 86400), then run step 7.",
            [f"visibility time-out: {duration(waiting.visibility_seconds)}", waiting.longest],
        )
