"""Images: why nodes cannot pull them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflowaks.diagnosis.rules.rule import CRITICAL, DOWNSTREAM, Cause, Section, components, lines, log_lines, missing
from airflowaks.steps import registry

if TYPE_CHECKING:
    from collections.abc import Iterable

    from airflowaks.diagnosis.facts.snapshot import Snapshot

IMAGES = Section()
_SAID = ("event", "container")
_AFTER = ("AKA-206", *DOWNSTREAM)
_LEARN = "https://learn.microsoft.com/troubleshoot/azure/azure-kubernetes/extensions/cannot-pull-image-from-acr-to-aks-cluster"


@IMAGES.rule("AKA-201", CRITICAL, effects=_AFTER, link=_LEARN, remedy=registry.pull_access)
def nodes_may_not_pull(facts: Snapshot) -> Iterable[Cause]:
    """Tell that the kubelet's identity lacks AcrPull, or that the registry does not honour it."""
    if facts.azure.registry_mode.startswith("Abac"):
        return
    lacking = missing(facts, "registry.pull_access")
    said = log_lines(facts, ("failed to authorize", "401"), ("unauthorized", "authentication required"), sources=_SAID)
    if lacking or said:
        yield Cause(
            "The cluster's nodes may not pull from the registry: the kubelet's identity lacks AcrPull.",
            "Run step 2: it assigns the role to the kubelet's identity (not to the cluster's own).",
            [*lacking, *lines(said)],
            frozenset() if lacking else components(said),
        )


@IMAGES.rule("AKA-202", CRITICAL, effects=_AFTER, link=_LEARN, remedy=registry.image)
def image_is_missing(facts: Snapshot) -> Iterable[Cause]:
    """Tell that the registry does not have the image's tag."""
    lacking = missing(facts, "registry.image")
    said = log_lines(facts, ("pull", ": not found"), ("manifest unknown",), sources=_SAID)
    if lacking or said:
        yield Cause(
            "The image that pods want is not in the registry.",
            "Run step 2: it imports Airflow's image; a tag set by hand must exist, or be set back with step 7.",
            [*lacking, *lines(said)],
            frozenset() if lacking else components(said),
        )


IMAGES.said(
    "AKA-203",
    CRITICAL,
    ("failed to fetch anonymous token", "403"),
    sources=_SAID,
    cause="The registry's firewall does not let the cluster's nodes in.",
    fix="Let the cluster's outbound address in, or link the registry's private DNS zone to the nodes' network.",
    effects=_AFTER,
    link=_LEARN,
)
IMAGES.said(
    "AKA-204",
    CRITICAL,
    ("pull", "dial tcp", "i/o timeout"),
    ("pull", "no such host"),
    sources=_SAID,
    cause="The nodes cannot reach the registry: there is no route, or no name for it.",
    fix="Check the nodes' outbound route, firewall and DNS towards the registry's host name on port 443.",
    effects=_AFTER,
    link=_LEARN,
)


@IMAGES.rule(
    "AKA-205",
    CRITICAL,
    effects=_AFTER,
    link="https://learn.microsoft.com/azure/container-registry/container-registry-rbac-abac-repository-permissions",
)
def registry_heeds_no_acr_pull(facts: Snapshot) -> Iterable[Cause]:
    """Tell that the registry is in ABAC mode, in which AcrPull counts for nothing."""
    if facts.azure.registry_mode.startswith("Abac"):
        yield Cause(
            "The registry is in the mode RBAC + ABAC, which does not honour AcrPull.",
            "Set its role assignment mode back to RBAC, or assign Container Registry Repository Reader to the kubelet.",
            [
                f"roleAssignmentMode: {facts.azure.registry_mode}",
                *lines(log_lines(facts, ("failed to authorize",), sources=_SAID)),
            ],
        )


IMAGES.said(
    "AKA-206",
    CRITICAL,
    ("ErrImagePull",),
    ("ImagePullBackOff",),
    ("InvalidImageName",),
    sources=_SAID,
    cause="An image cannot be pulled.",
    fix="See the message: it says what the registry answered.",
    effects=DOWNSTREAM,
    link=_LEARN,
)
